"""`tilth tune`: a model for a task of your own."""

from __future__ import annotations

from typing import Annotated

import typer


def tune(
    base: Annotated[str, typer.Argument(help="A Hugging Face folder.")],
    task: Annotated[
        str, typer.Argument(help="Labelled data: CSV, JSONL, Parquet, CoNLL, or a named set.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="The folder of the model.")],
    kind: Annotated[
        str, typer.Option(help="classify, pair, tag, choose, generate, ...; by columns.")
    ] = "",
    lora: Annotated[
        bool, typer.Option("--lora", help="Train a small adapter (PEFT's form), not all.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the new head, order and dropout.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value, data.COLUMN=NAME; docs/train.md lists them."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would take, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tune a model on labelled data or on conversations; measured on what is held out.

    The kind of task is told by the columns: text, label; text, other, label; tokens, tags; text,
    choices, answer; messages; prompt, answer; ... Killed at any time, the same command goes on.

    Examples:

        tilth tune my-model reviews.csv -o rated

        tilth tune my-model reviews.csv -o rated-5 --set data.text=body --set epochs=5

        tilth tune my-model chats.jsonl -o assistant --lora
    """
    from tilth.build.tune_model import tune_model
    from tilth.cli.output import ProgressLines, emit, info

    lines = ProgressLines(quiet=quiet or json)

    def say(line: str) -> None:
        lines.close()
        if not json:
            info(line)

    made = tune_model(
        base, task, output, kind=kind, lora=lora, seed=seed, settings=settings or (),
        plan_only=plan, progress=lines, say=say,
    )  # fmt: skip
    lines.close()
    if emit(made if plan else {**made, "model": output}, json) or plan:
        return
    info(f"{'adapter' if lora else 'model'}: {output}")
    if lora:
        info(f"whole model: tilth merge {output} --base {base} -o NEW-FOLDER")
    elif made["request"]["kind"] == "generate":
        info(f'try:   tilth generate {output} "a question" --chat')


command = tune
