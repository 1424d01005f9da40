"""Near-duplicates: recall beside brute force, candidates on real texts, CPU seconds for 40 MB.

Run: python benchmarks/near_duplicates.py
Needs the named data sets books_en, wiki_plain and web_quality_human; without them, texts are from
this Python's standard library. Prints three tables and, last, one JSON object of its ratios.
"""

from __future__ import annotations

import json
import resource
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tilth.corpus.blocks import read_blocks
from tilth.corpus.candidates import candidate_pairs
from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.near_duplicates import NearDuplicates, recall, warm
from tilth.documents.installation import plan_installation
from tilth.documents.read import read_unit
from tilth.store.cache import data_folders
from tilth.testing.near_duplicates import planted, shingle_set, similar_pairs

SETTINGS = ((14, 8), (16, 8), (20, 6), (28, 4))
EDGES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
ORIGINALS, PIECE = 4_000, 2_000


def texts_of(name: str) -> list[str]:
    for folder in data_folders():
        if (folder / name).is_file():
            return pq.read_table(folder / name, columns=["text"])["text"].to_pylist()
    return []


def pieces(texts: list[str], size: int = PIECE) -> list[str]:
    return [text[at : at + size] for text in texts for at in range(0, len(text), size)]


def keys_of(texts: list[str], bands: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, a row a band; sizes) of texts. The threshold has no effect on them."""
    method = NearDuplicates(bands=bands, rows=rows, threshold=0.9)
    batch = pa.RecordBatch.from_arrays(
        [pa.array([""] * len(texts)), pa.array(texts, pa.large_string())], ["id", "text"]
    )
    prints = method.fingerprint(batch)
    keys = np.frombuffer(prints.column("keys").buffers()[1], np.uint32).reshape(-1, bands)
    return np.ascontiguousarray(keys.T), prints.column("shingles").to_numpy()


def candidates(texts: list[str], bands: int, rows: int, threshold: float) -> set[tuple[int, int]]:
    keys, sizes = keys_of(texts, bands, rows)
    left, right, _ = candidate_pairs(lambda first, last: keys[first:last], bands, sizes, threshold)
    return set(zip(left.tolist(), right.tolist()))


def recall_table(originals: list[str]) -> dict[str, float]:
    texts, _ = planted(originals, seed=0)
    truth = similar_pairs([shingle_set(text) for text in texts], lowest=0.3)
    values = np.array(list(truth.values()))
    print(
        f"planted: {len(texts):,} texts, {np.count_nonzero(values >= 0.7):,} pairs of at least 0.7"
    )
    heads = [f"{low:.2f}-{high:.2f}" for low, high in zip(EDGES, (*EDGES[1:], 1.0))]
    print(f"{'bands':>8} {'found':>7} {'below 0.8':>9} " + " ".join(f"{h:>9}" for h in heads))
    result = {}
    for bands, rows in SETTINGS:
        found = candidates(texts, bands, rows, 0.3)
        hit = np.array([pair in found for pair in truth])
        shares = []
        for low, high in zip(EDGES, (*EDGES[1:], 1.01)):
            here = (values >= low) & (values < high)
            shares.append(f"{hit[here].mean():9.3f}" if here.any() else f"{'':9}")
        useless = len(found) - np.count_nonzero(hit & (values >= 0.8))
        print(f"{bands:>3} x {rows:<2} {len(found):>7,} {useless:>9,} " + " ".join(shares))
        result[f"recall_{bands}x{rows}"] = round(float(hit[values >= 0.8].mean()), 4)
    return result


def candidate_table(name: str, texts: list[str]) -> dict[str, float]:
    result = {}
    shares = []
    for bands, rows in SETTINGS:
        share = len(candidates(texts, bands, rows, 0.8)) / len(texts)
        shares.append(f"{share:9.3f}")
        result[f"candidates_{name.replace(' ', '_')}_{bands}x{rows}"] = round(share, 3)
    print(f"{name:16} {len(texts):>9,} " + " ".join(shares))
    return result


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cost(texts: list[str]) -> dict[str, float]:
    """Everything in this process; kernels are compiled and loaded before."""
    warm()
    size = sum(len(text.encode()) for text in texts) / 1e6
    method = NearDuplicates()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "documents.parquet"
        pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), path,
                       row_group_size=2_000)  # fmt: skip
        corpus = Corpus(Path(name) / "corpus", executor=LocalExecutor(1))
        corpus.add([path])
        start = cpu_seconds()
        for _, batches in read_blocks(corpus.layer_folder(), ["id", "text"]):
            for batch in batches:
                method.fingerprint(batch)
        signatures = cpu_seconds() - start
        start = cpu_seconds()
        found = corpus.find_duplicates(method)
        whole = cpu_seconds() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{len(texts):,} texts, {size:.1f} MB: read and fingerprints {signatures:.2f} CPU s, the "
          f"whole search with what it writes {whole:.2f} CPU s, peak {peak:.0f} MB")  # fmt: skip
    print(f"found {found}")
    return {"signature_cpu_seconds": round(signatures, 3), "search_cpu_seconds": round(whole, 3)}


def main() -> None:
    books, wiki = texts_of("books_en/books.parquet"), texts_of("wiki_plain/wiki_toy.parquet")
    web = texts_of("web_quality_human/web.parquet")
    units, _, _ = plan_installation()
    documented = [
        found.text for unit in units for found in read_unit(unit) if hasattr(found, "text")
    ]
    if not books:
        paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
        books = [path.read_text("utf-8", "replace") for path in paths]
    figures = cost(pieces(books))
    spread = pieces(books)[:: max(1, len(pieces(books)) // ORIGINALS)]
    figures |= recall_table([*web, *(text[:4_000] for text in wiki), *spread][:ORIGINALS])
    chances = " ".join(f"{recall(0.8, *setting):.4f}" for setting in SETTINGS)
    print(f"by the formula at 0.8: {chances}")
    print(f"candidates a text {'texts':>8} " + " ".join(f"{b:>4} x {r:<2}" for b, r in SETTINGS))
    figures |= candidate_table("installation", list(dict.fromkeys(documented)))
    if web:
        figures |= candidate_table("web pages", list(dict.fromkeys(web)))
    print(json.dumps({"benchmark": "near_duplicates", "ratios": figures}))
    sys.exit(0 if figures["recall_20x6"] >= 0.98 else 1)


if __name__ == "__main__":
    main()
