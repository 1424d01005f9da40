"""`tilth generate`: continue a prompt."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

TEMPERATURE = 0.8


def generate(
    run: Annotated[str, typer.Argument(help="A run folder, or the folder of a model.")],
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to add.")] = 64,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="0 takes the most likely token, more one of the 50 likeliest; 0.8 where not said.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; 0 where not said.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="The prompt is a question, asked as it was tuned.")
    ] = False,
    draft: Annotated[
        str | None, typer.Option(help="A small model that drafts: the same texts, maybe sooner.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="With --draft: turns, or pearl (at once, two processes).")
    ] = None,
    drafts: Annotated[
        int, typer.Option(min=1, help="So many short guesses from one stream (superposed).")
    ] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="With --chat: what its template reads, enable_thinking=false."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Continue a prompt with the model of a run, or of a Hugging Face folder.

    Examples:

        tilth generate my-run "The function returns"

        tilth generate my-model "Raises" --tokens 20 --temperature 0

        tilth generate my-assistant "What is a lease?" --chat

        tilth generate my-model "def add(" --temperature 0 --draft my-small-model

        tilth generate my-model "The function" --tokens 8 --drafts 3
    """
    from pathlib import Path

    from tilth.build.run import TOP_K, Run
    from tilth.cli.output import emit, info
    from tilth.errors import UsageError
    from tilth.serving.engine import Engine
    from tilth.serving.opening import refuse_other
    from tilth.serving.strategies import advice, open_engine

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    told = _settings(settings or ())
    if told and not chat:
        raise UsageError("--set is read by the chat template: with --chat")
    if drafts > 1 and draft:
        raise UsageError("--drafts has no draft model")
    for option, given in (("--temperature", temperature), ("--seed", seed)):
        if drafts > 1 and given is not None:
            raise UsageError(f"{option} has no effect with --drafts: its guesses are not drawn")
    sampling = {
        "temperature": TEMPERATURE if temperature is None else temperature, "seed": seed or 0,
        "top_k": TOP_K,
    }  # fmt: skip
    if strategy and not draft:
        raise UsageError("--strategy needs --draft")
    asked: str | list[int] = prompt
    if chat and (Path(run) / "config.json").is_file():
        from tilth.tokens.chat import Chat

        question = [{"role": "user", "content": prompt}]
        asked = Chat.load(run).render(question, answer=True, settings=told).ids.tolist()
    if draft:
        engine = open_engine(run, draft=draft, strategy=strategy or "", say=say, sequences=1)
    elif (Path(run) / "config.json").is_file():
        engine = Engine(run, sequences=1)
    elif not (Path(run) / "plan.resolved.toml").is_file():
        refuse_other(run)
    elif chat:
        raise UsageError("the model of a run is not tuned to answer", hint="tilth tune")
    else:
        engine = Run(run).engine
    for line in (engine.note, advice(engine)):
        if line:
            say(line)
    if drafts > 1:
        texts = _superposed(engine, asked, tokens, drafts)
        if not emit({"prompt": prompt, "texts": texts}, json):
            info("\n".join(texts))
        return
    text = engine.generate([asked], tokens, **sampling)[0]
    if not emit({"prompt": prompt, "text": text}, json):
        info(text if chat else prompt + text)


def _settings(given: Sequence[str]) -> dict[str, str | float | bool]:
    """name=value each: true, false, a number, or else a text."""
    from tilth.build.plan import value_of
    from tilth.errors import UsageError

    found: dict[str, str | float | bool] = {}
    for one in given:
        name, sign, text = one.partition("=")
        if not sign or name in found:
            raise UsageError(f"{name} is set twice" if sign else f"{one!r} is no name=value",
                             where="--set")  # fmt: skip
        value = value_of(text)
        found[name] = value if isinstance(value, (int, float)) else text
    return found


def _superposed(engine: Any, asked: str | list[int], tokens: int, drafts: int) -> list[str]:
    """The drafts' texts, the best first. They are guesses, and nothing of them is drawn."""
    from tilth.serving.strategies.superposed import superpose

    ids = engine.encode(asked) if isinstance(asked, str) else asked
    engine.check(len(ids), tokens)
    found = superpose(
        engine.runner, engine.cache, ids, tokens=tokens, drafts=drafts, ends=engine.ends
    )
    return [engine.tokenizer.decode(one.ids) for one in found]


command = generate
