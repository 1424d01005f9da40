"""`tilth edit`: a model made from a model by surgery, its promise checked."""

from __future__ import annotations

from typing import Annotated

import typer


def edit(
    surgery: Annotated[str, typer.Argument(help="What to do; see above.")],
    model: Annotated[str, typer.Argument(help="A Hugging Face folder, or a run folder.")],
    output: Annotated[str, typer.Option("-o", "--output", help="A new folder.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value, as listed above; docs/edit.md explains them."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Change the size, vocabulary, context or weights of a model; nothing is trained.

    \b
    widen         width, heads, kv_heads, ffn, method, head, balanced, seed
    deepen        layers, method (stack, interleave, identity)
    truncate      layers (2, or 0,2,4), keep (bottom, top, spread)
    reinitialise  layers, pooler, seed
    vocabulary    tokenizer, method (pieces, mean, random, contextual), texts,
                  layer, most, head, renormalise, seed
    positions     length, method (copy, interpolate, random), seed
    rope-base     base
    window        size
    sparsify      level, by (magnitude, random), rescale, seed

    Each surgery promises what is equal before and after. The promise is checked on the result and
    printed; where it does not hold nothing is written.

    Examples:

        tilth edit deepen my-model -o deep --set layers=4 --set method=identity

        tilth edit widen my-model -o wider --set width=64

        tilth edit truncate my-model -o smaller --set layers=0,1

        tilth edit vocabulary my-model -o new --set tokenizer=other-model

        tilth edit positions my-model -o longer --set length=512

        tilth edit sparsify my-model -o sparse --set level=0.5 --json
    """
    from tilth.build.edit_model import edit as edit_model
    from tilth.cli.output import emit, info

    def say(line: str) -> None:
        if not json:
            info(line)

    made = edit_model(surgery, model, output, settings or (), say=say)
    if emit({**made, "model": output}, json):
        return
    counts = made["parameters"]
    zero = counts["after"] - made["not_zero"]
    info(f"{surgery}: {counts['before']:,} -> {counts['after']:,} parameters"
         + (f", {zero:,} of them 0" if surgery == "sparsify" else ""))  # fmt: skip
    if surgery == "vocabulary":
        seen = made.get("new_tokens_in_texts")
        info(f"tokens: {made['shared_tokens']:,} shared, {made['new_tokens']:,} new"
             + ("" if seen is None else f", {seen:,} of these in the texts"))  # fmt: skip
    info(f"promise: {made['promise']}")
    for line in made["checked"]:
        info(f"checked: {line}")
    info(f"model: {output}")


command = edit
