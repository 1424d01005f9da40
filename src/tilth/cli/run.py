"""`tilth run`: measure a paper's claim beside its baseline."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def run(
    slug: Annotated[str, typer.Argument(help="A system; `tilth systems` lists them.")],
    scale: Annotated[
        str, typer.Option(help="smoke (form only), small (minutes), own (your data or model).")
    ] = "",
    data: Annotated[str, typer.Option(help="Your data: a path, or a name of `tilth data`.")] = "",
    model: Annotated[str, typer.Option(help="Your model: a Hugging Face folder.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value: seeds, a setting of the system, data.COLUMN."),
    ] = None,
    output: Annotated[
        str, typer.Option("--out", help="Folder of results; `own-results` at scale own.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a paper's claim beside its baseline, with intervals and a verdict.

    Examples:

        tilth run spgc --scale smoke

        tilth run spgc --set seeds=3 --out my-results

        tilth run spgc --data my-documents
    """
    from tilth.cli.output import ProgressLines, emit, info
    from tilth.evaluation.given import (
        choose_scale,
        open_given_data,
        open_given_model,
        parse_settings,
    )
    from tilth.evaluation.runner import run_system, write_result
    from tilth.systems import load_system

    system = load_system(slug)
    scale = choose_scale(scale, data, model)
    options, columns = parse_settings(settings or [])
    opened = open_given_data(system.CARD, data, columns)
    lines = ProgressLines(quiet=quiet)
    result = run_system(
        system, scale=scale, data=opened, model=open_given_model(system.CARD, model),
        settings=options, progress=lines,
    )  # fmt: skip
    lines.close()
    path = None
    if scale != "smoke":
        path = write_result(result, output or ("results" if scale == "small" else "own-results"))
    if not emit(result, json):
        print_result(result)
        info(f"result: {path}" if path else "scale smoke checks the form only; nothing is kept")
    if not all(one["holds"] for one in result["invariants"]):
        raise typer.Exit(1)


def print_result(result: dict[str, Any]) -> None:
    """Claims with intervals and verdicts, what would decide, broken invariants, the verdict."""
    from tilth.cli.output import info, table
    from tilth.evaluation.results import NOTE, interval, number

    rows = [
        [
            ("* " if claim["primary"] else "") + claim["metric"],
            f"{claim['method']} {number(claim['method_value'])}",
            f"{claim['baseline']} {number(claim['baseline_value'])}",
            number(claim["difference"]),
            interval(claim),
            number(claim["margin"]),
            claim["verdict"],
        ]
        for claim in result["claims"]
    ]
    header = ["metric", "method", "baseline", "difference", "95 % interval", "margin", "verdict"]
    table("Claims (* primary; a positive difference is better)", header, rows)
    for claim in result["claims"]:
        if claim["would_decide"]:
            info(f"{claim['metric']}: undecided; would decide: {claim['would_decide']}")
    for one in result["invariants"]:
        if not one["holds"]:
            info(f"BROKEN invariant: {one['name']}")
    held = sum(one["holds"] for one in result["invariants"])
    info(f"{held} of {len(result['invariants'])} invariants hold")
    data = ", ".join(f"{one['name']} ({one['licence']})" for one in result["data"])
    info(f"data: {data or 'made by the code'}")
    info(f"verdict: {result['verdict']} (seeds: {result['seeds']}, {result['seconds']:g} s)")
    if result["scale"] == "small":
        info(NOTE)


command = run
