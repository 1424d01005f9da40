"""What is known of every paper that has a system: its card, and what was measured here.

    measured = measured_papers("results")

Cards are read from the source of the systems, which is not run: importing all of them takes
seconds and loads torch, and the page of papers needs neither. A card is written in literals.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilth.errors import TilthError
from tilth.evaluation.card import Card
from tilth.evaluation.results import board, primary, read_results
from tilth.papers.measured import Measured, Primary
from tilth.systems import SYSTEMS, load_system, names

# Of a result, what the primary claim of a page holds.
FIELDS = ("metric", "baseline", "method", "difference", "ci_low", "ci_high", "margin", "paper")


@dataclass(frozen=True)
class Unloaded:
    """As much of a system as `evaluation.results.board` and `code_digest` look at."""

    CARD: Card
    __name__: str


def read_cards() -> dict[str, Card]:
    """The card of each system that tilth brings and that other packages add, by slug.

    One of another package whose card is not literal is imported for it, and left out where that
    fails: a page of papers is no place to stop for it.
    """
    found = {slug: _card(module) for slug, module in SYSTEMS.items()}
    for slug in names().keys() - SYSTEMS.keys():
        try:
            found[slug] = load_system(slug).CARD
        except (TilthError, ImportError):
            continue
    return found


def measured_of(
    cards: Mapping[str, Card], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Measured]:
    """What pages and mails say of each card; `results` as `evaluation.results.read_results`."""
    stale = {row["slug"] for row in board_rows(cards, results) if row["state"] != "current"}
    return {slug: _measured(card, results.get(slug), slug in stale) for slug, card in cards.items()}


def measured_papers(results: str | Path = "results") -> dict[str, Measured]:
    """What is measured of each paper that has a system, by slug. `results`: a folder."""
    return measured_of(read_cards(), read_results(results))


def board_rows(
    cards: Mapping[str, Card], results: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of the board, without loading a system; see `evaluation.results.board`."""
    known = names()

    def load(slug: str) -> Any:
        if slug not in cards:
            raise TilthError("no system is called so")
        return Unloaded(cards[slug], known[slug])

    return board(results, load)


def _measured(card: Card, result: Mapping[str, Any] | None, stale: bool) -> Measured:
    given: dict[str, Any] = {
        "slug": card.slug, "family": card.family, "claim": card.claim, "part": card.part,
        "command": f"tilth run {card.slug}",
    }  # fmt: skip
    if result is None:
        return Measured(**given)
    claim = primary(result)
    return Measured(
        **given,
        verdict=result["verdict"],
        date=result["date"],
        primary=Primary(**{name: claim[name] for name in FIELDS}),
        stale=stale,
    )


def _card(module: str) -> Card:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        raise TilthError(f"there is no module {module!r}")
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CARD":
            call = node.value
            assert isinstance(call, ast.Call)
            words = [(word.arg, word.value) for word in call.keywords if word.arg]
            return Card(**{name: ast.literal_eval(value) for name, value in words})
    raise TilthError("has no CARD", where=module)
