"""`tilth merge`: several models into one, an adapter into its base."""

from __future__ import annotations

from typing import Annotated

import typer


def merge(
    models: Annotated[
        list[str], typer.Argument(help="Model folders of one architecture, or one adapter folder.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="A new folder.")],
    base: Annotated[str, typer.Option(help="What the models came from.")] = "",
    method: Annotated[
        str,
        typer.Option(help="task-arithmetic, ties or dare (with --base); linear; soup."),
    ] = "",
    weights: Annotated[str, typer.Option(help="One a model, such as 0.7,0.3; 1 each.")] = "",
    tokenizer: Annotated[
        str, typer.Option(help="Folder whose tokenizer and chat template go along.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="density=0.2 (ties, dare), scale=1.0 (ties), seed=0 (dare)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Merge models of one parent, tensor by tensor; sizes and vocabularies must be equal.

    Task arithmetic adds what each model learned to the base; an instruction vector is added to a
    model of your domain so. A soup is the plain average. Of a LoRA folder and its base one model
    is made that needs no adapter.

    Examples:

        tilth merge my-domain-model instructed-model --base general-model -o both

        tilth merge run-1 run-2 run-3 --method soup -o average

        tilth merge my-adapter --base general-model -o whole
    """
    from tilth.build.change_model import merge as merge_models
    from tilth.build.output import checked
    from tilth.cli.output import ProgressLines, emit, info

    lines = ProgressLines(quiet=quiet or json)
    made = merge_models(
        models, output, base=base, method=method, weights=weights, tokenizer=tokenizer,
        progress=lines, **checked({"density": 0.0, "scale": 1.0, "seed": 0}, settings or ()),
    )  # fmt: skip
    lines.close()
    if emit({**made, "model": output}, json):
        return
    if made["method"] == "lora":
        info(f"{made['modules']} matrices changed; logits differ by {made['logit_difference']:.2g}")
    else:
        info(f"{made['tensors']:,} tensors, {made['numbers']:,} numbers, {made['method']}")
        if made["cosine"] is not None:
            info(
                f"the first two models moved in directions of cosine {made['cosine']:.3f} (median)"
            )
    info(f"model: {output}")


command = merge
