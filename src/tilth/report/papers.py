"""What is known of every paper that has a system: its card, and what was measured here.

    measured = measured_papers("results")

Cards are read from the source of the systems, which is not run: importing all of them takes
seconds and loads torch, and the page of papers needs neither. A card is written in literals.
"""

from __future__ import annotations

import ast
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tilth.errors import TilthError
from tilth.evaluation.card import Card
from tilth.evaluation.results import board, primary, read_result
from tilth.papers.measured import NOT_BUILT, NOT_MEASURED, VERDICTS, Measured, Primary
from tilth.systems import SYSTEMS, load_system, names

log = logging.getLogger("tilth.report")
# Of a result, what the primary claim of a page holds.
FIELDS = ("metric", "baseline", "method", "difference", "ci_low", "ci_high", "margin", "paper")
FIGURES = ("difference", "ci_low", "ci_high", "paper")
JUDGED = set(VERDICTS) - {NOT_MEASURED, NOT_BUILT}


@dataclass(frozen=True)
class Unloaded:
    """As much of a system as `evaluation.results.board` and `code_digest` look at."""

    CARD: Card
    __name__: str


def read_cards() -> dict[str, Card]:
    """The card of each system that tilth brings and that other packages add, by slug.

    One of another package whose card is not literal is imported for it, and left out with a line
    in the log where that fails, however: a page of papers is no place to stop for it.
    """
    found = {slug: _card(module) for slug, module in SYSTEMS.items()}
    known = names()
    for slug in known.keys() - SYSTEMS.keys():
        try:
            found[slug] = _others_card(slug, known[slug])
        except (Exception, SystemExit) as error:  # A module may end the process at its import.
            log.warning("the system %s is left out: %r", slug, error)
    return found


def sound_results(folder: str | Path, cards: Mapping[str, Card]) -> dict[str, dict[str, Any]]:
    """Results of a folder by slug. One that cannot be read, or from which no row of the board and
    no `Measured` can be made, is logged and left out; the others stay."""
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            result = read_result(path)
            _check(result)
            board_rows(cards, {path.stem: result})
        except (Exception, SystemExit) as error:  # Of whatever was written there.
            log.warning("the result %s is left out: %r", path, error)
        else:
            found[path.stem] = result
    return found


def measured_of(
    cards: Mapping[str, Card], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Measured]:
    """What pages and mails say of each card; `results` as `sound_results`."""
    stale = {row["slug"] for row in board_rows(cards, results) if row["state"] != "current"}
    return {slug: _measured(card, results.get(slug), slug in stale) for slug, card in cards.items()}


def measured_papers(results: str | Path = "results") -> dict[str, Measured]:
    """What is measured of each paper that has a system, by slug. `results`: a folder."""
    cards = read_cards()
    return measured_of(cards, sound_results(results, cards))


def board_rows(
    cards: Mapping[str, Card], results: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of the board, without loading a system; see `evaluation.results.board`."""

    def load(slug: str) -> Any:
        if slug not in cards:
            raise TilthError("no system is called so")
        # Looking for other packages takes long, and most slugs are of this one.
        known = SYSTEMS if slug in SYSTEMS else names()
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


def _check(result: Mapping[str, Any]) -> None:
    """Raises what it meets first where a verdict, the date or a figure is none."""
    date.fromisoformat(result["date"])
    primary(result)
    for judged in (result, *result["claims"]):
        if judged["verdict"] not in JUDGED:
            raise ValueError(f"{judged['verdict']!r} is no verdict")
    for claim in result["claims"]:
        given = [claim[name] for name in FIGURES if claim[name] is not None]
        if not all(isinstance(value, (int, float)) for value in (claim["margin"], *given)):
            raise ValueError(f"a figure of {claim['metric']!r} is no number")


def _others_card(slug: str, module: str) -> Card:
    """The card of another package's system: read where it is literal, else imported."""
    try:
        return _card(module)
    except Exception:
        card = load_system(slug).CARD
    if not isinstance(card, Card):
        raise TilthError("CARD is no card", where=module)
    return card


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
