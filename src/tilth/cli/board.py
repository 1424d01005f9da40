"""`tilth board`: all results, with verdicts and intervals."""

from __future__ import annotations

from typing import Annotated

import typer


def board(
    family: Annotated[str, typer.Option(help="Only one family.")] = "",
    results: Annotated[str, typer.Option(help="The folder of results.")] = "results",
    write: Annotated[
        str, typer.Option(help="Write the board and a page with plot for each system to a folder.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show all results: verdict, difference, interval, data with licences, stale ones marked.

    Examples:

        tilth board

        tilth board --family corpus --json

        tilth board --write docs
    """
    from tilth.cli.output import emit, info, table
    from tilth.errors import UsageError, nearest
    from tilth.evaluation.documentation import write_docs
    from tilth.evaluation.results import NOTE, interval, number, read_results
    from tilth.evaluation.results import board as rows_of
    from tilth.systems import SYSTEMS, load_system

    rows = rows_of(read_results(results), load_system)
    if family:
        families = {row["family"] for row in rows}
        if rows and family not in families:
            raise UsageError(f"no result of a family {family!r}", hint=nearest(family, families))
        rows = [row for row in rows if row["family"] == family]
    written = []
    if write:
        written = write_docs(results, write, {slug: load_system(slug) for slug in SYSTEMS})
    if emit({"note": NOTE, "rows": rows, "written": [str(path) for path in written]}, json):
        return
    cells = [
        [
            row["slug"], row["family"], row["verdict"],
            f"{row['metric']}: {row['method']} against {row['baseline']}",
            number(row["difference"]), interval(row), number(row["margin"]),
            "" if row["tokens_per_parameter"] is None else number(row["tokens_per_parameter"]),
            ", ".join(row["data"]), "; ".join(row["licences"]),
            row["state"] if row["scale"] == "small" else f"{row['state']}, {row['scale']}",
        ]
        for row in rows
    ]  # fmt: skip
    header = ["system", "family", "verdict", "primary claim", "difference", "95 % interval",
              "margin", "tokens a parameter", "data", "licences", "state"]  # fmt: skip
    table("Board", header, cells)
    if not rows:
        info(f"no result in {results}; try: tilth run spgc")
    info(NOTE)
    if written:
        info(f"{len(written)} files written below {write}")


command = board
