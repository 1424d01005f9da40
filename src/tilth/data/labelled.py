"""Readers of labelled data of every kind but `rank`: tables by column names, CoNLL, chat messages.

A list in a cell of CSV is JSON or has its values parted by `|` (tokens and tags by blanks). A row
that cannot be used costs only itself: it is left out and listed in the task's `problems`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tilth.data.conll import is_conll, read_conll
from tilth.data.rows import as_text, check_columns, read_rows, table_files
from tilth.data.task import FIELDS, REQUIRED, Task, schema
from tilth.documents.document import Problem
from tilth.errors import DataError, UsageError

ROLES = {
    "system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "human": "user", "gpt": "assistant",
}  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Other columns that a kind is read from, where a file has not those of `REQUIRED`: a question and
# its answer; the texts of a set a row each, with the set's name as the group.
INSTEAD = {"generate": ("prompt", "answer"), "bag": ("text", "label", "group")}
ASKED = INSTEAD["generate"]


class _Unusable(Exception):
    """(reason, detail) of a row that is left out."""


def columns_of(kind: str) -> tuple[str, ...]:
    """The columns of a kind that `--set data.COLUMN=NAME` may name."""
    if kind not in FIELDS:
        return ()
    names = (*FIELDS[kind], *INSTEAD.get(kind, ()), "id", "group", "split")
    return tuple(dict.fromkeys(names))


def read_task(
    path: str | Path | Mapping[str, str | Path],
    kind: str,
    columns: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    separator: str = "|",
    name: str = "",
    licence: str = "not stated",
    metric: str = "",
) -> Task:
    """A task from one file, from a folder with one file a split, or from files by split.

    `columns`: column of the task -> column of the file; what is not named is looked for under its
    own name, and an `id`, `group` or `split` under the empty name is not taken; `TITLE+ABSTRACT`
    joins columns. `fixed`: cells that are the same in every row. An id that is not
    there is the row's number, a group the id, a split the name of the file in a folder, else
    empty. `labels`: value in the file -> name; other values are left out and listed. The `answer`
    of a `choose` task is the number of the choice from 0, its letter or its text. `generate` takes
    `messages` (`role` and `content`, or `from` and `value`), or columns `prompt` and `answer`.
    Raises DataError where a column is missing or no row could be used.
    """
    if kind not in FIELDS:
        raise UsageError(f"{kind} data is not read from one table")
    if isinstance(path, Mapping):
        files = [(split, Path(file)) for split, file in path.items()]
        where = str(next(iter(files))[1])
    else:
        path, where = Path(path), str(path)
        name = name or path.name.split(".")[0]
        found = _conll_files(path) if kind == "tag" else []
        found = found or table_files(path)
        files = [(file.name.split(".")[0] if len(found) > 1 else "", file) for file in found]
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    for part, file in files:
        for number, row, wanted in _read(file, kind, columns or {}, fixed or {}, problems):
            cells = {key: _cell(row, column) for key, column in wanted.items()}
            cells |= fixed or {}
            try:
                made = _MAKERS[kind](cells, separator)
                for key in {"label", "labels", "tags"} & made.keys() if labels is not None else ():
                    made[key] = _renamed(made[key], labels)
            except _Unusable as error:
                problems.append(Problem(file.name, *error.args, number))
                continue
            own = as_text(cells.get("id")) or (f"{part}/{number}" if part else str(number))
            made["id"], made["group"] = own, as_text(cells.get("group")) or own
            made["split"] = as_text(cells.get("split")) or part
            rows.append(made)
    if kind == "bag":
        rows = _sets(rows, problems)
    if not rows:
        raise DataError("no row could be used", where=where, hint=first_problem(problems))
    table = pa.Table.from_pylist(rows, schema(kind))
    return Task(kind, name, table, metric, licence, problems=tuple(problems))


def _sets(rows: list[dict[str, Any]], problems: list[Problem]) -> list[dict[str, Any]]:
    """Rows of one set as one row, where each had a text of its own; the first label counts."""
    found: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        name = row.pop("set", None)
        key = (row["id"], "") if name is None else (row["split"], name)
        first = found.setdefault(key, row)
        if first is row:
            row["id"] = row["id"] if name is None else name
        elif row["label"] != first["label"]:
            problems.append(Problem(str(name), "two labels", row["label"], 0))
        else:
            first["texts"] += row["texts"]
    return list(found.values())


def first_problem(problems: list[Problem]) -> str:
    """A hint for data of which nothing could be used."""
    return f"first problem: {problems[0].reason}, {problems[0].detail}" if problems else ""


def _conll_files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(f for f in path.glob("*") if f.is_file())
    found = [file for file in files if is_conll(file)]
    conll = [f for f in found if not f.name.removesuffix(".gz").endswith(".txt")]
    return conll or found if path.is_dir() else found


def _read(
    file: Path,
    kind: str,
    columns: Mapping[str, str],
    fixed: Mapping[str, str],
    problems: list[Problem],
) -> Iterator[tuple[int, dict[str, Any], dict[str, str]]]:
    """(number, row, column of the task -> column of the file), checked on the first row."""
    if kind == "tag" and is_conll(file):
        for number, row in read_conll(file, problems):
            yield number, row, {"tokens": "tokens", "tags": "tags"}
        return
    wanted: dict[str, str] | None = None
    for number, row in read_rows(file, {}, problems, ()):
        if wanted is None:
            wanted = _wanted(file, kind, columns, {**row, **fixed})
        yield number, row, wanted


def _wanted(
    file: Path, kind: str, columns: Mapping[str, str], row: Mapping[str, Any]
) -> dict[str, str]:
    usual, instead = REQUIRED[kind], INSTEAD.get(kind, ())
    needed = usual
    if instead and columns.get(usual[0], usual[0]) not in row:
        needed = instead if columns.get(instead[0], instead[0]) in row else usual
    if instead and instead[0] in columns:
        needed = instead
    # Of the two forms only one is read: an `answer` beside `messages` is not asked for.
    unused = {*usual, *instead} - {*needed, "group"}
    if named := sorted(unused & {key for key, column in columns.items() if column}):
        raise UsageError(
            f"a {kind} task is read from {', '.join(needed)} or from {', '.join(usual)}, not both",
            where=f"data.{named[0]}",
        )
    wanted = {key: columns.get(key, key) for key in needed}
    for key in columns_of(kind):
        given = columns.get(key) or (key not in columns and key in row)
        if key not in wanted and key not in unused and given:
            wanted[key] = columns.get(key, key)
    for key, column in wanted.items():
        for part in _parts(row, column):
            check_columns(file, row, {key: part}, needed)
    return wanted


def _parts(row: Mapping[str, Any], column: str) -> list[str]:
    """The columns that a name stands for; `a+b` is two where there is no column of that name."""
    return [column] if column in row or "+" not in column else column.split("+")


def _cell(row: Mapping[str, Any], column: str) -> Any:
    parts = _parts(row, column)
    return row.get(column) if parts == [column] else [_words(row.get(part)) for part in parts]


def _words(value: Any) -> str:
    """Text of a cell; a list of texts is joined by line ends."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return as_text(value)


def _some(cells: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Texts of columns, none of them blank."""
    found = {name: _words(cells[name]) for name in names}
    if not all(text.strip() for text in found.values()):
        raise _Unusable("empty", " or ".join(f"no {name}" for name in names))
    return found


def _list(value: Any, separator: str | None) -> list[str]:
    if isinstance(value, str):
        try:
            parsed = json.loads(value) if value.lstrip().startswith("[") else None
        except (json.JSONDecodeError, RecursionError):
            parsed = None
        if isinstance(parsed, list):
            value = parsed
        else:
            value = [part.strip() for part in value.split(separator)]
            value = [part for part in value if part]
    if value is None:
        return []
    return [as_text(one) for one in value] if isinstance(value, list) else [as_text(value)]


def _renamed(value: str | list[str], labels: Mapping[str, str]) -> Any:
    for one in [value] if isinstance(value, str) else value:
        if one not in labels:
            raise _Unusable("unknown label", one)
    return labels[value] if isinstance(value, str) else [labels[one] for one in value]


def _classify(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    found = {"text": _words(cells["text"]), "label": as_text(cells["label"])}
    if not found["text"].strip() or not found["label"]:
        raise _Unusable("empty", "no text or no label")
    return found


def _multilabel(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    labels = list(dict.fromkeys(_list(cells["labels"], separator)))
    return {**_some(cells, "text"), "labels": labels}


def _tag(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    tokens, tags = _list(cells["tokens"], None), _list(cells["tags"], None)
    if not tokens or len(tokens) != len(tags):
        raise _Unusable("damaged", f"{len(tokens)} tokens and {len(tags)} tags")
    return {"tokens": tokens, "tags": tags}


def _choose(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    choices, answer = _list(cells["choices"], separator), as_text(cells["answer"]).strip()
    if len(choices) < 2:
        raise _Unusable("damaged", f"{len(choices)} choices")
    if answer in choices and not answer.isdigit():
        place = choices.index(answer)
    elif answer in LETTERS and len(answer) == 1:
        place = LETTERS.index(answer)
    else:
        place = int(answer) if answer.isdigit() else len(choices)
    if place >= len(choices):
        raise _Unusable("unknown answer", answer[:60])
    return {"text": _words(cells["text"]), "choices": choices, "answer": place}


def _pair(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    return _some(cells, "text", "other", "label")


def _bag(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    if "texts" not in cells:
        found = _some(cells, "text", "label", "group")
        return {"texts": [found["text"]], "label": found["label"], "set": found["group"]}
    texts = [text for text in _list(cells["texts"], separator) if text.strip()]
    if not texts:
        raise _Unusable("empty", "no texts")
    return {"texts": texts, **_some(cells, "label")}


def _regress(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    try:
        target = float(as_text(cells["target"]))
    except ValueError:
        target = math.nan
    if not math.isfinite(target):
        raise _Unusable("damaged", f"target {as_text(cells['target'])[:60]!r} is no number")
    return {**_some(cells, "text"), "other": _words(cells.get("other")), "target": target}


def _generate(cells: Mapping[str, Any], separator: str) -> dict[str, Any]:
    if "messages" not in cells:
        asked = _some(cells, *ASKED)
        roles = {"user": asked["prompt"], "assistant": asked["answer"]}
        return {"messages": [{"role": role, "content": text} for role, text in roles.items()]}
    value = cells["messages"]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            value = None
    messages = []
    for one in value if isinstance(value, list) else [None]:
        if not isinstance(one, dict):
            raise _Unusable("damaged", "messages are no list of objects")
        role = as_text(one.get("role", one.get("from")))
        content = as_text(one.get("content", one.get("value")))
        if role not in ROLES:
            raise _Unusable("unknown role", role[:60])
        messages.append({"role": ROLES[role], "content": content})
    if not messages or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise _Unusable("empty", "no answer of the assistant at the end")
    return {"messages": messages}


_MAKERS = {
    "classify": _classify, "multilabel": _multilabel, "tag": _tag, "choose": _choose,
    "pair": _pair, "bag": _bag, "generate": _generate, "regress": _regress,
}  # fmt: skip
