"""`tilth evaluate`: was a text in a model's training data; how well a tuned model does a task."""

from __future__ import annotations

from typing import Annotated, Any

import typer

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Was a text in a model's training data; how well a tuned model does its task.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Model = Annotated[str, typer.Argument(help="A Hugging Face folder.")]
SHOWN = 20


@command.command()
def membership(
    model: Model,
    texts: Annotated[str, typer.Argument(help="Texts to judge: a file or folder, or a name.")],
    others: Annotated[
        str, typer.Option(help="Texts of the same kind that the model cannot have seen.")
    ] = "",
    reference: Annotated[
        str, typer.Option(help="A second model, to compare with: a Hugging Face folder.")
    ] = "",
    words: Annotated[int, typer.Option(help="Words that every text is cut to.")] = 32,
    share: Annotated[float, typer.Option(help="Share of the tokens that Min-K% looks at.")] = 0.2,
    begin: Annotated[
        bool | None,
        typer.Option(
            "--begin/--no-begin",
            help="The end token in front of a text, as in a training by tilth; else as the folder "
            "says: yes where tilth wrote it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Say how likely it is that a model was trained on texts (Min-K% Prob and what it is
    compared with). All texts are cut to the same number of words, shorter ones are left out.

    With --others each text gets a p-value: how rare its score is among texts that were not seen;
    and each score its AUC, beside that of a bag of words that never asks the model.

    Examples:

        tilth evaluate membership my-model my-texts --others my-newer-texts
    """
    from tilth.cli.output import emit, info, table
    from tilth.evaluation import membership as found
    from tilth.models.folder import load_model, load_tokenizer
    from tilth.store.manifest import read_manifest

    names, asked, short = _texts(texts, words)
    _, unseen, more = _texts(others, words) if others else ([], [], 0)
    second: dict[str, Any] = {}
    if reference:
        second["reference"] = load_model(reference)
        second["reference_tokenizer"] = load_tokenizer(reference)
    front = read_manifest(model) is not None if begin is None else begin
    scores = found.membership_scores(
        load_model(model), load_tokenizer(model), asked + unseen, share=share, begin=front, **second
    )
    count = len(asked)
    value: dict[str, Any] = {"texts": count, "others": len(unseen), "left_out": short + more,
                             "begin": front}  # fmt: skip
    judged = [{"text": name} for name in names]
    for place, row in enumerate(judged):
        row |= {name: float(some[place]) for name, some in scores.items()}
    if unseen:
        rare = found.p_values(scores["min-k"][:count], scores["min-k"][count:])
        for row, one in zip(judged, rare):
            row["p"] = float(one)
        value["scores"] = {name: one._asdict() for name, one in found.areas(scores, count).items()}
        if min(count, len(unseen)) >= 5:
            value["blind_auc"] = found.blind_area(asked, unseen)
    if emit({**value, "judged": judged}, json):
        return
    info(f"{count:,} texts, {len(unseen):,} others; {short + more:,} have fewer than {words} words")
    if unseen:
        table("How well each score tells them apart", ["score", "AUC", "found at 5 % false"],
              [[name, f"{one['auc']:.3f}", f"{one['tpr']:.3f}"]
               for name, one in value["scores"].items()])  # fmt: skip
        if "blind_auc" in value:
            info(f"a bag of words that never asks the model: AUC {value['blind_auc']:.3f}")
            if abs(value["blind_auc"] - 0.5) > 0.1:
                info("the two sides differ in kind, so the AUC above says little of membership")
    judged.sort(key=lambda row: -row["min-k"])
    columns = ["text", "min-k", *(["p"] if unseen else [])]
    shown = [[_cell(row[column]) for column in columns] for row in judged[:SHOWN]]
    table(f"Most likely seen (of {count:,}; all with --json)", columns, shown)


@command.command()
def task(
    model: Annotated[str, typer.Argument(help="A folder that was tuned on a task.")],
    data: Annotated[str, typer.Argument(help="Labelled data: a path, or a name of `tilth data`.")],
    split: Annotated[str, typer.Option(help="The split to use, where the data have some.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="data.COLUMN=NAME of your data.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure a tuned model on labelled data of its kind.

    Examples:

        tilth evaluate task my-tuned-model my-test.jsonl --set data.label=class
    """
    from tilth.cli.output import emit, info
    from tilth.data.sets import open_data
    from tilth.errors import UsageError
    from tilth.evaluation.given import parse_settings
    from tilth.evaluation.tasks import TaskModel, evaluate

    options, columns = parse_settings(settings or [])
    if options:
        raise UsageError(f"there is no setting {next(iter(options))!r}", hint="data.COLUMN=NAME")
    tuned = TaskModel.load(model)
    opened: Any = open_data(data, tuned.kind, columns)
    opened = opened.split(split) if split else opened
    result = evaluate(tuned, opened)
    value = {"rows": opened.table.num_rows, "left_out": len(opened.problems), **result.metrics}
    if emit(value, json):
        return
    for name, one in value.items():
        info(f"{name}: {_cell(one)}")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"


def _texts(given: str, words: int) -> tuple[list[str], list[str], int]:
    """(names, the first `words` words of each document, how many were too short)."""
    import re
    from itertools import islice

    from tilth.data.sets import open_data
    from tilth.errors import DataError, UsageError

    if words < 2:
        raise UsageError(f"texts of {words} words say nothing")
    names, kept, short = [], [], 0
    for document in open_data(given, "corpus").documents():
        ends = [one.end() for one in islice(re.finditer(r"\S+", document.text), words)]
        if len(ends) < words:
            short += 1
            continue
        names.append(f"{document.source} {document.position}")
        kept.append(document.text[: ends[-1]].lstrip())
    if not kept:
        raise DataError(f"no text has {words} words", where=given, hint="a smaller --words")
    return names, kept, short
