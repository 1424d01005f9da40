"""tilth: from a pile of documents to a language model, a search index and a service to trust.

    from tilth.build import build

    run = build("my-documents", "my-run")
    run.search("what was agreed about the rent", k=3)

Every method lies in its room: `tilth.corpus`, `tilth.signals`, `tilth.retrieval`, ...
"""

__version__ = "0.1.0"
