"""`tilth compress`: a smaller model from a larger one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A smaller model from a larger one: leave out layers, zero weights, distil.",
)

Model = Annotated[str, typer.Argument(help="A Hugging Face folder.")]
Output = Annotated[str, typer.Option("-o", "--output", help="A new folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@command.command()
def truncate(
    model: Model,
    output: Output,
    layers: Annotated[int, typer.Option(min=1, help="How many layers stay.")],
    keep: Annotated[str, typer.Option(help="Which: bottom, top or spread.")] = "bottom",
    json: Json = False,
) -> None:
    """Leave out layers; every tensor that stays is bit-equal. Train or distil afterwards.

    Examples:

        tilth compress truncate my-model -o smaller --layers 2

        tilth compress truncate my-model -o spread --layers 2 --keep spread
    """
    from tilth.build.change_model import change

    _show(change("truncate", model, output, layers=layers, keep=keep), output, json)


@command.command()
def sparse(
    model: Model,
    output: Output,
    level: Annotated[float, typer.Option(help="Share of each matrix that becomes 0.")] = 0.5,
    by: Annotated[str, typer.Option(help="Which stay: magnitude or random.")] = "magnitude",
    seed: Annotated[int, typer.Option(help="Of random masks.")] = 0,
    json: Json = False,
) -> None:
    """Set a share of each layer's matrices to zero. Saves operations only where hardware skips
    zeros; this machine's speed stays.

    Examples:

        tilth compress sparse my-model -o sparse-model --level 0.75
    """
    from tilth.build.change_model import change
    from tilth.errors import UsageError

    if seed and by == "magnitude":
        raise UsageError("--seed has no effect by magnitude", hint="--by random")
    _show(change("sparsify", model, output, level=level, by=by, seed=seed), output, json)


@command.command()
def distil(
    teacher: Annotated[str, typer.Argument(help="A causal model, or a tuned classifier.")],
    documents: Annotated[list[str], typer.Argument(help="Texts; labels are not looked at.")],
    output: Output,
    student: Annotated[
        str, typer.Option(help="A smaller model with the teacher's tokenizer, to begin from.")
    ] = "",
    size: Annotated[str, typer.Option(help="Else: about how many parameters.")] = "",
    tokens: Annotated[str, typer.Option(help="The budget; of a causal teacher.")] = "0",
    seed: Annotated[int, typer.Option(help="Of weights, order and draws.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value; docs/train.md lists them.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Json = False,
) -> None:
    """Train a small model on what a large one says of texts.

    A causal teacher is learned from token by token. A tuned classifier is learned from text by
    text, without labels, by a student that was pre-trained (pre-trained distillation).

    Examples:

        tilth compress distil my-model my-texts -o student --size 0.3m

        tilth compress distil my-classifier texts.jsonl -o student --student small-encoder
    """
    from pathlib import Path

    from tilth.cli.output import ProgressLines, emit, info
    from tilth.errors import UsageError
    from tilth.models.decoder import parse_size

    lines = ProgressLines(quiet=quiet or json)

    def say(line: str) -> None:
        lines.close()
        if not json:
            info(line)

    if student and size:
        raise UsageError("--size is for a student from scratch", hint="--student or --size")
    if (Path(teacher) / "task.json").is_file():
        from tilth.build.distil_task import distil_task

        if not student or tokens != "0":
            raise UsageError(
                "a classifier is distilled into a pre-trained student, by epochs",
                hint="--student FOLDER, --set epochs=3",
            )
        made = distil_task(
            teacher, documents, output, student, seed=seed, settings=settings or (),
            progress=lines, say=say,
        )  # fmt: skip
    else:
        from tilth.build.train_model import train_model

        made = train_model(
            documents, output, base=student or None, teacher=teacher, size=size,
            tokens=0 if tokens == "0" else parse_size(tokens), seed=seed, settings=settings or (),
            progress=lines, say=say,
        )  # fmt: skip
    lines.close()
    if not emit({**made, "model": output}, json):
        info(f"model: {output}")


def _show(made: dict[str, Any], output: str, json: bool) -> None:
    from tilth.cli.output import emit, info

    if emit({**made, "model": output}, json):
        return
    counts = made["parameters"]
    info(f"{counts['before']:,} -> {counts['after']:,} parameters, {made['not_zero']:,} not zero")
    if made["logit_difference"] is not None:
        info(f"logits of random tokens differ by {made['logit_difference']:.3g} of the largest")
    info(f"model: {output}")
