"""How bytes get to disk and are found again: digests, atomic writes, manifests, locks, events."""
