"""`tilth zoo`: micro models that two-stage methods start from."""

from __future__ import annotations

from typing import Annotated

import typer

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Micro models that two-stage methods start from: list them, build one.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@command.command(name="list")
def listed(json: Json = False) -> None:
    """List the models, whether they are built here and whether they passed their gate.

    Examples:

        tilth zoo list

        tilth zoo list --json
    """
    from tilth import zoo
    from tilth.cli.output import emit, table

    rows = []
    for name, recipe in zoo.ZOO.items():
        built = zoo.find(name)
        rows.append(
            {
                "name": name,
                "zoo": recipe.zoo,
                "what": recipe.what,
                "size": recipe.size,
                "tokens": recipe.tokens,
                "built": str(built.folder) if built else None,
                "gate": built.gate if built else None,
                "licences": [source.licence for source in built.sources] if built else None,
            }
        )
    if emit({"models": rows}, json):
        return
    gates = {True: "passed", False: "missed", None: ""}
    table(
        "Zoo",
        ["name", "zoo", "what", "size", "tokens", "gate", "built"],
        [
            [r["name"], r["zoo"], r["what"], r["size"], f"{r['tokens']:,}", gates[r["gate"]],
             r["built"] or "no"]
            for r in rows
        ],
    )  # fmt: skip


@command.command()
def build(
    name: Annotated[str, typer.Argument(help="One of `tilth zoo list`.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: Json = False,
) -> None:
    """Build a model, minutes, or say where the built one lies; a killed build goes on.

    Examples:

        tilth zoo build gpt-books

        tilth zoo build gpt-python --json
    """
    from tilth import zoo
    from tilth.cli.output import ProgressLines, emit, info

    shown = ProgressLines(quiet)
    made = zoo.model(name, progress=shown)
    shown.close()
    record = made.record
    if emit({**record, "folder": str(made.folder)}, json):
        return
    gate = record["gate"]
    info(f"{made.name}: {record['parameters']:,} parameters, {record['tokens']:,} tokens")
    outcome = "passed" if gate["passed"] else "MISSED: claims on this model are undecided"
    info(f"gate, {gate['measure']}: {gate['model']:.3f}, bound {gate['bound']:.3f}: {outcome}")
    for source in made.sources:
        info(f"data {source.name}, licence: {source.licence}")
    info(str(made.folder))
