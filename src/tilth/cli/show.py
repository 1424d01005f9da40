"""`tilth show`: a paper's card, claims and last result."""

from __future__ import annotations

from typing import Annotated

import typer


def show(
    slug: Annotated[str, typer.Argument(help="A system; `tilth systems` lists them.")],
    results: Annotated[str, typer.Option(help="The folder of results.")] = "results",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a paper's card, claims and last result, and the command on your own data.

    Examples:

        tilth show spgc

        tilth show spgc --json
    """
    import dataclasses
    from pathlib import Path

    from tilth.cli.output import emit, info
    from tilth.cli.run import print_result
    from tilth.data.sets import expected
    from tilth.evaluation.documentation import own_command
    from tilth.evaluation.results import read_result
    from tilth.evaluation.runner import code_digest
    from tilth.systems import load_system

    system = load_system(slug)
    card, path = system.CARD, Path(results) / f"{slug}.json"
    result = read_result(path) if path.is_file() else None
    stale = result is not None and result["code"] != code_digest(system)
    value = {
        "card": dataclasses.asdict(card),
        "claims": [dataclasses.asdict(claim) for claim in system.CLAIMS],
        "arms": list(system.ARMS),
        "result": result,
        "stale": stale,
        "command": own_command(card),
    }
    if emit(value, json):
        return
    info(f"{card.title} ({card.year}, {card.family})")
    if card.arxiv:
        info(f"https://arxiv.org/abs/{card.arxiv}")
    info()
    info(card.claim)
    if card.simulated:
        info(f"Made by code with known truth: {card.simulated}.")
    for word, text in (
        ("Use it when", card.when),
        ("Do not use it when", card.when_not),
        ("Not covered", card.not_covered),
    ):
        if text:
            info(f"{word}: {text}")
    info()
    info("Claims (* primary), with margins set before they were measured:")
    for claim in system.CLAIMS:
        info(f"{'*' if claim.primary else ' '} {claim.sentence()} [{claim.kind}]")
    info()
    if result is None:
        info(f"not measured yet: tilth run {slug}")
    else:
        print_result(result)
        info(f"measured {result['date']}" + ("; STALE: the code changed since" if stale else ""))
    info()
    info(f"the method alone: {card.part}")
    info(f"on your own: {own_command(card)}")
    if card.data_kind != "none":
        info(f"             {expected(card.data_kind)}")


command = show
