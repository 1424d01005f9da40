"""Families of near-duplicates among texts at hand, without a corpus on disk.

    near_families(["a text ...", "A text: ...", "another"])       # [0, 0, 2]

The method is `NearDuplicates`, with its defaults: the same candidates, verified by the same true
Jaccard. For texts that are in memory anyway, such as those of a training that are to be split so
that no copy stands on both sides; a corpus keeps its families in a column.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tilth.corpus import shingle_kernels
from tilth.corpus.candidates import candidate_pairs, connected
from tilth.corpus.near_duplicates import NearDuplicates
from tilth.corpus.shingle_store import ShingleStore

# Characters of texts that are worked on at a time.
CHARACTERS = 1 << 24


def near_families(texts: Sequence[str]) -> np.ndarray:
    """(texts,), int64: of each text the first one of its family, itself where it stands alone."""
    if not texts:
        return np.zeros(0, np.int64)
    method = NearDuplicates()
    made = [method.fingerprint(_batch(texts, part)) for part in _parts(texts, range(len(texts)))]
    table = pa.Table.from_batches(made, method.schema)
    prints = _fixed(table, "fingerprint", np.dtype("V16"))[:, 0]
    _, first, group = np.unique(prints, return_index=True, return_inverse=True)
    # Groups of equal texts in the order of their first ones, so that the smallest number is first.
    order = np.argsort(first)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first, group = first[order], place[group]
    sizes = table.column("shingles").to_numpy()[first]
    keys = np.ascontiguousarray(_fixed(table, "keys", np.dtype(np.uint32))[first].T)
    left, right, _ = candidate_pairs(
        lambda begin, end: keys[begin:end], method.bands, sizes, method.threshold,
        method.largest_bucket,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, ShingleStore(Path(folder), sizes) as store:
        needed = np.unique(np.concatenate([left, right])).tolist()
        for part in _parts(texts, [int(first[number]) for number in needed]):
            offsets, data = shingle_kernels.text_buffers(_batch(texts, part).column("text"))
            starts, shingles = shingle_kernels.shingle_sets(
                offsets, data, shingle_kernels.character_table(), method.shingle
            )
            store.add(group[part], np.diff(starts), shingles)
        edge = store.similarities(left, right) >= method.threshold
    label = connected(len(first), left[edge], right[edge])
    return first[label[group]]


def _parts(texts: Sequence[str], places: Sequence[int]) -> Iterator[list[int]]:
    """The places, so many at a time as have `CHARACTERS`."""
    ends = np.cumsum([len(texts[place]) for place in places])
    cuts = np.flatnonzero(np.diff(ends // CHARACTERS)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(places)]):
        if begin < end:
            yield list(places[begin:end])


def _batch(texts: Sequence[str], part: Sequence[int]) -> pa.RecordBatch:
    columns = [
        pa.array([str(place) for place in part], pa.string()),
        pa.array([texts[place] for place in part], pa.large_string()),
    ]
    return pa.RecordBatch.from_arrays(columns, ["id", "text"])


def _fixed(table: pa.Table, name: str, kind: np.dtype) -> np.ndarray:
    """A column of so many bytes each as (rows, numbers)."""
    parts = [
        np.frombuffer(chunk.buffers()[1], kind).reshape(len(chunk), -1)
        for chunk in table.column(name).chunks
    ]
    return np.concatenate(parts)
