"""What a report shows of a corpus, as one JSON value: counts, samples, families, distributions.

Read from columns and decisions; texts are opened only for the few samples. Samples are the
documents with the smallest ids: ids are digests, so this is a fair draw that never changes.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.histograms import histogram
from tilth.corpus.lineage import read_lineage
from tilth.corpus.near_threshold import near_thresholds
from tilth.corpus.snapshot import IDENTITY, is_number
from tilth.report import measured_facts
from tilth.report.wording import clean, excerpt, place

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

SAMPLES = 5
# Documents on each side of a threshold.
NEAR = 3
PROBLEMS = 50
FAMILIES = 10
# Names in a list of encodings or licences: metadata may hold any number of them.
NAMES = 20
LOW_CONFIDENCE = 0.5

_PLAIN = {"utf-8", "utf8", "ascii", "us-ascii"}
_TOLD = ("encoding", "damage", "license", "licence", "line_ends")


def gather(corpus: Corpus) -> dict[str, Any]:
    """All facts of the last layer, and what the first one says about files."""
    columns, decisions = corpus.columns(), corpus.decisions()
    kept = None if decisions is None else _booleans(decisions.column("kept"))
    by_reason = {} if decisions is None else _rows_by_reason(decisions)
    families = _families(columns, kept)
    ids = columns.column("id")
    near = {} if decisions is None else near_thresholds(corpus, NEAR)
    wanted = {
        ids[row].as_py()
        for rows in [*(r for _, r in by_reason.values()), *(f["rows"][:1] for f in families or ())]
        for row in rows
    } | {entry.id for entries in near.values() for entry in entries}
    texts = {id: d.text for id, d in corpus.get_many(sorted(wanted)).items()}

    def shown(row: int) -> dict[str, Any]:
        id = ids[row].as_py()
        return {
            "id": id,
            "source": place(columns.column("source")[row].as_py()),
            "position": columns.column("position")[row].as_py(),
            "excerpt": excerpt(texts[id]) if id in texts else "",
        }

    stats = corpus.stats()
    told = _told_by_metadata(corpus)
    return {
        "documents": _documents(corpus, stats, columns, kept),
        "dropped": None
        if decisions is None
        else [
            {"reason": clean(name), "documents": n, "samples": [shown(row) for row in rows]}
            for name, (n, rows) in by_reason.items()
        ],
        "near_thresholds": [
            {
                "condition": clean(name),
                "documents": [
                    {
                        "id": entry.id,
                        "source": place(entry.source),
                        "position": entry.position,
                        "value": entry.value,
                        "met": entry.met,
                        "excerpt": excerpt(texts.get(entry.id, "")),
                    }
                    for entry in entries
                ],
            }
            for name, entries in near.items()
        ],
        "not_read": _not_read(corpus),
        "damage": {**told["damage"], "documents_with_damaged_characters": _positive(columns)},
        "licences": told["licences"],
        "licence_texts": measured_facts.licence_texts(columns),
        "personal_data": measured_facts.personal_data(columns),
        "harm": measured_facts.harm(columns),
        "contamination": measured_facts.contamination(columns, read_lineage(corpus.folder)),
        "duplicates": _duplicates(columns, families, shown),
        "languages": _languages(columns, kept),
        "signals": {
            "quantiles": corpus.quantiles(),
            "histograms": _histograms(columns),
        },
        "lineage": read_lineage(corpus.folder),
    }


def _booleans(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)


def _documents(
    corpus: Corpus, stats: dict[str, Any], columns: pa.Table, kept: np.ndarray | None
) -> dict[str, Any]:
    sizes = _sizes(columns)
    splits = corpus.splits()
    held_out: dict[str, dict[str, int]] = {}
    if splits is not None:
        names = np.asarray(splits.column("split").to_pylist(), dtype=str)
        used = np.ones(len(names), dtype=bool) if kept is None else kept
        for name in sorted(set(names.tolist())):
            chosen = (names == name) & used
            held_out[name] = {"documents": int(chosen.sum()), "bytes": int(sizes[chosen].sum())}
    return {
        "layers": [{"name": name, **entry} for name, entry in stats["layers"].items()],
        "read": columns.num_rows,
        "bytes": list(stats["layers"].values())[-1]["bytes"],
        "kept": None if kept is None else int(kept.sum()),
        "kept_bytes": int(sizes[kept].sum()) if kept is not None and sizes.any() else None,
        "splits": held_out,
    }


def _sizes(columns: pa.Table) -> np.ndarray:
    """Bytes of each document; zeros where length was not measured."""
    if "bytes" not in columns.column_names:
        return np.zeros(columns.num_rows, dtype=np.int64)
    return pc.fill_null(columns.column("bytes"), 0).to_numpy().astype(np.int64)


def _rows_by_reason(decisions: pa.Table) -> dict[str, tuple[int, list[int]]]:
    """Reason -> (documents, rows of the samples), the most frequent first."""
    ids = np.asarray(decisions.column("id").to_pylist(), dtype=str)
    found: dict[str, tuple[int, list[int]]] = {}
    for column, mark in (("reasons", ""), ("unknown", " (unknown)")):
        lists = decisions.column(column).combine_chunks()
        rows = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        names = np.asarray(pc.list_flatten(lists).to_pylist(), dtype=object)
        for name in sorted(set(names.tolist())):
            here = rows[names == name]
            samples = here[np.argsort(ids[here], kind="stable")[:SAMPLES]]
            found[name + mark] = (len(here), samples.tolist())
    return dict(sorted(found.items(), key=lambda entry: (-entry[1][0], entry[0])))


def _not_read(corpus: Corpus) -> dict[str, Any]:
    problems = corpus.problems()
    reasons = Counter(problem.reason for problem in problems)
    return {
        "total": len(problems),
        "reasons": _ranked(reasons, "reason"),
        "listed": [
            {
                "source": place(problem.source),
                "position": problem.position,
                "reason": clean(problem.reason),
                "detail": excerpt(problem.detail),
            }
            for problem in problems[:PROBLEMS]
        ],
        "left_out": max(0, len(problems) - PROBLEMS),
    }


def _ranked(counts: Counter[str], name: str) -> list[dict[str, Any]]:
    """The most frequent names with their documents; a last entry `others` holds the rest."""
    order = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    result = [{name: excerpt(key, 60), "documents": n} for key, n in order[:NAMES]]
    if rest := order[NAMES:]:
        others = f"({len(rest)} others)"
        result.append({name: others, "documents": sum(n for _, n in rest)})
    return result


def _told_by_metadata(corpus: Corpus) -> dict[str, Any]:
    """Encodings, replaced characters and licences that readers or records noted.

    Only rows whose metadata name one of them are parsed: most have none.
    """
    encodings: Counter[str] = Counter()
    line_ends: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    damaged = characters = 0
    pattern = '"(' + "|".join(_TOLD) + ')"'
    for _, batch in corpus.batches(["metadata"], layer=corpus.layers[0]):
        column = batch.column("metadata")
        for text in column.filter(pc.match_substring_regex(column, pattern)).to_pylist():
            told = json.loads(text)
            if isinstance(told.get("reader"), dict):  # where the readers of records note it
                told = {**told, **told["reader"]}
            encoding = told.get("encoding")
            if isinstance(encoding, str) and encoding.lower() not in _PLAIN:
                encodings[encoding] += 1
            if isinstance(told.get("line_ends"), str):
                line_ends[told["line_ends"]] += 1
            if isinstance(told.get("damage"), int) and told["damage"] > 0:
                damaged += 1
                characters += told["damage"]
            licence = told.get("license") or told.get("licence")
            if isinstance(licence, str):
                licences[licence] += 1
    return {
        "damage": {
            "encodings": _ranked(encodings, "encoding"),
            "line_ends": _ranked(line_ends, "line_ends"),
            "documents_with_replaced_characters": damaged,
            "replaced_characters": characters,
        },
        "licences": {
            "documents": sum(licences.values()),
            "kinds": len(licences),
            "listed": _ranked(licences, "licence"),
        },
    }


def _positive(columns: pa.Table) -> int | None:
    """Documents that still hold U+FFFD or control characters after every transform."""
    if "damaged_share" not in columns.column_names:
        return None
    return int(pc.sum(pc.greater(columns.column("damaged_share"), 0)).as_py() or 0)


def _families(columns: pa.Table, kept: np.ndarray | None) -> list[dict[str, Any]] | None:
    """The largest clusters: rows with the kept one first, then by source and position."""
    if "cluster" not in columns.column_names:
        return None
    cluster = columns.column("cluster")
    counts = pc.value_counts(pc.drop_null(cluster)).to_pylist()
    largest = sorted((-entry["counts"], entry["values"]) for entry in counts)[:FAMILIES]
    result = []
    for _, name in largest:
        rows = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(cluster, name), False)))
        places = columns.select(["source", "position", "id"]).take(pa.array(rows)).to_pylist()
        order = sorted(
            range(len(rows)),
            key=lambda n: (
                kept is not None and not kept[rows[n]],
                places[n]["source"], places[n]["position"], places[n]["id"],
            ),
        )  # fmt: skip
        result.append({"rows": rows[order].tolist()})
    return result


def _duplicates(
    columns: pa.Table, families: list[dict[str, Any]] | None, shown: Any
) -> dict[str, Any] | None:
    if families is None:
        return None
    members = pc.drop_null(columns.column("cluster"))
    sources = columns.column("source")
    return {
        "families": pc.count_distinct(members).as_py(),
        "documents": len(members),
        "equal": _equal(columns),
        "largest": [
            {
                "size": len(family["rows"]),
                "lowest_similarity": _lowest(columns, family["rows"]),
                "representative": shown(family["rows"][0]),
                "others": [place(sources[row].as_py()) for row in family["rows"][1 : SAMPLES + 1]],
                "left_out": max(0, len(family["rows"]) - 1 - SAMPLES),
            }
            for family in families
        ],
    }


def _equal(columns: pa.Table) -> int | None:
    """Documents in families that have an equal one; None where similarity was not looked at."""
    if "duplicate_similarity" not in columns.column_names:
        return None
    return int(pc.sum(pc.equal(columns.column("duplicate_similarity"), 1.0)).as_py() or 0)


def _lowest(columns: pa.Table, rows: list[int]) -> float | None:
    if "cluster_similarity" not in columns.column_names:
        return None
    return pc.min(columns.column("cluster_similarity").take(pa.array(rows))).as_py()


def _languages(columns: pa.Table, kept: np.ndarray | None) -> dict[str, Any] | None:
    if "language" not in columns.column_names:
        return None
    names = np.asarray([name or "unknown" for name in columns.column("language").to_pylist()])
    sizes = _sizes(columns)
    found, number = np.unique(names, return_inverse=True)
    documents = np.bincount(number, minlength=len(found))
    weight = np.bincount(number, weights=sizes, minlength=len(found)).astype(np.int64)
    stayed = np.bincount(number, weights=kept, minlength=len(found)) if kept is not None else None
    order = sorted(range(len(found)), key=lambda n: (-documents[n], found[n]))
    low = None
    if "language_confidence" in columns.column_names:
        # A document without a language has no confidence in one either.
        below = pc.less(columns.column("language_confidence"), LOW_CONFIDENCE)
        unsure = _booleans(pc.fill_null(below, False))
        low = {
            "below": LOW_CONFIDENCE,
            "documents": int(unsure.sum()),
            "bytes": int(sizes[unsure].sum()),
        }
    return {
        "listed": [
            {
                "language": str(found[n]),
                "documents": int(documents[n]),
                "bytes": int(weight[n]),
                "kept": None if stayed is None else int(stayed[n]),
            }
            for n in order
        ],
        "low_confidence": low,
    }


def _histograms(columns: pa.Table) -> dict[str, dict[str, Any]]:
    """Counts between edges for each measured number, over its whole range."""
    result = {}
    for name in columns.column_names:
        column = columns.column(name)
        if name in IDENTITY or not is_number(column.type):
            continue
        values = pc.drop_null(column).to_numpy().astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            missing = columns.num_rows - len(values)
            result[name] = {**histogram(values), "missing": missing}
    return result
