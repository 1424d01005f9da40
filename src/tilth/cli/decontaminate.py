"""`tilth decontaminate`: test items that are in training data in the same or in other words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

SHOWN = 20


def decontaminate(
    test: Annotated[str, typer.Argument(help="Test items: a file, a folder or a named set.")],
    training: Annotated[str, typer.Argument(help="Training items, likewise.")],
    kind: Annotated[
        str, typer.Option(help="maths (word problems), code (Python), knowledge (questions).")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many candidates for each item.")] = 5,
    test_column: Annotated[
        list[str] | None,
        typer.Option(help="A column of the test items; several are joined. Without: every text."),
    ] = None,
    training_column: Annotated[
        list[str] | None, typer.Option(help="A column of the training items, likewise.")
    ] = None,
    judge_url: Annotated[
        str, typer.Option(help="Ask a model at this OpenAI-compatible address, in place of rules.")
    ] = "",
    judge_model: Annotated[str, typer.Option(help="The model's name there.")] = "",
    judge_key: Annotated[
        str, typer.Option(help="Name of the environment variable that holds its key.")
    ] = "",
    output: Annotated[str, typer.Option("--out", help="Write all pairs to this JSON file.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find test items that training data hold in the same or in other words.

    The nearest training items of each test item are judged yes, no or unknown: by rules, or by a
    model. Python code is run in a sandbox to compare what it does; that needs bubblewrap.

    Examples:

        tilth decontaminate test.jsonl train.jsonl --kind maths --test-column question
        --training-column text

        tilth decontaminate contamination_rephrased/HumanEval.jsonl.gz
        contamination_rephrased/humaneval_python.jsonl.gz --kind code --out found.json

        tilth decontaminate test.csv train.csv --kind knowledge --judge-url
        http://127.0.0.1:8000/v1 --judge-model my-model
    """
    from tilth.cli.output import ProgressLines, emit, info, table
    from tilth.errors import UsageError
    from tilth.evaluation.rephrased import find_rephrasings
    from tilth.store.write import write_json

    if bool(judge_url) != bool(judge_model):
        raise UsageError("a judge needs both its address and its model", where="--judge-url")
    judge: Any = _endpoint(judge_url, judge_model, judge_key) if judge_url else "rules"
    lines = ProgressLines(quiet=quiet)
    tests, trainings = (
        read_items(test, test_column or ()),
        read_items(training, training_column or ()),
    )
    found = find_rephrasings(tests, trainings, k, kind=kind, judge=judge, progress=lines)
    lines.close()
    if output:
        write_json(output, found.to_json())
    if emit(found.to_json(), json):
        return
    for line in found.lines():
        info(line)
    rows = [
        [pair.test, pair.training, f"{pair.similarity:.2f}", pair.reason,
         " ".join(tests[pair.test].split())[:60]]
        for pair in found.with_verdict("yes")[:SHOWN]
    ]  # fmt: skip
    if rows:
        table("Found", ["test item", "training item", "similarity", "why", "begins"], rows)
    if output:
        info(f"all pairs: {output}")


def read_items(given: str, columns: Sequence[str]) -> list[str]:
    """One text a row: the columns joined by line breaks, or every text on its own."""
    from tilth.errors import DataError
    from tilth.signals.evaluation_sets import read_joined, read_texts

    items = list(read_joined(given, columns) if columns else read_texts(given))
    if not items:
        raise DataError("holds no text", where=given)
    return items


def _endpoint(url: str, model: str, key: str) -> Any:
    from tilth.serving.endpoint import Endpoint
    from tilth.serving.requests import Cached, RequestCache
    from tilth.store.cache import cache_folder

    endpoint = Endpoint(url, model, key=key)
    return Cached(endpoint, RequestCache(cache_folder() / "requests.sqlite"))


command = decontaminate
