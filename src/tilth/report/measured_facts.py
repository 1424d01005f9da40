"""Facts of the report that a signal must have measured: personal data, licences, harm, overlap.

Each is None where its signal was not run.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.report.wording import clean, excerpt

NAMES = 20
# A document is called like the harmful texts where the calibrated scorer says more likely than not.
LIKELY = 0.5
PERSONAL = "personal_"


def personal_data(columns: pa.Table) -> dict[str, Any] | None:
    """Documents and items by kind; documents with most items are those to look at."""
    if f"{PERSONAL}total" not in columns.column_names:
        return None
    total = columns.column(f"{PERSONAL}total")
    kinds = []
    for name in columns.column_names:
        if name.startswith(PERSONAL) and name != f"{PERSONAL}total":
            found = columns.column(name)
            documents = int(pc.sum(pc.greater(found, 0)).as_py() or 0)
            if documents:
                kind = name.removeprefix(PERSONAL).replace("_", " ")
                items = int(pc.sum(found).as_py() or 0)
                kinds.append({"kind": kind, "documents": documents, "items": items})
    kinds.sort(key=lambda entry: (-entry["documents"], entry["kind"]))
    order = np.lexsort((np.asarray(columns.column("id").to_pylist(), dtype=str), -_numbers(total)))
    most = [
        {
            "source": excerpt(columns.column("source")[row].as_py()),
            "position": columns.column("position")[row].as_py(),
            "items": total[row].as_py(),
        }
        for row in order[:10].tolist()
        if (total[row].as_py() or 0) > 0
    ]
    return {
        "documents": int(pc.sum(pc.greater(total, 0)).as_py() or 0),
        "items": int(pc.sum(total).as_py() or 0),
        "kinds": kinds,
        "most": most,
    }


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(column, 0).to_numpy(), dtype=np.float64)


def licence_texts(columns: pa.Table) -> dict[str, Any] | None:
    """Licences that were found in texts and metadata, by name and by evidence."""
    if "licence" not in columns.column_names:
        return None
    names = columns.column("licence").to_pylist()
    evidence = columns.column("licence_evidence").to_pylist()
    copyleft = columns.column("copyleft")
    counts = Counter(name for name in names if name)
    by_evidence = Counter(kind for name, kind in zip(names, evidence) if name and kind)
    order = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    listed = [{"licence": clean(name), "documents": n} for name, n in order[:NAMES]]
    if rest := order[NAMES:]:
        listed.append({"licence": f"({len(rest)} others)", "documents": sum(n for _, n in rest)})
    return {
        "documents": sum(counts.values()),
        "kinds": len(counts),
        "copyleft": int(pc.sum(pc.fill_null(copyleft, False)).as_py() or 0),
        "listed": listed,
        "evidence": [{"evidence": kind, "documents": n} for kind, n in sorted(by_evidence.items())],
    }


def contamination(columns: pa.Table, lineage: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Documents that share runs of words with evaluation sets."""
    if "contamination_hits" not in columns.column_names:
        return None
    parameters: dict[str, Any] = {}
    for entry in lineage:
        if entry.get("made_by", "").startswith("contamination@"):
            parameters = entry["parameters"]
    share = columns.column("contaminated_share")
    return {
        "n": parameters.get("n"),
        "sets": [clean(str(name)) for name in parameters.get("sets", [])],
        "documents": int(pc.sum(pc.greater(columns.column("contamination_hits"), 0)).as_py() or 0),
        "tenth": int(pc.sum(pc.greater_equal(share, 0.1)).as_py() or 0),
    }


def harm(columns: pa.Table) -> dict[str, Any] | None:
    """How many documents the harm scorer calls like its harmful texts; null scores apart."""
    if "harm" not in columns.column_names:
        return None
    probability = columns.column("harm_probability")
    known = len(probability) - probability.null_count
    return {
        "scored": columns.num_rows - columns.column("harm").null_count,
        "too_short": columns.column("harm").null_count,
        "calibrated": known > 0,
        "likely": int(pc.sum(pc.greater(probability, LIKELY)).as_py() or 0) if known else None,
        "above": LIKELY,
    }
