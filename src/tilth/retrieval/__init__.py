"""Search: documents in, ranked answers out. Lexical so far; each method keeps `types.Retriever`."""

RETRIEVERS = {"bm25": "tilth.retrieval.bm25:BM25"}

ANALYZERS = {"words": "tilth.retrieval.analyzer:Words"}
