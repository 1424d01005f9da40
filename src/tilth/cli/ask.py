"""`tilth ask`: an answer from the documents of a run, with the places where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tilth.apps.answers import Answer, Passage
    from tilth.apps.passages import Words

WIDTH = 240  # characters of a passage that are shown


def ask(
    run: Annotated[str, typer.Argument(help="A run folder that `tilth build` made.")],
    question: Annotated[str, typer.Argument(help="The question, in your own words.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many documents to look up.")] = 5,
    retriever: Annotated[
        str, typer.Option(help="lexical, dense or fused; else what the run's report advises.")
    ] = "",
    llm: Annotated[
        str,
        typer.Option(
            help="A model that writes: an OpenAI-compatible address, a model's folder, "
            "or recorded answers (FILE.jsonl)."
        ),
    ] = "",
    llm_model: Annotated[str, typer.Option(help="The model's name at that address.")] = "",
    llm_key: Annotated[
        str, typer.Option(help="Name of the environment variable that holds its key.")
    ] = "",
    tokens: Annotated[int, typer.Option(min=1, help="Of a written answer, at most.")] = 512,
    context: Annotated[
        int, typer.Option(min=0, help="Tokens of the model's context; 4,096 where none knows.")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask a run a question; every sentence of the answer names the passage it stands in.

    Without --llm it quotes the sentences that answer best, word for word, offline. With it, a model
    writes from the passages that are found; what they do not bear out is marked. Texts go to the
    address that you name and nowhere else. Exit code 1: the model gave no answer, so it is quoted.

    Examples:

        tilth ask my-run "How much notice must a tenant give?"

        tilth ask my-run "Who pays for repairs?" -k 8 --retriever lexical --json

        tilth ask my-run "Who pays for repairs?" --llm my-assistant

        tilth ask my-run "Who pays?" --llm http://127.0.0.1:8000/v1 --llm-model my-assistant
    """
    from tilth.build.asking import open_asker
    from tilth.build.run import Run
    from tilth.cli.output import emit
    from tilth.errors import UsageError

    if (llm_model or llm_key or context) and not llm:
        raise UsageError("--llm-model, --llm-key and --context belong to --llm")
    opened = Run(run)
    generator = None
    if llm:
        from tilth.serving.llm import open_llm

        generator = open_llm(llm, model=llm_model, key=llm_key)
    asker = open_asker(
        opened, using=retriever, generator=generator, k=k, tokens=tokens, context=context
    )
    answer = asker.ask(question)
    if not emit(answer.to_json(), json):
        show(answer, asker.words)
    if answer.outcome != "ok":
        raise typer.Exit(1)


def show(answer: Answer, words: Words) -> None:
    """Print an answer for people: what is to be known of it, the answer, its passages."""
    from tilth.cli.output import info

    if not answer.found:
        info(answer.text)
        return
    if answer.note:
        info(answer.note)
        info()
    if answer.how == "quoted":
        for sentence in answer.sentences:
            info(f'"{_line(sentence.text)}" [{sentence.passages[0]}]')
    else:
        info(answer.text.strip())
        doubted = [one for one in answer.sentences if one.support in ("weak", "uncited")]
        if doubted and not answer.declined:
            info()
            info("Not borne out by the passages:")
        for sentence in doubted if not answer.declined else ():
            said = "cites nothing" if sentence.support == "uncited" else (
                f"{sentence.overlap:.0%} of its words stand there")  # fmt: skip
            info(f"   {_line(sentence.text)}  ({said})")
    info()
    info(f"Passages ({answer.using}):")
    for passage in answer.passages:
        _show(passage, answer, words)


def _show(passage: Passage, answer: Answer, words: Words) -> None:
    from dataclasses import replace

    from tilth.cli.output import info
    from tilth.retrieval.highlight import best_passage

    info(f"{passage.number}. {passage.source}  {passage.title}".rstrip())
    cited = [one for one in answer.citations if one.number == passage.number]
    places = ", ".join(f"{one.start:,}-{one.stop:,}" for one in cited)
    about = f"cited: characters {places}" if places else "not cited"
    if answer.how == "generated" and not passage.used:
        about = "left out: no room in the model's context"
    info(f"   {about}  id {passage.document}")
    weights = words.idf(words.analyzer.terms(answer.question))
    start, stop, matches = best_passage(
        passage.text, answer.question, words.analyzer, WIDTH, weights
    )
    shown = replace(
        passage, text=passage.text[start:stop],
        matches=tuple((a - start, b - start) for a, b in matches),
    )  # fmt: skip
    info("   " + _line(shown.marked()))


def _line(text: str) -> str:
    return " ".join(text.split())


command = ask
