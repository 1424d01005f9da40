"""The one loop: any objective on any `transformers` model, with a budget in tokens."""
