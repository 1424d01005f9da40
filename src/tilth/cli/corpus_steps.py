"""`tilth corpus add|transform|measure|dedup|select`: the steps of a build, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

Folder = Annotated[str, typer.Argument(help="A corpus folder, or a run folder that holds one.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="option=value, or NAME.option=value.")
]


def add(
    folder: Annotated[str, typer.Argument(help="A new corpus folder, or one whose inputs grew.")],
    documents: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    include: Annotated[list[str] | None, typer.Option(help="Only files like this glob.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files like this glob.")] = None,
    text_column: Annotated[str, typer.Option(help="Which field of a record is the text.")] = "",
    group_by: Annotated[str, typer.Option(help="Metadata that keeps documents together.")] = "",
    html: Annotated[str, typer.Option(help="Of a page: its text, or its article alone.")] = "text",
    workers: Workers = 0,
    json: Json = False,
) -> None:
    """Read documents of any kind into a corpus. What cannot be read is listed, never fatal.

    Name all inputs again to add to a corpus: only what changed is read, and what is not named any
    more is dropped.

    Examples:

        tilth corpus add my-corpus my-documents

        tilth corpus add my-corpus my-documents --exclude "*.log"
    """
    from tilth.errors import UsageError

    if (Path(folder) / "plan.resolved.toml").is_file():
        raise UsageError(f"{folder} is a run folder", hint="tilth build DOCUMENTS -o RUN")
    corpus = _open(folder, workers, new=True)
    corpus.add(
        documents, include=include or (), exclude=exclude or (),
        text_column=text_column or None, group_by=group_by or None, html=html,
    )  # fmt: skip
    _show_layers(corpus, json)


def transform(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(help="Transforms in order, such as repair.")],
    layer: Annotated[str, typer.Option(help="The layer that is made.")] = "clean",
    settings: Settings = None,
    workers: Workers = 0,
    json: Json = False,
) -> None:
    """Make a new layer from the last one; documents keep their parents and spans.

    A layer that is there is made again, from the layer before it.

    Examples:

        tilth corpus transform my-corpus repair headers

        tilth corpus transform my-corpus passages --layer passages
    """
    from tilth.build.plan_checks import method
    from tilth.corpus.transforms import TRANSFORMS
    from tilth.corpus.transforms.base import Chain

    options = _options(names, settings)
    parts = [method("transform", TRANSFORMS, name, options[name], "--set") for name in names]
    corpus = _open(folder, workers)
    corpus.transform(parts[0] if len(parts) == 1 else Chain(parts), layer)
    _show_layers(corpus, json)


def measure(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(help="Signals, such as length language.")],
    settings: Settings = None,
    workers: Workers = 0,
    json: Json = False,
) -> None:
    """Measure signals on the last layer and show their quantiles. Nothing is dropped.

    Examples:

        tilth corpus measure my-corpus length symbols repetition

        tilth corpus measure my-corpus language --workers 1
    """
    from tilth.build.plan_checks import method
    from tilth.cli.output import emit, quantile_table
    from tilth.signals import SIGNALS

    options = _options(names, settings)
    signals = [method("signal", SIGNALS, name, options[name], "--set") for name in names]
    corpus = _open(folder, workers)
    corpus.measure(signals)
    measured = {column for signal in signals for column in signal.columns}
    quantiles = {name: q for name, q in corpus.quantiles().items() if name in measured}
    if not emit({"quantiles": quantiles}, json):
        quantile_table(quantiles)


def dedup(
    folder: Folder,
    name: Annotated[str, typer.Option("--method", help="near or exact.")] = "near",
    settings: Settings = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of the largest families.")] = 10,
    workers: Workers = 0,
    json: Json = False,
) -> None:
    """Find duplicates and show the largest families. A rule keeps one of each, later.

    Examples:

        tilth corpus dedup my-corpus

        tilth corpus dedup my-corpus --method near --set threshold=0.9
    """
    from tilth.build.plan_checks import method
    from tilth.cli.output import emit, info, table
    from tilth.corpus.duplicates import DUPLICATES
    from tilth.corpus.families import largest_families

    options = _options([name], settings)[name]
    made = method("duplicates", DUPLICATES, name, options, "--set")
    corpus = _open(folder, workers)
    corpus.find_duplicates(made)
    found = largest_families(corpus, limit)
    if emit(found, json):
        return
    info(
        f"{found['documents']:,} of {found['of']:,} documents stand in "
        f"{found['families']:,} families"
    )
    rows = [
        [f["size"], "" if f["lowest_similarity"] is None else f"{f['lowest_similarity']:.2f}",
         f["cluster"][:12], ", ".join(f["sources"])]
        for f in found["largest"]
    ]  # fmt: skip
    table("Largest families", ["documents", "lowest similarity", "family", "such as"], rows)


def select(
    folder: Folder,
    conditions: Annotated[
        list[str] | None, typer.Option("--where", help="An expression, or name: expression.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--rules", help="A ready-made set: gopher_quality, c4 ...")
    ] = None,
    keep_by: Annotated[
        str, typer.Option(help="The greatest value stands for its duplicates.")
    ] = "",
    near: Annotated[
        int, typer.Option(min=0, help="Show so many documents on each side of a threshold.")
    ] = 0,
    json: Json = False,
) -> None:
    """Decide which documents are kept. Nothing is measured again, so thresholds are quick to try.

    Without conditions the last rule is applied again. Conditions may use every measured column.

    Examples:

        tilth corpus select my-corpus --where "words >= 50" --near 3

        tilth corpus select my-corpus --where "long enough: words >= 20"
    """
    import pyarrow.compute as pc

    from tilth.cli.output import emit, info, table
    from tilth.corpus.near_threshold import last_rule, near_thresholds
    from tilth.corpus.outcomes import current
    from tilth.corpus.rules import Rule

    corpus = _open(folder, 1)
    wanted = _conditions(conditions or (), sets or ())
    before = current(corpus.decisions)
    rule = Rule(wanted, keep_by or _longest(corpus)) if wanted else last_rule(corpus)
    if not wanted and keep_by:
        rule = Rule(rule.conditions, keep_by)
    decisions = corpus.select(rule)
    stats = corpus.stats()
    found: dict[str, Any] = {key: stats[key] for key in ("kept", "dropped", "reasons")}
    if before is not None:
        was, now = before.column("kept"), decisions.column("kept")
        found["newly_kept"] = pc.sum(pc.and_(now, pc.invert(was))).as_py() or 0
        found["newly_dropped"] = pc.sum(pc.and_(was, pc.invert(now))).as_py() or 0
    listed = near_thresholds(corpus, near) if near else {}
    found["near"] = {name: [vars(entry) for entry in entries] for name, entries in listed.items()}
    if emit(found, json):
        return
    change = ""
    if before is not None:
        change = f" ({found['newly_kept']:,} newly kept, {found['newly_dropped']:,} newly dropped)"
    info(f"kept {found['kept']:,}, dropped {found['dropped']:,}{change}")
    table("Dropped, by reason", ["reason", "documents"], found["reasons"].items())
    for name, entries in found["near"].items():
        rows = [
            [f"{e['value']:g}", "meets it" if e["met"] else "fails it", e["id"][:12], e["source"]]
            for e in entries
        ]
        table(f"Near to {name}: {rule.conditions[name]}", ["value", "", "id", "source"], rows)


def _longest(corpus: Corpus) -> str:
    """Of duplicates the longest is kept where length was measured, else that of smallest id."""
    return "bytes" if "bytes" in corpus.columns().column_names else "0"


def _conditions(conditions: Sequence[str], sets: Sequence[str]) -> dict[str, str]:
    """Named conditions; an expression without a name is called as it reads."""
    from tilth.errors import UsageError

    result: dict[str, str] = {}
    if sets:
        from tilth.signals.rule_sets import conditions_of

        result = conditions_of(sets)
    for text in conditions:
        name, colon, expression = text.partition(": ")
        # A colon inside a text of the expression is none behind a name.
        named = colon and not set(name) & set("'\"=<>()")
        key = name.strip() if named else text
        if key in result:
            raise UsageError(f"there are two conditions {key!r}", where="--where")
        result[key] = expression if named else text
    return result


def _options(names: Sequence[str], settings: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Options of each method from `option=value` (of all named) and `NAME.option=value`."""
    from tilth.build.plan import value_of
    from tilth.errors import UsageError, nearest

    result: dict[str, dict[str, Any]] = {name: {} for name in names}
    for setting in settings or ():
        path, equals, value = setting.partition("=")
        method, dot, option = path.rpartition(".")
        if not equals:
            raise UsageError(f"{setting!r} is not option=value", where="--set")
        if dot and method not in result:
            raise UsageError(
                f"{method!r} is not used here", where="--set", hint=nearest(method, result)
            )
        for name in [method] if dot else names:
            result[name][option if dot else path] = value_of(value)
    return result


def _open(folder: str, workers: int, new: bool = False) -> Corpus:
    from tilth.build.run import open_corpus
    from tilth.cli.output import ProgressLines
    from tilth.corpus.corpus import Corpus
    from tilth.corpus.executors import LocalExecutor

    where = folder if new else open_corpus(folder).folder
    return Corpus(where, executor=LocalExecutor(workers or None), progress=ProgressLines())


def _show_layers(corpus: Corpus, json: bool) -> None:
    from tilth.cli.output import emit, info, table

    stats = corpus.stats()
    found: Mapping[str, Any] = {key: stats[key] for key in ("layers", "problems")}
    if emit(found, json):
        return
    rows = [[n, c["documents"], c["bytes"], c["blocks"]] for n, c in found["layers"].items()]
    table("Layers", ["layer", "documents", "bytes", "blocks"], rows)
    if found["problems"]:
        info()
        table("Not read, by reason", ["reason", "files or records"], found["problems"].items())


STEPS = {
    "add": add, "transform": transform, "measure": measure, "dedup": dedup, "select": select,
}  # fmt: skip
