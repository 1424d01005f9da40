"""`tilth systems`: the papers that can be run."""

from __future__ import annotations

from typing import Annotated

import typer


def systems(
    query: Annotated[
        str, typer.Argument(help="Words that the slug, title, family, claim or part must hold.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the papers that can be run, or search them.

    Examples:

        tilth systems

        tilth systems "project gutenberg"

        tilth systems --json
    """
    import dataclasses

    from tilth.cli.output import emit, info, table
    from tilth.errors import TilthError
    from tilth.systems import load_system, names

    words, cards, broken = query.casefold().split(), [], {}
    for slug in sorted(names()):
        try:
            card = load_system(slug).CARD
        except (TilthError, ImportError) as error:
            broken[slug] = str(error)
            continue
        text = f"{card.slug} {card.title} {card.family} {card.claim} {card.part}".casefold()
        if all(word in text for word in words):
            cards.append(card)
    cards.sort(key=lambda card: (card.family, card.slug))
    if emit({"systems": [dataclasses.asdict(card) for card in cards], "broken": broken}, json):
        return
    rows = [
        [card.slug, card.family, card.year, card.data_kind, card.model_kind, card.title]
        for card in cards
    ]
    table("Systems", ["slug", "family", "year", "data", "model", "title"], rows)
    for slug, reason in broken.items():
        info(f"{slug} cannot be loaded: {reason}")
    if not cards:
        info(f"no system holds {query!r}; all: tilth systems")


command = systems
