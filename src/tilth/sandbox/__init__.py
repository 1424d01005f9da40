"""Child processes with limits: parsers of files that others made run there."""
