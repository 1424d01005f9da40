"""Texts to tokens: tokenizers, and token blocks that are mapped from disk."""
