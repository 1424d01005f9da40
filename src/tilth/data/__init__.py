"""Data sets by name and of the user's own: a corpus (as a path), a Task or a Collection."""
