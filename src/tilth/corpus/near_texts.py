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

from tilth.corpus.candidates import candidate_pairs, connected
from tilth.corpus.duplicates import group_equal
from tilth.corpus.near_duplicates import NearDuplicates, shingles_of
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
    groups = group_equal(table)
    sizes = table.column("shingles").to_numpy()[groups.first]
    column = table.column("keys").combine_chunks()
    keys = np.frombuffer(column.buffers()[1], np.uint32).reshape(len(column), -1)
    keys = np.ascontiguousarray(keys[groups.first].T)
    left, right, _ = candidate_pairs(
        lambda begin, end: keys[begin:end], method.bands, sizes, method.threshold,
        method.largest_bucket,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, ShingleStore(Path(folder), sizes) as store:
        needed = groups.first[np.unique(np.concatenate([left, right]))].tolist()
        for part in _parts(texts, needed):
            of_part = shingles_of(_batch(texts, part).column("text"), method.shingle)
            store.add(groups.group[part], *of_part)
        edge = store.similarities(left, right) >= method.threshold
    label = connected(len(groups), left[edge], right[edge])
    return groups.first[label[groups.group]]


def _parts(texts: Sequence[str], places: Sequence[int]) -> Iterator[list[int]]:
    """The places, so many at a time as have `CHARACTERS`."""
    ends = np.cumsum([len(texts[place]) for place in places])
    cuts = np.flatnonzero(np.diff(ends // CHARACTERS)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(places)]):
        if begin < end:
            yield list(places[begin:end])


def _batch(texts: Sequence[str], part: Sequence[int]) -> pa.RecordBatch:
    columns = [
        # Ids in the order of the texts: groups are numbered in the order of their smallest ids.
        pa.array([f"{place:012}" for place in part], pa.string()),
        pa.array([texts[place] for place in part], pa.large_string()),
    ]
    return pa.RecordBatch.from_arrays(columns, ["id", "text"])
