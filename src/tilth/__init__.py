"""tilth: from a pile of documents to a language model, a search index and a service to trust."""

__version__ = "0.1.0"
