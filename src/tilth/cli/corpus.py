"""`tilth corpus`: make a corpus step by step, and look into it."""

from __future__ import annotations

from typing import Annotated

import typer

from tilth.cli import corpus_steps, score

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make a corpus step by step; show, count and export documents, and say why.",
)

for name, step in {**corpus_steps.STEPS, **score.STEPS}.items():
    command.command(name)(step)

Folder = Annotated[str, typer.Argument(help="A corpus folder, or a run folder that holds one.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@command.command()
def stats(folder: Folder, json: Json = False) -> None:
    """Count documents by layer, reason and problem; show quantiles of what was measured.

    Examples:

        tilth corpus stats my-run

        tilth corpus stats my-run --json
    """
    from tilth.build.run import open_corpus
    from tilth.cli.output import emit, info, quantile_table, table

    corpus = open_corpus(folder)
    found = corpus.stats()
    quantiles = corpus.quantiles()
    if emit({**found, "quantiles": quantiles}, json):
        return
    rows = [[n, c["documents"], c["bytes"], c["blocks"]] for n, c in found["layers"].items()]
    table("Layers", ["layer", "documents", "bytes", "blocks"], rows)
    if "kept" in found:
        info(f"kept {found['kept']:,}, dropped {found['dropped']:,}")
        table("Dropped, by reason", ["reason", "documents"], found["reasons"].items())
    if found["problems"]:
        table("Not read, by reason", ["reason", "files or records"], found["problems"].items())
    quantile_table(quantiles)


@command.command()
def show(
    folder: Folder,
    document: Annotated[
        str, typer.Argument(help="An id, the start of one, or a source path; else a list.")
    ] = "",
    why: Annotated[bool, typer.Option("--why", help="Only what was decided, and why.")] = False,
    dropped: Annotated[bool, typer.Option("--dropped", help="List dropped documents.")] = False,
    near: Annotated[str, typer.Option(help="List documents near this condition's threshold.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many lines of a list.")] = 20,
    json: Json = False,
) -> None:
    """Show a document with its history, or say why documents were dropped.

    Examples:

        tilth corpus show my-run --dropped --limit 3

        tilth corpus show my-run letters/0017.txt --why

        tilth corpus show my-run --near "has words" --limit 3
    """
    from tilth.build.run import open_corpus
    from tilth.cli.output import emit, info
    from tilth.corpus.near_threshold import near_threshold

    corpus = open_corpus(folder)
    if near:
        found = near_threshold(corpus, near, limit)
        if not emit({"near": [vars(entry) for entry in found]}, json):
            for entry in found:
                met = "meets" if entry.met else "fails"
                info(f"{entry.source}#{entry.position} {met} {near}: {entry.value:g}")
        return
    if not document:
        listed = corpus.dropped() if dropped else corpus.outcomes()
        if not emit({"count": len(listed), "documents": [vars(d) for d in listed[:limit]]}, json):
            for decision in listed[:limit]:
                info(str(decision))
            if len(listed) > limit:
                info(f"... and {len(listed) - limit:,} more (--limit)")
        return
    decisions = corpus.why(document)
    if why or not any(decision.id for decision in decisions):
        if not emit({"decisions": [vars(d) for d in decisions]}, json):
            for decision in decisions:
                info(str(decision))
        return
    exact = next((d for d in decisions if d.id.startswith(document)), None)
    found = corpus.get((exact or next(d for d in decisions if d.id)).id)
    row = found.to_row()
    if emit({"document": row, "decisions": [vars(d) for d in decisions]}, json):
        return
    for key in ("id", "source", "position", "format", "group", "metadata", "origin", "made_by"):
        info(f"{key}: {row[key]}")
    for decision in decisions[:limit]:
        info(str(decision))
    info()
    info(found.text)


@command.command()
def export(
    folder: Folder,
    output: Annotated[str, typer.Argument(help="A file (jsonl, parquet) or folder (spgc).")],
    format: Annotated[str, typer.Option(help="jsonl, parquet or spgc.")] = "jsonl",
    split: Annotated[str, typer.Option(help="Only train or test.")] = "",
    dropped: Annotated[bool, typer.Option("--dropped", help="Dropped ones instead.")] = False,
    json: Json = False,
) -> None:
    """Write kept documents out: JSON lines, Parquet, or text, tokens and counts (SPGC).

    Examples:

        tilth corpus export my-run kept.jsonl

        tilth corpus export my-run levels --format spgc
    """
    from tilth.build.run import open_corpus
    from tilth.cli.output import emit, info
    from tilth.corpus.export import export as write

    corpus = open_corpus(folder)
    # A corpus without a rule has only kept documents.
    kept = not dropped if dropped or corpus.decisions() is not None else None
    count = write(corpus, output, format=format, split=split or None, kept=kept)
    if not emit({"documents": count, "output": output}, json):
        info(f"{count:,} documents written to {output}")
