"""Near-duplicates by MinHash, each pair checked by the true Jaccard of its shingle sets.

Broder 1997, "On the resemblance and containment of documents", with the bands of
locality-sensitive hashing; for training data of language models as in Lee et al. 2022,
"Deduplicating training data makes language models better".

The resemblance of two texts is the Jaccard of their sets of shingles: shingles in both, divided by
shingles in either. A MinHash of a set is the smallest value that a hash function takes on it; two
sets have the same one with a chance equal to their Jaccard. So two texts agree in all `rows`
MinHashes of at least one of `bands` bands with the chance 1 - (1 - J^rows)^bands, which `recall`
gives: near 0 for texts that share little, near 1 for near-duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus import shingle_kernels
from tilth.corpus.blocks import read_block, read_blocks, read_table, require_manifest
from tilth.corpus.candidates import candidate_pairs, connected
from tilth.corpus.duplicates import (
    COLUMNS,
    ExactDuplicates,
    Found,
    Groups,
    Links,
    families,
    group_equal,
)
from tilth.corpus.shingle_store import ShingleStore
from tilth.errors import UsageError
from tilth.types import Executor, Progress

MOST_HASHES = 1024
# A setting that finds fewer of the pairs at the threshold is refused.
LEAST_RECALL = 0.9
MASK = (1 << 64) - 1


def recall(similarity: float, bands: int, rows: int) -> float:
    """The chance that a pair of this Jaccard agrees in all rows of at least one band."""
    return float(1.0 - (1.0 - similarity**rows) ** bands)


class NearDuplicates:
    """Pairs of texts whose sets of word shingles have a Jaccard of at least `threshold`.

    Use it on web pages, news, mail, versions of one document: wherever copies differ in a header,
    a date, a few words, or in case and punctuation, which are not looked at (see
    `shingle_kernels` for words). Do not use it for passages that are shared by texts otherwise
    different, nor for translations and rephrasings. Texts with fewer words than a shingle are
    compared as `ExactDuplicates` does.

    shingle: words in a shingle. bands, rows: MinHashes are `bands * rows`; more bands find more
    pairs, more rows compare fewer. threshold: lowest Jaccard of an edge; every edge is verified,
    so none lies below. largest_bucket: see `candidates`. seed: of the hash functions.

    Raises UsageError for values that cannot be, and where fewer than 90 % of the pairs at the
    threshold would be found.
    """

    name = "near"
    version = 1
    columns: ClassVar[dict[str, int]] = COLUMNS

    def __init__(
        self,
        shingle: int = 5,
        bands: int = 20,
        rows: int = 6,
        threshold: float = 0.8,
        largest_bucket: int = 64,
        seed: int = 1,
    ) -> None:
        for label, value, high in (
            ("shingle", shingle, 1000),
            ("bands", bands, MOST_HASHES),
            ("rows", rows, MOST_HASHES),
            ("largest_bucket", largest_bucket, 10_000),
        ):
            if not 1 <= value <= high:
                raise UsageError(f"{label} must lie from 1 to {high}, not {value}")
        if bands * rows > MOST_HASHES:
            raise UsageError(f"bands times rows must be at most {MOST_HASHES}")
        if not 0 < threshold <= 1:
            raise UsageError(f"threshold must lie above 0, up to 1, not {threshold}")
        if seed < 0:
            raise UsageError(f"seed must be at least 0, not {seed}")
        share = recall(threshold, bands, rows)
        if share < LEAST_RECALL:
            raise UsageError(
                f"{bands} bands of {rows} rows find only {share:.0%} of the pairs with a "
                f"similarity of {threshold}",
                hint=f"rows = {_rows_for(threshold, bands)}, or more bands",
            )
        self.shingle, self.bands, self.rows = shingle, bands, rows
        self.threshold, self.largest_bucket, self.seed = threshold, largest_bucket, seed

    def parameters(self) -> dict[str, Any]:
        return {
            "shingle": self.shingle,
            "bands": self.bands,
            "rows": self.rows,
            "threshold": self.threshold,
            "largest_bucket": self.largest_bucket,
            "seed": self.seed,
        }

    @property
    def schema(self) -> pa.Schema:
        """`shingles`: different ones in the text; `keys`: a key of 32 bits for each band."""
        return pa.schema(
            [
                ("id", pa.string()),
                ("fingerprint", pa.binary(16)),
                ("shingles", pa.int64()),
                ("keys", pa.binary(4 * self.bands)),
            ]
        )

    def fingerprint(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text")
        offsets, data = shingle_kernels.text_buffers(texts)
        factors, terms = self._functions()
        prints, sizes, keys = shingle_kernels.sketch(
            offsets, data, shingle_kernels.character_table(), self.shingle,
            factors, terms, self.bands,
        )  # fmt: skip
        short = np.flatnonzero(sizes == 0)
        few = batch.select(["id", "text"]).take(pa.array(short))
        for row, exact in zip(short, ExactDuplicates().fingerprint(few).column("fingerprint")):
            prints[row] = np.frombuffer(bytes.fromhex(exact.as_py()), dtype=np.uint64)
        columns = [
            batch.column("id"),
            _fixed(prints, 16),
            pa.array(sizes),
            _fixed(keys, 4 * self.bands),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _functions(self) -> tuple[np.ndarray, np.ndarray]:
        """Factors (odd) and terms of the hash functions: splitmix64, counted from the seed."""
        state = self.seed * 0x9E3779B97F4A7C15
        numbers = []
        for _ in range(2 * self.bands * self.rows):
            state = state + 0x9E3779B97F4A7C15 & MASK
            value = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
            value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
            numbers.append((value ^ value >> 31) >> 32)
        half = len(numbers) // 2
        factors = np.array(numbers[:half], dtype=np.uint32) | np.uint32(1)
        terms = np.array(numbers[half:], dtype=np.uint32)
        return shingle_kernels.read_only(factors), shingle_kernels.read_only(terms)

    def relate(
        self, layer: Path, fingerprints: Path, executor: Executor, progress: Progress
    ) -> Found:
        """Candidates by band, verified; families are what edges connect."""
        table = read_table(fingerprints, ["id", "fingerprint", "shingles"])
        groups = group_equal(table.select(["id", "fingerprint"]))
        sizes = table.column("shingles").to_numpy()[groups.first]
        del table
        left, right, crowding = candidate_pairs(
            _Keys(fingerprints, groups, self.bands), self.bands, sizes, self.threshold,
            self.largest_bucket,
        )  # fmt: skip
        statistics = {
            "only_exact": int(np.count_nonzero(sizes == 0)),
            "compared": len(left),
            "crowded_buckets": crowding.buckets,
            "largest_bucket": crowding.largest,
            "pairs_left_out": crowding.left_out,
        }
        with ShingleStore(fingerprints.parent, sizes) as store:
            needed = np.unique(np.concatenate([left, right]))
            tasks = _rows_by_block(layer, groups.first, needed)
            work = _ShinglesOfBlock(layer, self.shingle)
            step = f"duplicates {self.name}: texts to compare"
            progress(step, 0, len(tasks))
            for done, (number, sets) in enumerate(executor.map(work, tasks), start=1):
                store.add(tasks[number][2], *sets)
                progress(step, done, len(tasks))
            similarity = store.similarities(left, right)
            edge = similarity >= self.threshold
            left, right, similarity = left[edge], right[edge], similarity[edge]
            label = connected(len(groups), left, right)
            to_first = _similarity_to_first(store, left, right, similarity, label)
        return families(groups, Links(left, right, similarity, label, to_first), statistics)


def _rows_for(threshold: float, bands: int) -> int:
    return max(
        (rows for rows in range(1, 33) if recall(threshold, bands, rows) >= LEAST_RECALL),
        default=1,
    )


def _fixed(values: np.ndarray, width: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


@dataclass(frozen=True)
class _Keys:
    """Keys of some bands at a time, a row a band and a column a group, read from the blocks."""

    fingerprints: Path
    groups: Groups
    bands: int

    def __call__(self, first: int, last: int) -> np.ndarray:
        keys = np.zeros((last - first, len(self.groups)), dtype=np.uint32)
        number = np.full(len(self.groups.group), -1)
        number[self.groups.first] = np.arange(len(self.groups))
        at = 0
        for _, batches in read_blocks(self.fingerprints, ["keys"]):
            for batch in batches:
                column = batch.column("keys")
                values = np.frombuffer(column.buffers()[1], dtype=np.uint32)
                rows = values.reshape(-1, self.bands)[column.offset :][: len(column)]
                here = number[at : at + len(rows)]
                keys[:, here[here >= 0]] = rows[here >= 0, first:last].T
                at += len(rows)
        return keys


def _rows_by_block(
    layer: Path, first: np.ndarray, needed: np.ndarray
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(block, rows in it, their groups) for the first documents of the groups needed."""
    manifest = require_manifest(layer)
    order = manifest["order"]
    ends = np.cumsum([manifest["blocks"][block]["rows"] for block in order])
    by_row = needed[np.argsort(first[needed])]
    rows = first[by_row]
    place = np.searchsorted(ends, rows, side="right")
    tasks = []
    for number in np.unique(place):
        here = place == number
        start = ends[number - 1] if number else 0
        tasks.append((order[number], rows[here] - start, by_row[here]))
    return tasks


def shingles_of(texts: pa.Array, shingle: int) -> tuple[np.ndarray, np.ndarray]:
    """(sizes, shingles) of texts; the sets one after the other."""
    offsets, data = shingle_kernels.text_buffers(texts)
    starts, values = shingle_kernels.shingle_sets(
        offsets, data, shingle_kernels.character_table(), shingle
    )
    return np.diff(starts), values


@dataclass(frozen=True)
class _ShinglesOfBlock:
    """(sizes, shingles) of some documents of a block; the shingles one after the other."""

    layer: Path
    shingle: int

    def __call__(self, task: tuple[str, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        block, rows, _ = task
        sizes, shingles = [], []
        for texts in self._texts(block, rows):
            count, values = shingles_of(texts, self.shingle)
            sizes.append(count)
            shingles.append(values)
        return np.concatenate(sizes), np.concatenate(shingles)

    def _texts(self, block: str, rows: np.ndarray) -> Iterator[pa.Array]:
        start = 0
        for batch in read_block(self.layer, block, ["text"]):
            first, last = np.searchsorted(rows, [start, start + batch.num_rows])
            if last > first:
                yield batch.column("text").take(pa.array(rows[first:last] - start))
            start += batch.num_rows


def _similarity_to_first(
    store: ShingleStore, left: np.ndarray, right: np.ndarray, similarity: np.ndarray,
    label: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Of each group to the first of its family: from the edge where there is one, else compared."""
    result = np.ones(len(label))
    known = label == np.arange(len(label))
    direct = label[right] == left
    result[right[direct]], known[right[direct]] = similarity[direct], True
    others = np.flatnonzero(~known)
    result[others] = store.similarities(label[others], others)
    return result


def warm() -> None:
    """Compile the kernels for this processor; nothing else, where they are compiled already."""
    method = NearDuplicates()
    texts = pa.array(["one two three four five six"] * 2, pa.large_string())
    method.fingerprint(pa.RecordBatch.from_arrays([pa.array(["a", "b"]), texts], ["id", "text"]))
    offsets, data = shingle_kernels.text_buffers(texts)
    starts, shingles = shingle_kernels.shingle_sets(
        offsets, data, shingle_kernels.character_table(), method.shingle
    )
    one, other = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    shingle_kernels.similarities(starts, shingles, one, other)
    keys = np.zeros((1, 2), dtype=np.uint32)
    candidate_pairs(lambda first, last: keys, 1, np.diff(starts), method.threshold)
    connected(2, one, other)
