"""Search: documents in, ranked answers out; each method keeps `types.Retriever`."""

RETRIEVERS = {
    "bm25": "tilth.retrieval.bm25:BM25",
    "dense": "tilth.retrieval.dense:Dense",
}

ANALYZERS = {"words": "tilth.retrieval.analyzer:Words"}
