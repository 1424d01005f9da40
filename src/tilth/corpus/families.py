"""The largest families of duplicates, for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.errors import UsageError

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

SOURCES = 3


def largest_families(corpus: Corpus, limit: int = 10, layer: str | None = None) -> dict[str, Any]:
    """Counts, and the largest clusters with their lowest similarity and a few sources.

    Raises UsageError where no search for duplicates was run.
    """
    table = corpus.columns(layer)
    if "cluster" not in table.column_names:
        raise UsageError("no search for duplicates was run", hint="tilth corpus dedup CORPUS")
    table = table.append_column("_row", pa.array(np.arange(table.num_rows)))
    members = table.filter(pc.is_valid(table.column("cluster")))
    counts = members.group_by("cluster").aggregate([("_row", "count")])
    order = [("_row_count", "descending"), ("cluster", "ascending")]
    largest = counts.sort_by(order).slice(0, limit).to_pylist()
    found = []
    for entry in largest:
        family = members.filter(pc.equal(members.column("cluster"), entry["cluster"]))
        similarity = None
        if "cluster_similarity" in family.column_names:
            similarity = pc.min(family.column("cluster_similarity")).as_py()
        places = family.select(["source", "position"]).sort_by(
            [("source", "ascending"), ("position", "ascending")]
        )
        found.append(
            {
                "cluster": entry["cluster"],
                "size": entry["_row_count"],
                "lowest_similarity": similarity,
                "sources": [
                    f"{p['source']}#{p['position']}" for p in places.slice(0, SOURCES).to_pylist()
                ],
            }
        )
    return {
        "of": table.num_rows,
        "documents": members.num_rows,
        "families": counts.num_rows,
        "largest": found,
    }
