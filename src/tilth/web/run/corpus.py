"""The corpus at a glance: counts, the rule, families of duplicates; every signal as a histogram."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.corpus.histograms import Limit, limits
from tilth.corpus.rules import DUPLICATE
from tilth.corpus.snapshot import counted
from tilth.report.wording import figure
from tilth.web.page import address
from tilth.web.run.asked import words
from tilth.web.run.documents import named
from tilth.web.run.pages import RunPages
from tilth.web.run.plots import bars
from tilth.web.run.shown import cut

QUANTILES = {"0.05": "5 %", "0.5": "median", "0.95": "95 %"}


def overview(pages: RunPages, request: Request) -> Response:
    """What was read, kept and dropped, by which rule."""
    held = pages.held
    splits = pages.report["documents"]["splits"]
    return pages.render(
        "corpus.html", "corpus", tab="", read=held.columns.num_rows, kept=int(held.kept.sum()),
        unread=len(held.problems), conditions=conditions(pages), decided=held.rule is not None,
        keep_by=held.rule.keep_by if held.rule else "", families=families(pages),
        layers=pages.stats["layers"], problems=sorted(pages.stats["problems"].items()),
        splits=splits,
    )  # fmt: skip


def rule_limits(pages: RunPages) -> list[Limit]:
    """The thresholds of the rule on columns that can be drawn."""
    if pages.held.rule is None:
        return []
    found = limits(pages.held.rule, pages.held.columns.column_names)
    return [limit for limit in found if limit.column in pages.histograms]


def conditions(pages: RunPages) -> list[dict[str, Any]]:
    """The conditions of the rule in order, with how many documents fail each; duplicates last."""
    held = pages.held
    if held.rule is None or held.decisions is None:
        return []
    movable = {limit.condition: limit for limit in rule_limits(pages)}
    return [
        {
            "name": name,
            "expression": cut(held.rule.conditions.get(name, ""), 300),
            "failed": failed,
            "unknown": unknown,
            "duplicate": name == DUPLICATE,
            "bars": bars(pages.histograms[movable[name].column], [movable[name]])
            if name in movable else None,
        }
        for name, (failed, unknown) in counted(held.decisions, held.rule).items()
    ]  # fmt: skip


def families(pages: RunPages) -> dict[str, Any] | None:
    """The largest families of duplicates, and which document stands for each."""
    found = pages.families
    if found is None:
        return None
    largest = []
    for entry in found["largest"]:
        lowest, row = entry["lowest_similarity"], entry["row"]
        largest.append({
            **entry,
            "sources": [cut(source.removesuffix("#0"), 120) for source in entry["sources"]],
            "lowest": "" if lowest is None else figure(round(lowest, 3)),
            "stands": None if row is None else named(pages.held, row),
        })  # fmt: skip
    return {**found, "largest": largest}


def signals(pages: RunPages, request: Request) -> Response:
    """Every measured number as a histogram, with the thresholds of the rule."""
    wanted = words(request, "q").lower()
    found = rule_limits(pages)
    quantiles = pages.quantiles
    drawn = [
        {
            "bars": bars(histogram, found),
            "quantiles": [
                (shown, figure(quantiles[name].get(at)))
                for at, shown in QUANTILES.items() if name in quantiles
            ],
            "documents": address("/corpus/documents", order=name, down="1"),
        }
        for name, histogram in pages.histograms.items() if wanted in name.lower()
    ]  # fmt: skip
    return pages.render(
        "signals.html", "corpus", tab="signals", drawn=drawn, wanted=words(request, "q"),
        every=len(pages.histograms),
    )  # fmt: skip
