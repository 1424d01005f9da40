"""`tilth doctor --warm`: compile everything that numba compiles, so that no later run waits for it.

Machine code is cached beside the package (or where NUMBA_CACHE_DIR says), for this processor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

TEXTS = ["A first line, of words.\nA second line (with 2 numbers).\n\nThe end.", "Short.", ""]
# Functions that compile what lies below them.
WARM = {
    "near-duplicates": "tilth.corpus.near_duplicates:warm",
    "rules of web text": "tilth.signals.web_rules:warm",
    "linear scorer": "tilth.signals.scorers.features:warm",
    "n-gram model": "tilth.models.ngram_scorer:warm",
    "search": "tilth.cli.warm:search",
    "signals": "tilth.cli.warm:signals",
    "engine": "tilth.cli.warm:engine",
}


def warm() -> Iterator[tuple[str, float]]:
    """(what was compiled, seconds), one after another."""
    from tilth.lookup import load

    for name in WARM:
        began = time.monotonic()
        load("part", WARM, name)()
        yield name, time.monotonic() - began


def search() -> None:
    """Index, update and ask three texts."""
    from tilth.retrieval.bm25 import BM25

    index = BM25().fit({str(number): text for number, text in enumerate(TEXTS)})
    index.add({"new": "another line"})
    index.remove(["0"])
    index.search(["a line", "of words"], k=2)


def signals() -> None:
    """Measure every signal that needs no data of the user's."""
    import pyarrow as pa

    from tilth.errors import TilthError
    from tilth.lookup import construct, names
    from tilth.signals import SIGNALS

    columns = [pa.array(TEXTS), pa.array(["text"] * 3), pa.array(["{}"] * 3)]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["0", "1", "2"]), *columns], ["id", "text", "format", "metadata"]
    )
    for name in names("signal", SIGNALS):
        try:
            signal = construct("signal", SIGNALS, name, {})
        except TilthError:
            continue
        signal.measure(batch)


def engine() -> None:
    """Read and write some tokens with a small model of random weights."""
    from tilth.models.decoder import build
    from tilth.serving.model_runner import ModelRunner, Segment

    runner = ModelRunner(build("200k", vocabulary=400, context=64))
    cache = runner.cache(blocks=2)
    chain = cache.chain()
    for ids in ([3, 4, 5], [6]):
        runner.forward(cache, [Segment(chain, ids)])
