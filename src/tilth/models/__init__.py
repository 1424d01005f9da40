"""Models: the n-gram baseline, and what builds, loads, saves and measures transformers models."""
