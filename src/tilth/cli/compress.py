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

        tilth compress truncate my-model -o smaller --layers 2 --keep spread
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

    _show(change("sparsify", model, output, level=level, by=by, seed=seed), output, json)


def _show(made: dict[str, Any], output: str, json: bool) -> None:
    from tilth.cli.output import emit, info

    if emit({**made, "model": output}, json):
        return
    counts = made["parameters"]
    info(f"{counts['before']:,} -> {counts['after']:,} parameters, {made['not_zero']:,} not zero")
    if made["logit_difference"] is not None:
        info(f"logits of random tokens differ by {made['logit_difference']:.3g} of the largest")
    info(f"model: {output}")
