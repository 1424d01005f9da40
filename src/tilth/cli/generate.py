"""`tilth generate`: continue a prompt."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def generate(
    run: Annotated[str, typer.Argument(help="A run folder, or the folder of a model.")],
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to add.")] = 64,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the most likely token; 1 samples as trained.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.")] = 0,
    chat: Annotated[
        bool, typer.Option("--chat", help="The prompt is a question, asked as it was tuned.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Continue a prompt with the model of a run, or of a Hugging Face folder.

    Examples:

        tilth generate my-run "The function returns"

        tilth generate my-model "Raises" --tokens 20 --temperature 0

        tilth generate my-assistant "What is a lease?" --chat
    """
    from pathlib import Path

    from tilth.build.run import TOP_K, Run
    from tilth.cli.output import emit, info
    from tilth.errors import UsageError
    from tilth.serving.engine import Engine

    settings = {"temperature": temperature, "seed": seed, "top_k": TOP_K}
    if (Path(run) / "config.json").is_file():
        engine = Engine(run, sequences=1)
    elif chat:
        raise UsageError("the model of a run is not tuned to answer", hint="tilth tune")
    else:
        engine = Run(run).engine
    if engine.note:
        print(engine.note, file=sys.stderr)
    asked: str | list[int] = prompt
    if chat:
        from tilth.tokens.chat import Chat

        question = [{"role": "user", "content": prompt}]
        asked = Chat.load(run).render(question, answer=True).ids.tolist()
    text = engine.generate([asked], tokens, **settings)[0]
    if not emit({"prompt": prompt, "text": text}, json):
        info(text if chat else prompt + text)


command = generate
