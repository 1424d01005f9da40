"""`tilth search`: ranked passages from a run's index."""

from __future__ import annotations

from typing import Annotated

import typer


def search(
    run: Annotated[str, typer.Argument(help="A run folder that `tilth build` made.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many answers.")] = 5,
    explain: Annotated[bool, typer.Option(help="Show which words made each score.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search the documents of a run, offline.

    Examples:

        tilth search my-run "limit memory of a child process"

        tilth search my-run "open a file" -k 3 --explain

        tilth search my-run "open a file" --json
    """
    from tilth.build.run import Run
    from tilth.cli.output import emit, info

    opened = Run(run)
    hits = opened.search(query, k)
    if emit({"query": query, "hits": [hit.to_json() for hit in hits]}, json):
        return
    if not hits:
        info("no document holds any of these words")
    for hit in hits:
        info(f"{hit.rank}. {hit.source}  {hit.title}".rstrip())
        info(f"   score {hit.score:.3f}  id {hit.id}")
        info("   " + " ".join(hit.marked().split()))
        if explain:
            terms = opened.index.explain(query, hit.id)
            info("   " + ", ".join(f"{term} {part:.3f}" for term, part in terms))


command = search
