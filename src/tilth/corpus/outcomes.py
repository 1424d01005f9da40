"""What happened to every document, and why: read from what the steps left, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.blocks import read_table, require_manifest
from tilth.errors import UsageError, nearest

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus


@dataclass(frozen=True)
class Decision:
    """What happened to one document, and why. `problem` is set where it could not be read."""

    source: str
    position: int
    id: str
    kept: bool
    reasons: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    representative: str = ""
    problem: str = ""

    def __str__(self) -> str:
        if self.kept:
            return f"{self.source}#{self.position} kept"
        why = [*self.reasons, *(f"{name} (unknown)" for name in self.unknown)]
        if self.problem:
            why.append(self.problem)
        if self.representative:
            why.append(f"{self.representative} stands for it")
        return f"{self.source}#{self.position} dropped: {'; '.join(why)}"


def why(corpus: Corpus, target: str) -> list[Decision]:
    """What happened to the documents of a source, or to the one with this id."""
    found = outcomes(corpus, target=target)
    if found:
        return found
    if len(target) >= 8 and all(letter in "0123456789abcdef" for letter in target):
        # The id may be of a document of an earlier layer.
        return outcomes(corpus, target=corpus.get(target).source)
    sources = {problem.source for problem in corpus.problems()}
    for _, batch in corpus.batches(["source"]):
        sources.update(batch.column("source").unique().to_pylist())
    raise UsageError(f"no document comes from {target!r}", hint=nearest(target, sources))


def outcomes(corpus: Corpus, *, target: str | None = None, dropped: bool = False) -> list[Decision]:
    """One decision for every document of the last layer and every problem, by source.

    target: only those of this source, or whose id begins so; dropped: only what was not kept.
    """
    decisions = corpus.decisions()
    result = [
        Decision(p.source, p.position, "", False, problem=f"{p.reason}: {p.detail}".rstrip(": "))
        for p in corpus.problems()
        if target is None or p.source == target
    ]
    table = read_table(corpus.layer_folder(), ["id", "source", "position"])
    if decisions is not None:
        for name in decisions.column_names[1:]:
            table = table.append_column(name, decisions.column(name))
    # Chosen in Arrow first: a corpus may hold millions, and few of them are asked for.
    if target is not None:
        wanted = pc.or_(
            pc.equal(table.column("source"), target), pc.starts_with(table.column("id"), target)
        )
        table = table.filter(wanted)
    if dropped:
        table = (
            table.filter(pc.invert(table.column("kept"))) if decisions is not None else table[:0]
        )
    for row in table.to_pylist():
        result.append(
            Decision(
                row["source"],
                row["position"],
                row["id"],
                row.get("kept", True),
                tuple(row.get("reasons") or ()),
                tuple(row.get("unknown") or ()),
                row.get("representative") or "",
            )
        )
    return sorted(result, key=lambda d: (d.source, d.position, d.id))


def current(read: Callable[[], pa.Table | None]) -> pa.Table | None:
    """What `read` gives, or None where it was decided on an earlier state of the layer."""
    try:
        return read()
    except UsageError:
        return None


def stats(corpus: Corpus) -> dict[str, Any]:
    """Counts by layer, by reason, by problem; a JSON value. Without decisions that are outdated."""
    result: dict[str, Any] = {"layers": {}, "problems": {}, "reasons": {}}
    for layer in corpus.layers:
        manifest = require_manifest(corpus.layer_folder(layer))
        size = sum(b["statistics"]["text_bytes"] for b in manifest["blocks"].values())
        result["layers"][layer] = {
            "documents": manifest["rows"],
            "bytes": size,
            "blocks": len(manifest["order"]),
        }
    for problem in corpus.problems():
        result["problems"][problem.reason] = result["problems"].get(problem.reason, 0) + 1
    decisions = current(corpus.decisions)
    if decisions is not None:
        result["kept"] = int(pc.sum(decisions.column("kept")).as_py() or 0)
        result["dropped"] = decisions.num_rows - result["kept"]
        for column in ("reasons", "unknown"):
            counts = pc.value_counts(pc.list_flatten(decisions.column(column)))
            for entry in counts.to_pylist():
                name = entry["values"] + (" (unknown)" if column == "unknown" else "")
                result["reasons"][name] = entry["counts"]
    splits = current(corpus.splits)
    if splits is not None:
        counts = pc.value_counts(splits.column("split")).to_pylist()
        result["splits"] = {entry["values"]: entry["counts"] for entry in counts}
    return result
