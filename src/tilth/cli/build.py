"""`tilth build`: the main job."""

from __future__ import annotations

from typing import Annotated

import typer


def build(
    documents: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs. Without any: this Python installation."),
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="The run folder.")] = "tilth-run",
    plan: Annotated[str, typer.Option(help="A plan file; see docs/plan.md.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, over the plan.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")] = 0,
    executor: Annotated[str, typer.Option(help="Where blocks are made.")] = "local",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build corpus, tokenizer, model, index and report from documents.

    Killed at any time, the same command continues and leaves the same bytes.

    Examples:

        tilth build my-documents -o my-run

        tilth build letters notes/*.md -o my-run --set train.tokens=200000

        tilth build my-documents -o my-run --plan plan.toml
    """
    from tilth.build.plan import load
    from tilth.build.run import build as build_run
    from tilth.cli.output import ProgressLines, emit, info

    chosen = load(plan) if plan else None
    lines = ProgressLines(quiet=quiet)
    run = build_run(
        documents or None, output, plan=chosen, settings=settings or (),
        workers=workers or None, executor=executor, progress=lines,
    )  # fmt: skip
    lines.close()
    if emit({"run": str(run.folder), **run.summary()}, json):
        return
    for line in run.first_screen():
        info(line)
    info(f"report: {run.folder / 'report' / 'report.html'}")
    info(f'try:    tilth search {run.folder} "words to look for"')


command = build
