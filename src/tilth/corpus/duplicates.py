"""Duplicates: families of documents that are equal, or nearly so. Methods are in `DUPLICATES`.

A method makes a fingerprint of every text, block by block, and then relates the fingerprints of a
whole layer to each other. What comes out are columns and edges; nothing is dropped here, since the
last step of a rule keeps one of a family. Columns, aligned with the documents:

- `cluster`: the smallest id of the family; null where a document stands alone.
- `cluster_size`: documents in the family; 1 where it stands alone.
- `duplicate_similarity`: the highest similarity found to another document; null where alone.
- `cluster_similarity`: similarity to the document that names the family, 1 for that one itself;
  null where alone. A family is what edges connect, so it may hold a chain of which the ends differ
  much; the lowest value in a family says so.

Edges are pairs of documents (id < other) with their similarity. Documents with equal fingerprints
have an edge of similarity 1 to the first of them only, and that one stands for all of them in
other edges. Families and edges do not depend on the order of the documents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.store.digest import digest
from tilth.types import Executor, Progress

DUPLICATES = {
    "exact": "tilth.corpus.duplicates:ExactDuplicates",
    "near": "tilth.corpus.near_duplicates:NearDuplicates",
}

FINGERPRINT = pa.schema([("id", pa.string()), ("fingerprint", pa.string())])
CLUSTERS = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("cluster_size", pa.int64()),
        ("duplicate_similarity", pa.float64()),
        ("cluster_similarity", pa.float64()),
    ]
)
EDGES = pa.schema([("id", pa.string()), ("other", pa.string()), ("similarity", pa.float64())])
COLUMNS = {name: 0 for name in CLUSTERS.names[1:]}


@dataclass(frozen=True)
class Found:
    """What a method found in a layer: rows of `CLUSTERS` and `EDGES`, and counts of its work."""

    clusters: pa.Table
    edges: pa.Table
    statistics: dict[str, int] = field(default_factory=dict)


class Duplicates(Protocol):
    """A method: `fingerprint` gives rows of `schema` (the first two columns `id`, `fingerprint`)
    for a batch of `id` and `text`; `relate` reads them again from the blocks in `fingerprints`.
    """

    name: str
    version: int
    columns: ClassVar[dict[str, int]]

    @property
    def schema(self) -> pa.Schema: ...

    def parameters(self) -> dict[str, Any]: ...

    def fingerprint(self, batch: pa.RecordBatch) -> pa.RecordBatch: ...

    def relate(
        self, layer: Path, fingerprints: Path, executor: Executor, progress: Progress
    ) -> Found: ...


class ExactDuplicates:
    """Texts that are equal after white space runs became one blank and case is folded (`loose`).

    With `loose=False` only texts equal to the byte meet. Cheap, and never wrong; a changed word is
    enough to be missed. Fingerprints are digests of 128 bits (SHA-256, cut; NIST 2015, FIPS 180-4).
    """

    name = "exact"
    version = 1
    schema = FINGERPRINT
    columns: ClassVar[dict[str, int]] = COLUMNS

    def __init__(self, loose: bool = True) -> None:
        self.loose = loose

    def parameters(self) -> dict[str, Any]:
        return {"loose": self.loose}

    def fingerprint(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text")
        if self.loose:
            texts = pc.utf8_trim_whitespace(pc.utf8_lower(texts))
            texts = pc.replace_substring_regex(texts, pattern=r"\s+", replacement=" ")
        prints = [digest(text.as_buffer().to_pybytes()) for text in texts]
        return pa.RecordBatch.from_arrays(
            [batch.column("id"), pa.array(prints, pa.string())], schema=FINGERPRINT
        )

    def relate(
        self, layer: Path, fingerprints: Path, executor: Executor, progress: Progress
    ) -> Found:
        from tilth.corpus.blocks import read_table

        return families(group_equal(read_table(fingerprints)))


@dataclass(frozen=True)
class Groups:
    """Documents by fingerprint. Groups are numbered in the order of their smallest ids.

    ids: of the documents. group: number of each document's group. first: row of the document with
    the smallest id of each group.
    """

    ids: pa.Array
    group: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def group_equal(table: pa.Table) -> Groups:
    """Groups of the rows of a table with columns `id` and `fingerprint`."""
    ids = table.column("id").combine_chunks()
    codes = table.column("fingerprint").combine_chunks().dictionary_encode().indices.to_numpy()
    order = pc.sort_indices(ids).to_numpy().astype(np.int64)
    _, place, code = np.unique(codes[order], return_index=True, return_inverse=True)
    number = np.empty(len(place), dtype=np.int64)
    number[np.argsort(place)] = np.arange(len(place))
    group = np.empty(len(order), dtype=np.int64)
    group[order] = number[code]
    return Groups(ids, group, order[np.sort(place)])


@dataclass(frozen=True)
class Links:
    """How groups are related: `left[i]` < `right[i]` have `similarity[i]`.

    label: of each group the smallest group it is connected with. to_first: its similarity to that.
    """

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray
    label: np.ndarray
    to_first: np.ndarray

    @staticmethod
    def none(groups: Groups) -> Links:
        """No group is related to another one."""
        nothing = np.zeros(0, dtype=np.int64)
        return Links(nothing, nothing, np.zeros(0), np.arange(len(groups)), np.ones(len(groups)))


def families(
    groups: Groups, links: Links | None = None, statistics: dict[str, int] | None = None
) -> Found:
    """Columns and edges of documents of equal and of related groups."""
    links = links or Links.none(groups)
    row, label = groups.group, links.label
    count = np.bincount(row, minlength=len(groups))
    size = np.bincount(label, weights=count, minlength=len(groups)).astype(np.int64)[label]
    highest = np.where(count > 1, 1.0, 0.0)
    np.maximum.at(highest, links.left, links.similarity)
    np.maximum.at(highest, links.right, links.similarity)
    alone = (size == 1)[row]
    names = groups.ids.take(pa.array(groups.first[label[row]], mask=alone))
    clusters = pa.table(
        [
            groups.ids, names, pa.array(size[row]),
            pa.array(highest[row], mask=alone), pa.array(links.to_first[row], mask=alone),
        ],
        schema=CLUSTERS,
    )  # fmt: skip
    edges = _edges(groups, links)
    found = {
        "documents": len(row),
        "different": len(groups),
        "in_families": int(np.count_nonzero(~alone)),
        "families": int(np.count_nonzero((label == np.arange(len(label))) & (size > 1))),
        "edges": edges.num_rows,
    }
    return Found(clusters, edges, {**found, **(statistics or {})})


def _edges(groups: Groups, links: Links) -> pa.Table:
    firsts = groups.first[groups.group]
    copies = np.flatnonzero(firsts != np.arange(len(firsts)))
    one = np.concatenate([firsts[copies], groups.first[links.left]])
    other = np.concatenate([copies, groups.first[links.right]])
    value = np.concatenate([np.ones(len(copies)), links.similarity])
    table = pa.table(
        [groups.ids.take(pa.array(one)), groups.ids.take(pa.array(other)), pa.array(value)],
        schema=EDGES,
    )
    return table.sort_by([("id", "ascending"), ("other", "ascending")])


def clusters(table: pa.Table) -> pa.Table:
    """(id, fingerprint) to (id, cluster): its smallest id names a cluster, null where alone."""
    return families(group_equal(table)).clusters.select(["id", "cluster"])
