"""`tilth evaluate`: bits per byte of texts, a tuned model on its task, membership in training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="How well a model predicts texts or does its task; was a text in its training data.",
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
    compared with). All texts are cut to the same number of words; shorter ones are left out, and
    so are those that still have more tokens than the context.

    With --others each text gets a p-value: how rare its score is among texts that were not seen;
    and each score its AUC, beside that of a bag of words that never asks the model.

    Examples:

        tilth evaluate membership my-model my-texts --others my-newer-texts
    """
    from tilth.build.own_documents import first_words, fitting_texts
    from tilth.cli.output import emit, info, table
    from tilth.evaluation import membership as found
    from tilth.models.folder import load_model, load_tokenizer
    from tilth.store.manifest import read_manifest

    names, asked, short = first_words(texts, words)
    strange, unseen, more = first_words(others, words) if others else ([], [], 0)
    second: dict[str, Any] = {}
    if reference:
        second["reference"] = load_model(reference)
        second["reference_tokenizer"] = load_tokenizer(reference)
    front = read_manifest(model) is not None if begin is None else begin
    asker, tokenizer = load_model(model), load_tokenizer(model)
    pairs = [(asker, tokenizer), *([tuple(second.values())] if second else [])]
    names, asked, long = fitting_texts(names, asked, pairs, front, texts)
    if others:
        strange, unseen, longer = fitting_texts(strange, unseen, pairs, front, others)
        long += longer
    scores = found.membership_scores(
        asker, tokenizer, asked + unseen, share=share, begin=front, **second
    )
    count = len(asked)
    value: dict[str, Any] = {"texts": count, "others": len(unseen), "left_out": short + more,
                             "too_long": long, "begin": front}  # fmt: skip
    judged: list[dict[str, Any]] = [{"text": name} for name in names]
    for place, row in enumerate(judged):
        row |= {name: float(some[place]) for name, some in scores.items()}
    if unseen:
        values = scores["min-k"].tolist()
        rare = found.p_values(values[:count], values[count:])
        for row, one in zip(judged, rare):
            row["p"] = float(one)
        value["scores"] = {name: one._asdict() for name, one in found.areas(scores, count).items()}
        if min(count, len(unseen)) >= 5:
            value["blind_auc"] = found.blind_area(asked, unseen)
    if emit({**value, "judged": judged}, json):
        return
    info(f"{count:,} texts, {len(unseen):,} others; {short + more:,} have fewer than {words} words")
    if long:
        info(f"left out, with more tokens than the context takes: {len(long):,}, such as "
             + ", ".join(long[:3]))  # fmt: skip
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
def bits(
    model: Annotated[str, typer.Argument(help="A folder of a causal model, or a run folder.")],
    texts: Annotated[
        list[str],
        typer.Argument(help="Files, folders, JSONL, a run or corpus folder, or a named set."),
    ],
    run: Annotated[
        str, typer.Option(help="Beside the n-gram model of this run; else of MODEL, if a run.")
    ] = "",
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only held-out documents; TEXTS are runs.")
    ] = False,
    column: Annotated[str, typer.Option(help="The column of the text, in tables.")] = "",
    window: Annotated[
        int, typer.Option(min=0, help="Tokens seen at once; 0: the context, at most 2048.")
    ] = 0,
    json: Json = False,
) -> None:
    """Say how well a model predicts texts: bits per byte, lower is better, and comparable between
    models with other tokenizers.

    No text is cut: those longer than the window are counted, and read in windows that overlap by
    half. The end of each text counts too.

    Examples:

        tilth evaluate bits my-model my-texts

        tilth evaluate bits my-model letters.jsonl --run my-run --json

        tilth evaluate bits my-run my-run --held-out
    """
    from tilth.build.own_documents import documents
    from tilth.cli.output import ProgressLines, emit, info, table
    from tilth.evaluation.own_texts import text_bits
    from tilth.serving.opening import model_folder

    rows, unread = documents(texts, text_column=column, held_out=held_out)
    folder = model_folder(model)
    beside = run or (model if (Path(model) / "ngram").is_dir() else None)
    lines = ProgressLines(quiet=json)
    value = text_bits(folder, rows, run=beside, window=window, progress=lines)
    lines.close()
    if emit({**value, "unread": unread}, json):
        return
    info(f"{value['documents']:,} texts, {value['bytes']:,} bytes, {value['tokens']:,} tokens; "
         f"{value['left_out']:,} without text, {len(unread):,} not read")  # fmt: skip
    for one in unread[:5]:
        info(f"not read: {one['source']}: {one['detail'] or one['reason']}")
    info(
        f"{value['longer_than_window']:,} ({value['share_longer']:.0%}) are longer than the "
        f"window of {value['window']:,} tokens, and were read in several; none was cut"
    )
    info(f"bits per byte: {value['bits_per_byte']:.4f}")
    if "ngram" in value:
        info(f"n-gram model:  {value['ngram']:.4f}; the model is better on "
             f"{value['better_than_ngram']:.0%} of the texts")  # fmt: skip
    each = sorted(value["per_document"], key=lambda row: -row["bits_per_byte"])
    columns = ["document", "bits_per_byte", *(["ngram"] if "ngram" in value else []), "bytes"]
    table(f"Hardest (of {len(each):,}; all with --json)", columns,
          [[_cell(row[column]) for column in columns] for row in each[:SHOWN]])  # fmt: skip


@command.command()
def task(
    model: Annotated[str, typer.Argument(help="A folder that was tuned on a task.")],
    data: Annotated[str, typer.Argument(help="Labelled data: a path, or a name of `tilth data`.")],
    split: Annotated[str, typer.Option(help="The split to use, where the data have some.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="data.COLUMN=NAME of your data.")
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=1, help="The most of one answer, of a model tuned to answer.")
    ] = 256,
    json: Json = False,
) -> None:
    """Measure a tuned model on labelled data of its kind.

    A model tuned on conversations is asked for the last answer of each, greedily: exact match is
    the share of answers that are letter by letter what the data hold. Its rows are the test split,
    else those that its tuning held out of the same data, else all.

    Examples:

        tilth evaluate task my-tuned-model my-test.jsonl --set data.label=class

        tilth evaluate task my-assistant my-questions.jsonl --tokens 20
    """
    from tilth.build.change_model import ADAPTER
    from tilth.cli.output import emit, info
    from tilth.data.sets import open_data
    from tilth.errors import DataError, UsageError
    from tilth.evaluation.given import parse_settings
    from tilth.evaluation.tasks import TASK_FILE, TaskModel, evaluate

    options, columns = parse_settings(settings or [])
    if options:
        raise UsageError(f"there is no setting {next(iter(options))!r}", hint="data.COLUMN=NAME")
    if (Path(model) / ADAPTER).is_file():
        raise DataError("is an adapter, not a whole model", where=model,
                        hint="tilth merge ADAPTER --base BASE -o WHOLE")  # fmt: skip
    if not (Path(model) / TASK_FILE).is_file() and _answers(model):
        _assistant(model, data, columns, split, tokens, json)
        return
    if tokens != 256:
        raise UsageError("--tokens is for models that were tuned to answer")
    tuned = TaskModel.load(model)
    opened: Any = open_data(data, tuned.kind, columns)
    opened = opened.split(split) if split else opened
    result = evaluate(tuned, opened)
    value = {"rows": opened.table.num_rows, "left_out": len(opened.problems), **result.metrics}
    if emit(value, json):
        return
    for name, one in value.items():
        info(f"{name}: {_cell(one)}")


def _answers(model: str) -> bool:
    """Whether a folder without a task is one of a causal model."""
    from tilth.build.change_model import kind_of
    from tilth.serving.opening import model_folder

    return kind_of(model_folder(model)) == "causal"


def _assistant(
    model: str, data: str, columns: dict[str, str], split: str, tokens: int, json: bool
) -> None:
    """Exact match of a causal model; its rows are conversations."""
    from tilth.build.tuned_rows import rows_to_measure
    from tilth.cli.output import ProgressLines, emit, info, table
    from tilth.data.sets import open_data
    from tilth.evaluation.generated import evaluate_generated
    from tilth.serving.opening import model_folder

    folder = model_folder(model)
    opened: Any = open_data(data, "generate", columns)
    rows, which = rows_to_measure(folder, opened, split)
    lines = ProgressLines(quiet=json)
    found = evaluate_generated(folder, rows, tokens=tokens, progress=lines)
    lines.close()
    listed = [*opened.problems, *found.problems]
    value = {"rows": len(found.answers), "of": which, "left_out": len(listed), **found.metrics}
    problems = [{"source": p.source, "position": p.position, "reason": p.reason,
                 "detail": p.detail} for p in listed]  # fmt: skip
    if emit({**value, "answers": found.answers, "problems": problems}, json):
        return
    for name, one in value.items():
        info(f"{name}: {_cell(one)}")
    for one in problems[:5]:
        info(f"left out: {one['source']} {one['position']}: {one['detail'] or one['reason']}")
    wrong = [row for row in found.answers if not row["right"]]
    if wrong:
        table(f"Wrong (of {len(wrong):,}; all with --json)", ["row", "expected", "answer"],
              [[row["id"], *(_short(row[name]) for name in ("expected", "answer"))]
               for row in wrong[:SHOWN]])  # fmt: skip


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
