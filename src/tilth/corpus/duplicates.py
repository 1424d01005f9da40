"""Exact duplicates: texts that are equal after white space and case are evened out.

A cluster is a column: the smallest id of the documents with the same evened text, null where a
document stands alone. Nothing is dropped here; the last step of a rule keeps one of a cluster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.store.digest import digest

FINGERPRINT = pa.schema([("id", pa.string()), ("fingerprint", pa.string())])
CLUSTERS = pa.schema([("id", pa.string()), ("cluster", pa.string())])


class ExactDuplicates:
    """Fingerprint of a text: white space runs become one blank, case is folded (`loose`).

    Use it before any near-duplicate search: it is cheap and finds copies byte by byte. With
    `loose=False` only texts equal to the byte meet.
    """

    name = "exact"
    version = 1

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


def clusters(table: pa.Table) -> pa.Table:
    """(id, fingerprint) to (id, cluster); order-free: its smallest id names a cluster."""
    ids = table.column("id").to_numpy(zero_copy_only=False).astype(str)
    prints = table.column("fingerprint").to_numpy(zero_copy_only=False).astype(str)
    order = np.lexsort((ids, prints))
    first = np.ones(len(order), dtype=bool)
    first[1:] = prints[order][1:] != prints[order][:-1]
    starts = np.flatnonzero(first)
    sizes = np.diff(np.r_[starts, len(order)])
    names = np.empty(len(ids), dtype=object)
    names[order] = np.repeat(np.where(sizes > 1, ids[order][starts], None), sizes)
    return pa.table([table.column("id"), pa.array(names, pa.string())], schema=CLUSTERS)
