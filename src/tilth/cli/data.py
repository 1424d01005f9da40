"""`tilth data`: named data sets with licence and source."""

from __future__ import annotations

from typing import Annotated

import typer


def data(
    name: Annotated[str, typer.Argument(help="A data set; all are listed without one.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List named data sets with licence and source, or open and describe one.

    Examples:

        tilth data

        tilth data --json
    """
    import dataclasses
    from collections import Counter

    from tilth.cli.output import emit, info, table
    from tilth.data.named import SETS
    from tilth.data.sets import find_set, named, open_set
    from tilth.errors import DataError

    if name:
        known, opened = named(name), open_set(name)
        value = {"name": name, **dataclasses.asdict(known), "path": str(find_set(name).path)}
        if known.kind not in ("corpus", "files"):
            value["rows"] = opened.table.num_rows
            value["splits"] = opened.splits()
            value["labels"] = opened.labels
            value["metric"] = opened.metric
            value["task_digest"] = opened.digest
            value["left_out"] = dict(Counter(problem.reason for problem in opened.problems))
            if opened.collection is not None:
                value["documents"] = opened.collection.documents.num_rows
                value["queries"] = opened.collection.queries.num_rows
        if emit(value, json):
            return
        for key, entry in value.items():
            if entry not in ("", {}, []):
                info(f"{key}: {entry}")
        return
    rows = []
    for one, known in SETS.items():
        try:
            find_set(one, verify=False)
            here = True
        except DataError:
            here = False
        rows.append({"name": one, **dataclasses.asdict(known), "here": here})
    if emit({"sets": rows}, json):
        return
    keys = ["name", "kind", "here", "what", "licence", "address", "digest"]
    table("Data sets", keys, [[row[key] for key in keys] for row in rows])
    if not all(row["here"] for row in rows):
        info("sets that are not here are looked for in $TILTH_DATA; nothing is downloaded")


command = data
