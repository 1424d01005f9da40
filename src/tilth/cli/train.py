"""`tilth train`: a language model from texts, from scratch or continued."""

from __future__ import annotations

from typing import Annotated

import typer


def train(
    documents: Annotated[
        list[str],
        typer.Argument(help="Files, folders, JSONL, a run or corpus folder, or a named set."),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="The folder of the model.")],
    base: Annotated[
        str, typer.Option(help="Go on from this Hugging Face folder; keeps its tokenizer.")
    ] = "",
    size: Annotated[
        str, typer.Option(help="About how many parameters, from scratch; else 0.5m.")
    ] = "",
    tokens: Annotated[str, typer.Option(help="The budget, such as 2m; 0: by size and data.")] = "0",
    objective: Annotated[
        str, typer.Option(help="causal or masked; else that of the base, else causal.")
    ] = "",
    old: Annotated[
        list[str] | None,
        typer.Option(help="Held-out text of the base's domain: says what was forgotten."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and draws.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value; docs/train.md lists them.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would take, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a language model on texts, or go on training one that is there.

    Size, tokens, steps, minutes and memory are said first. Killed at any time, the same command
    goes on. The folder loads in transformers; curve.svg, drawn anew while it trains, and
    training.json lie in it.

    Examples:

        tilth train letters.jsonl -o letters-model --size 0.5m

        tilth train my-run -o my-model --tokens 2m --plan

        tilth train new.jsonl -o adapted --base my-model --old old.jsonl

        tilth train new.jsonl -o kept --base my-model --set replay=0.05 --set old=old.jsonl
    """
    from tilth.build.train_model import train_model
    from tilth.cli.output import ProgressLines, emit, info
    from tilth.models.decoder import parse_size

    lines = ProgressLines(quiet=quiet or json)

    def say(line: str) -> None:
        lines.close()
        if not json:
            info(line)

    made = train_model(
        documents, output, base=base or None, size=size,
        tokens=0 if tokens == "0" else parse_size(tokens), objective=objective, old=old or (),
        seed=seed, settings=settings or (), plan_only=plan, progress=lines, say=say,
    )  # fmt: skip
    lines.close()
    if emit(made if plan else {**made, "model": output}, json) or plan:
        return
    for problem in made["unread"][:5]:
        info(f"not read: {problem['source']}: {problem['reason']}")
    info(f"model: {output}")
    if made["request"]["objective"] == "causal":
        info(f'try:   tilth generate {output} "the beginning of a text"')


command = train
