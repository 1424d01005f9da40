"""`tilth search`: ranked passages from a run's index."""

from __future__ import annotations

from typing import Annotated

import typer


def search(
    run: Annotated[str, typer.Argument(help="A run folder that `tilth build` made.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many answers.")] = 5,
    using: Annotated[
        str, typer.Option("--with", help="lexical, dense or fused; the report says which to use.")
    ] = "lexical",
    explain: Annotated[bool, typer.Option(help="Show what made each score.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search the documents of a run, offline.

    Examples:

        tilth search my-run "limit memory of a child process"

        tilth search my-run "open a file" -k 3 --explain

        tilth search my-run "keep a program from using too much memory" --with dense

        tilth search my-run "open a file" --with fused --json
    """
    from tilth.build.run import Run
    from tilth.cli.output import emit, info

    opened = Run(run)
    hits = opened.search(query, k, using)
    if emit({"query": query, "with": using, "hits": [hit.to_json() for hit in hits]}, json):
        return
    if not hits:
        info("no document holds any of these words" if using == "lexical" else "nothing was found")
    for hit in hits:
        info(f"{hit.rank}. {hit.source}  {hit.title}".rstrip())
        info(f"   score {hit.score:.3f}  id {hit.id}")
        info("   " + " ".join(hit.marked().split()))
        if explain:
            terms = opened.explain(query, hit.id, using)
            info("   " + ", ".join(f"{term} {part:.3f}" for term, part in terms))


command = search
