"""BM25 from text to index and from queries to answers: CPU seconds beside bm25s and plain Python.

Run: python benchmarks/bm25.py [--megabytes 10]. Prints a table and, last, one JSON object. The
documents are pieces of this Python's standard library, the queries words drawn from them. Each
program cuts text into words in its own way; that answers agree is checked with the same words.
Repeats take turns, and the median counts. Compilation apart.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sysconfig
import tempfile
import time
from collections import Counter, defaultdict
from math import log1p
from pathlib import Path

import numpy as np

from tilth.retrieval.bm25 import BM25

PIECE = 2000  # characters of a document
QUERIES, WORDS, K = 2000, 6, 10
PLAIN_DOCUMENTS, PLAIN_QUERIES = 1000, 200
REPEATS = 9


def library(size: int) -> list[str]:
    """Pieces of the standard library's modules, `size` bytes together."""
    pieces, total = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        text = path.read_text("utf-8", "replace")
        for start in range(0, len(text), PIECE):
            pieces.append(text[start : start + PIECE])
            total += len(pieces[-1].encode())
            if total >= size:
                return pieces
    return pieces


def seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def medians(works: dict) -> dict[str, float]:
    """CPU seconds of each piece of work, the repeats taking turns."""
    times = defaultdict(list)
    for _ in range(REPEATS):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: statistics.median(values) for name, values in times.items()}


class Plain:
    """What a person would write first: a dictionary of postings."""

    def __init__(self, documents: dict[str, str]) -> None:
        terms = BM25().analyzer.terms
        self.terms, self.postings, self.lengths = terms, defaultdict(list), {}
        for id, text in documents.items():
            bag = Counter(terms(text))
            self.lengths[id] = bag.total()
            for term, count in bag.items():
                self.postings[term].append((id, count))
        self.average = sum(self.lengths.values()) / len(self.lengths)

    def search(self, query: str) -> list[tuple[str, float]]:
        scores = defaultdict(float)
        for term in self.terms(query):
            found = self.postings.get(term, ())
            idf = log1p((len(self.lengths) - len(found) + 0.5) / (len(found) + 0.5))
            for id, count in found:
                norm = 1.2 * (0.25 + 0.75 * self.lengths[id] / self.average)
                scores[id] += idf * count / (count + norm)
        return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:K]


class Peer:
    """bm25s with the same formula, its own tokenizer and its compiled search."""

    def __init__(self, module) -> None:
        self.module = module

    def tokens(self, texts: list[str]):
        return self.module.tokenize(texts, stopwords=None, show_progress=False)

    def index(self, tokens):
        made = self.module.BM25(k1=1.2, b=0.75, method="lucene", backend="numba")
        made.index(tokens, show_progress=False)
        return made

    def search(self, index, tokens) -> np.ndarray:
        return index.retrieve(tokens, k=K, show_progress=False, n_threads=1).scores

    def same_scores(self, texts: list[str], queries: list[str], ours: np.ndarray) -> bool:
        terms = BM25().analyzer.terms
        index = self.index([terms(text) for text in texts])
        known = [[t for t in terms(query) if t in index.vocab_dict] for query in queries]
        return bool(np.allclose(self.search(index, known), ours, rtol=1e-4, atol=1e-4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10.0, help="size of the documents")
    texts = library(int(parser.parse_args().megabytes * 1e6))
    documents = {f"{number:07}": text for number, text in enumerate(texts)}
    size = sum(len(text.encode()) for text in texts)
    chance = random.Random(0)
    words = [BM25().analyzer.terms(text) for text in chance.sample(texts, min(2000, len(texts)))]
    words = [found for found in words if found]
    queries = [
        " ".join(chance.choice(chance.choice(words)) for _ in range(WORDS)) for _ in range(QUERIES)
    ]

    index = BM25().fit(documents)
    index.search(queries[:2])
    works = {
        "tilth, index": lambda: BM25().fit(documents),
        "tilth, queries": lambda: index.search(queries, k=K),
        "tilth, queries one by one": lambda: [index.search([q], k=K) for q in queries],
    }
    try:
        import bm25s
    except ImportError:
        peer = None
    else:
        peer = Peer(bm25s)
        theirs = peer.index(peer.tokens(texts))
        peer.search(theirs, peer.tokens(queries[:2]))
        works |= {
            "bm25s, index": lambda: peer.index(peer.tokens(texts)),
            "bm25s, queries": lambda: peer.search(theirs, peer.tokens(queries)),
            "bm25s, queries one by one": lambda: [
                peer.search(theirs, peer.tokens([q])) for q in queries
            ],
        }
    times = medians(works)

    part = dict(list(documents.items())[:PLAIN_DOCUMENTS])
    few = queries[:PLAIN_QUERIES]
    small, plain = BM25().fit(part), Plain(part)
    for query in few:
        found, expected = small.search([query], k=K).rows["0"], plain.search(query)
        assert np.allclose([s for _, s in found], [s for _, s in expected], rtol=1e-12), query
    small_times = medians(
        {
            "tilth, index": lambda: BM25().fit(part),
            "tilth, queries": lambda: small.search(few, k=K),
            "plain Python, index": lambda: Plain(part),
            "plain Python, queries": lambda: [plain.search(query) for query in few],
        }
    )

    new = iter(range(10**6))
    updated = BM25().fit(documents)

    def add_and_search() -> None:
        for query in queries[:100]:
            updated.add({f"new {next(new)}": query})
            updated.search([query], k=K)

    update = seconds(add_and_search) / 100
    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        load = seconds(lambda: BM25.load(folder))
        on_disk = sum(path.stat().st_size for path in Path(folder).iterdir())

    print(f"{len(texts):,} documents, {size / 1e6:.1f} MB, {QUERIES} queries of {WORDS} words")
    print(f"{'':<28} {'CPU s':>8} {'per second':>14}")
    for name, value in times.items():
        rate = f"{size / value / 1e6:.1f} MB" if "index" in name else f"{QUERIES / value:,.0f}"
        print(f"{name:<28} {value:>8.3f} {rate:>14}")
    print(f"one document added, one query: {1000 * update:.2f} ms of CPU; loaded: {load:.4f} s")
    print(f"{len(part)} documents, {len(few)} queries:")
    for name, value in small_times.items():
        print(f"{name:<28} {value:>8.3f}")
    figures = {
        "documents": len(texts),
        "bytes": size,
        "index_cpu_seconds": round(times["tilth, index"], 3),
        "queries_per_cpu_second": round(QUERIES / times["tilth, queries"]),
        "add_and_search_milliseconds": round(1000 * update, 2),
        "index_bytes_over_text": round(on_disk / size, 3),
        "plain_over_tilth_index": ratio(small_times, "plain Python, index", "tilth, index"),
        "plain_over_tilth_queries": ratio(small_times, "plain Python, queries", "tilth, queries"),
        "bm25s_over_tilth_index": None,
        "bm25s_over_tilth_queries": None,
    }
    if peer is None:
        print("bm25s is not installed, so it is not measured")
    else:
        rows = index.search(queries, k=K).rows.values()
        ours = np.array([[score for _, score in row] + [0.0] * (K - len(row)) for row in rows])
        same = peer.same_scores(texts, queries, ours)
        print(f"the same scores as bm25s with the same words: {same}")
        for part_name in ("index", "queries", "queries one by one"):
            key = f"bm25s_over_tilth_{part_name.replace(' ', '_')}"
            figures[key] = ratio(times, f"bm25s, {part_name}", f"tilth, {part_name}")
    print(json.dumps(figures))


def ratio(times: dict[str, float], above: str, below: str) -> float:
    return round(times[above] / times[below], 2)


if __name__ == "__main__":
    main()
