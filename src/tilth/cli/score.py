"""`tilth corpus threshold|scorer`: choose where to cut a column; fit a scorer to a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus
    from tilth.signals.threshold import Threshold

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BARS, BINS = 40, 20


def threshold(
    folder: Annotated[str, typer.Argument(help="A corpus folder, or a run that holds one.")],
    column: Annotated[str, typer.Argument(help="A measured column of numbers.")],
    budget: Annotated[float, typer.Option(help="Keep the best up to so much of --unit.")] = 0.0,
    unit: Annotated[
        str, typer.Option(help="documents, tokens (of a built run), or a column: characters ...")
    ] = "documents",
    precision: Annotated[
        float, typer.Option(help="Keep as much as is good at least so often, as 0.9.")
    ] = 0.0,
    labels: Annotated[
        str, typer.Option(help="For --precision: a CSV or JSONL file with columns id, label.")
    ] = "",
    good: Annotated[str, typer.Option(help="The label of what should be kept.")] = "good",
    two_hills: Annotated[
        bool, typer.Option("--two-hills", help="Cut in the valley between two hills, if any.")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="Which side is good: high or low; as measured, if empty.")
    ] = "",
    json: Json = False,
) -> None:
    """Choose where to cut a column: by a budget, by a precision on labels, or between two hills.

    Nothing is decided: it prints the condition for a rule, what it keeps, and why.

    Examples:

        tilth corpus threshold my-run words --budget 100 --keep high

        tilth corpus threshold my-run alphabetic_share --two-hills
    """
    from tilth.build.run import open_corpus
    from tilth.cli.output import emit, info, table
    from tilth.errors import UsageError
    from tilth.signals import threshold as chooser

    if sum([budget > 0, precision > 0, two_hills]) != 1:
        raise UsageError("say one of --budget, --precision and --two-hills")
    if bool(labels) != (precision > 0):
        raise UsageError("--precision and --labels belong together")
    if unit != "documents" and not budget:
        raise UsageError("--unit belongs to --budget")
    if good != "good" and not labels:
        raise UsageError("--good belongs to --labels")
    corpus = open_corpus(folder)
    values = numbers(corpus, column)
    direction = side(corpus, column, keep)
    if two_hills:
        chosen = chooser.two_hills(values, direction=direction)
    elif budget > 0:
        weights = sizes(corpus, unit)
        chosen = chooser.for_budget(
            values, budget, sizes=weights, unit=unit, direction=direction
        )  # fmt: skip
    else:
        chosen = labelled(corpus, values, labels, good, precision, direction)
    found = {"column": column, **vars(chosen), "condition": chosen.condition(column)}
    bins = histogram(values, chosen)
    if emit({**found, "histogram": bins}, json):
        return
    most = max((row[2] for row in bins), default=1)
    rows = [
        [
            f"{low:.4g}",
            f"{high:.4g}",
            count,
            "kept" if kept else "",
            "#" * round(BARS * count / most),
        ]
        for low, high, count, kept in bins
    ]
    table("", ["from", "to", "documents", "", ""], rows)
    info(chosen.why)
    if chosen.threshold is None:
        return
    of = "" if unit == "documents" else f", {chosen.size:,.0f} of {chosen.total_size:,.0f} {unit}"
    info(f"keeps {chosen.kept:,} of {chosen.documents:,} documents{of}; "
         f"{chosen.unscored:,} have no value and are not kept")  # fmt: skip
    info(f"condition: {found['condition']}")
    info(f'apply it: tilth corpus select {folder} --where "{found["condition"]}"')


def scorer(
    name: Annotated[str, typer.Argument(help="ngram, linear or centroid.")],
    train: Annotated[str, typer.Argument(help="A file, a folder, or a name of `tilth data`.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The folder that is made.")],
    positive: Annotated[
        list[str] | None, typer.Option(help="A label of TRAIN that means the positive class.")
    ] = None,
    other: Annotated[str, typer.Option(help="Texts of the other class, without labels.")] = "",
    calibration: Annotated[str, typer.Option(help="platt or isotonic.")] = "platt",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="option=value of the scorer.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit a scorer on text and say how good it is on a fifth that it has not seen.

    Use it as a signal: [signals.score] with scorer = the folder, in a plan.

    Examples:

        tilth corpus scorer ngram my-documents -o my-scorer --set unit=characters
    """
    from tilth.cli.corpus_steps import _options
    from tilth.cli.output import emit, info
    from tilth.errors import UsageError
    from tilth.signals.scorers import trained
    from tilth.signals.scorers.texts import read_training, source_digest

    if other and positive:
        raise UsageError("labels say what the other class is, so leave --other out")
    texts, labels, left_out = read_training(train, positive or (() if not other else None))
    if other:
        more, _, left = read_training(other, None)
        labels = [True] * len(texts) + [False] * len(more)
        texts, left_out = texts + more, left_out + left
    options = _options([name], settings)[name]
    made = trained.train(name, options, texts, labels, calibration=calibration)
    digests = {given: source_digest(given) for given in (train, other) if given}
    trained.save(output, made, sources=digests, left_out=left_out)
    if emit({**made.report, "left_out": left_out, "folder": output}, json):
        return
    info(f"{name}: fitted on {made.report['texts']:,} texts, {left_out:,} left out")
    if "area_under_curve" in made.report:
        info(f"on held-out texts: area under the curve {made.report['area_under_curve']:.3f}, "
             f"calibration error {made.report['expected_calibration_error']:.3f}")  # fmt: skip
    info(f"written to {output}")


def numbers(corpus: Corpus, column: str) -> Any:
    """The column as float64 with NaN for null, or UsageError that names the nearest one."""
    import pyarrow as pa

    from tilth.errors import UsageError, nearest

    table = corpus.columns()
    known = [
        f.name
        for f in table.schema
        if (pa.types.is_integer(f.type) or pa.types.is_floating(f.type)) and f.name != "position"
    ]
    if column not in known:
        hint = nearest(column, known)
        raise UsageError(f"there is no measured column of numbers {column!r}", hint=hint)
    return table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)


def side(corpus: Corpus, column: str, keep: str) -> int:
    """+1 where high values are good; as asked, else as the signal says."""
    from tilth.errors import UsageError
    from tilth.store.manifest import read_manifest

    if keep:
        if keep not in ("high", "low"):
            raise UsageError(f"--keep is high or low, not {keep!r}")
        return 1 if keep == "high" else -1
    found = 0
    for signal in sorted((corpus.layer_folder(None) / "signals").glob("*")):
        found = ((read_manifest(signal) or {}).get("columns") or {}).get(column, found)
    if not found:
        raise UsageError(f"neither side of {column} is better by itself", hint="--keep high or low")
    return int(found)


def sizes(corpus: Corpus, unit: str) -> Any:
    """What each document takes of a budget; None for one each."""
    if unit == "documents":
        return None
    if unit != "tokens":
        return numbers(corpus, unit)
    from tilth.errors import UsageError
    from tilth.tokens.blocks import TokenBlocks

    folder = corpus.folder.parent / "tokens" / "train"
    if not folder.is_dir():
        raise UsageError("no tokens are there yet to count", hint="--unit bytes or characters")
    made = TokenBlocks.open(folder)
    # The run's own tokens a byte: counting a document that was dropped would need a new pass.
    return numbers(corpus, "bytes") * (made.total_tokens / max(1, made.total_bytes))


def labelled(
    corpus: Corpus, values: Any, path: str, good: str, precision: float, direction: int
) -> Threshold:
    """The cut on the labelled documents, with what it keeps of all."""
    import dataclasses

    import numpy as np

    from tilth.data.readers import read_classify
    from tilth.errors import DataError, UsageError, nearest
    from tilth.signals.threshold import for_precision

    task = read_classify(path, text="id", id="id", label="label")
    if good not in task.labels:
        hint = nearest(good, task.labels)
        raise UsageError(f"{path} has no label {good!r}", where="--good", hint=hint)
    place = {id: n for n, id in enumerate(corpus.columns().column("id").to_pylist())}
    pairs = [
        (place[id], label == good)
        for id, label in zip(task.table["id"].to_pylist(), task.table["label"].to_pylist())
        if id in place
    ]
    if not pairs:
        raise DataError("no labelled id is in this corpus", where=path, hint="give whole ids")
    rows, truth = zip(*pairs)
    chosen = for_precision(values[list(rows)], truth, target=precision, direction=direction)
    if chosen.threshold is None:
        return chosen
    with np.errstate(invalid="ignore"):
        kept = int(np.count_nonzero(values * direction >= chosen.threshold * direction))
    return dataclasses.replace(
        chosen, documents=len(values), kept=kept, unscored=int(np.isnan(values).sum()),
        size=float(kept), total_size=float(len(values)),
        why=f"{len(pairs):,} of {task.table.num_rows:,} labels are of this corpus; {chosen.why}",
    )  # fmt: skip


def histogram(values: Any, chosen: Threshold) -> list[tuple[float, float, int, bool]]:
    """(from, to, documents, whether all of the bin is kept), outer hundredths in the end bins."""
    import numpy as np

    known = values[np.isfinite(values)]
    if not len(known):
        return []
    low, high = np.quantile(known, [0.01, 0.99])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low, low])
    inside = np.clip(known, edges[0], edges[-1])
    counts = [len(known)] if high <= low else np.histogram(inside, edges)[0].tolist()
    cut, side = chosen.threshold, chosen.direction
    return [
        (float(a), float(b), int(n),
         cut is not None and (a if side > 0 else b) * side >= cut * side)
        for a, b, n in zip(edges[:-1], edges[1:], counts)
    ]  # fmt: skip


STEPS = {"threshold": threshold, "scorer": scorer}
