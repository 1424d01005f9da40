"""Readers of labelled data: CSV, TSV, JSON lines and Parquet by column names; BEIR and TREC.

A row that cannot be used costs only itself: it is left out and listed in the task's `problems`.
Files may be gzipped. Nothing here looks at the network.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tilth.data.task import REQUIRED, Collection, Task, schema
from tilth.documents.document import Problem
from tilth.errors import DataError, nearest

Row = tuple[int, dict[str, Any]]
# Bytes that were not UTF-8, and halves of characters that JSON can escape but nothing can hold.
SURROGATE = re.compile("[\ud800-\udfff]")


def read_classify(
    path: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    id: str = "",
    group: str = "",
    split: str = "",
    labels: Mapping[str, str] | None = None,
    name: str = "",
    licence: str = "not stated",
    metric: str = "",
) -> Task:
    """A `classify` task from one file, or from a folder with one file a split.

    `text`, `label`, `id`, `group`, `split` name columns; an id that is not given is the row's
    number, a group the id, a split the name of the file in a folder, else empty. `labels`: value
    in the file -> name. Raises DataError where a column is missing.
    """
    path = Path(path)
    problems: list[Problem] = []
    files = [path] if path.is_file() else sorted(f for f in path.glob("*") if _kind(f))
    if not files:
        raise DataError("holds no CSV, TSV, JSONL or Parquet file", where=str(path))
    rows: list[dict[str, str]] = []
    for file in files:
        wanted = {"text": text, "label": label, "id": id, "group": group, "split": split}
        wanted = {key: column for key, column in wanted.items() if column}
        part = file.name.split(".")[0] if len(files) > 1 else ""
        for number, row in _rows(file, wanted, problems, REQUIRED["classify"]):
            found = {key: _text(row.get(column)) for key, column in wanted.items()}
            if not found["text"].strip() or not found["label"]:
                problems.append(Problem(file.name, "empty", "no text or no label", number))
                continue
            value = found["label"]
            if labels is not None and value not in labels:
                problems.append(Problem(file.name, "unknown label", value, number))
                continue
            own = found.get("id") or (f"{part}/{number}" if part else str(number))
            rows.append(
                {
                    "id": own,
                    "text": found["text"],
                    "label": labels[value] if labels is not None else value,
                    "group": found.get("group") or own,
                    "split": found.get("split") or part,
                }
            )
    if not rows:
        raise DataError("no row could be used", where=str(path), hint=_first(problems))
    table = pa.Table.from_pylist(rows, schema("classify"))
    name = name or path.name.split(".")[0]
    return Task("classify", name, table, metric, licence, problems=tuple(problems))


def read_beir(
    folder: str | Path,
    *,
    gains: Mapping[int, int] | None = None,
    name: str = "",
    licence: str = "not stated",
    metric: str = "",
) -> Task:
    """A `rank` task from a BEIR folder: corpus.jsonl, queries.jsonl, qrels.tsv or qrels/SPLIT.tsv.

    `gains`: score in the file -> gain; a score that is not there is left out and listed.
    """
    folder = Path(folder)
    judged = sorted((folder / "qrels").glob("*.tsv*")) or sorted(folder.glob("qrels.tsv*"))
    corpus, queries = (sorted(folder.glob(f"{part}.jsonl*")) for part in ("corpus", "queries"))
    if not (judged and corpus and queries):
        raise DataError(
            "is not a BEIR folder: it holds corpus.jsonl, queries.jsonl and qrels.tsv or "
            "qrels/test.tsv, with columns query-id, corpus-id, score",
            where=str(folder),
        )
    qrels = {("" if file.parent == folder else file.name.split(".")[0]): file for file in judged}
    return read_rank(
        corpus[0], queries[0], qrels, gains=gains, name=name or folder.name, licence=licence,
        metric=metric,
    )  # fmt: skip


def read_rank(
    documents: str | Path,
    queries: str | Path,
    judgements: str | Path | Mapping[str, str | Path],
    *,
    gains: Mapping[int, int] | None = None,
    name: str = "",
    licence: str = "not stated",
    metric: str = "",
) -> Task:
    """A `rank` task from three files; `judgements` may be one file a split.

    Documents and queries: any table with a column `_id` or `id`, and `text` (documents may have a
    `title`). Judgements: TREC's four columns, or a header and query, document, score.
    """
    problems: list[Problem] = []
    texts = _identified(Path(documents), problems)
    asked = _identified(Path(queries), problems)
    collection = Collection(
        pa.table({key: pa.array([row[key] for row in texts.values()], pa.large_string())
                  for key in ("id", "title", "text")}),
        pa.table({key: pa.array([row[key] for row in asked.values()], pa.large_string())
                  for key in ("id", "text")}),
    )  # fmt: skip
    files = judgements if isinstance(judgements, Mapping) else {"": judgements}
    found: dict[tuple[str, str, str], int] = {}
    for split, file in files.items():
        for query, document, gain in _judged(Path(file), gains, asked, texts, problems):
            found[split, query, document] = gain
    rows = [
        {"query": query, "document": document, "gain": gain, "split": split}
        for (split, query, document), gain in found.items()
    ]
    if not rows:
        raise DataError("no judgement could be used", where=str(documents), hint=_first(problems))
    table = pa.Table.from_pylist(rows, schema("rank"))
    name = name or Path(documents).parent.name
    return Task("rank", name, table, metric, licence, collection, tuple(problems))


def read_qrels(path: str | Path, problems: list[Problem] | None = None) -> Iterator[tuple]:
    """(line number, query, document, score) of a TREC qrels file, or of BEIR's with a header."""
    problems = [] if problems is None else problems
    path = Path(path)
    for number, line in enumerate(_lines(path)):
        parts = line.split()
        if len(parts) == 4:
            del parts[1]
        if number == 0 and len(parts) == 3 and not _is_number(parts[2]):
            continue
        if len(parts) == 3 and _is_number(parts[2]) and _encoded(line):
            yield number, parts[0], parts[1], int(float(parts[2]))
        elif parts:
            problems.append(Problem(path.name, "damaged", "not query, document, score", number))


def _judged(
    path: Path,
    gains: Mapping[int, int] | None,
    queries: Mapping,
    documents: Mapping,
    problems: list,
) -> Iterator[tuple[str, str, int]]:
    for number, query, document, score in read_qrels(path, problems):
        if query not in queries:
            problems.append(Problem(path.name, "unknown query", query, number))
        elif gains is not None and score not in gains:
            problems.append(Problem(path.name, "score outside the scale", str(score), number))
        else:
            # Kept, as BEIR does: nobody can find it, and every system pays alike.
            if document not in documents:
                problems.append(Problem(path.name, "judged document is absent", document, number))
            yield query, document, gains[score] if gains is not None else score


def _identified(path: Path, problems: list[Problem]) -> dict[str, dict[str, str]]:
    """Rows by id; of two with one id the first counts and the second is a problem."""
    found: dict[str, dict[str, str]] = {}
    for number, row in _rows(path, {}, problems, ()):
        own = _text(row.get("_id", row.get("id")))
        if not own or "text" not in row:
            problems.append(Problem(path.name, "damaged", "no id or no text", number))
        elif own in found:
            problems.append(Problem(path.name, "repeated id", own, number))
        else:
            found[own] = {"id": own, "title": _text(row.get("title")), "text": _text(row["text"])}
    return found


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    suffix = name.rpartition(".")[2].lower()
    return suffix if "." in name and suffix in ("csv", "tsv", "jsonl", "parquet") else ""


def _rows(
    path: Path, wanted: Mapping[str, str], problems: list[Problem], required: tuple[str, ...]
) -> Iterator[Row]:
    """(number, row) of a table file; checks that the columns are there, on the first row."""
    if not path.is_file():
        raise DataError("no such file", where=str(path))
    readers = {"csv": _csv, "tsv": _tsv, "jsonl": _jsonl, "parquet": _parquet}
    if _kind(path) not in readers:
        raise DataError("is not a CSV, TSV, JSONL or Parquet file", where=str(path))
    for place, (number, row) in enumerate(readers[_kind(path)](path, problems)):
        if place == 0:
            for key, column in wanted.items():
                if column not in row:
                    needs = f"columns {', '.join(required)}"
                    raise DataError(
                        f"has no column {column!r} for {key}; it takes {needs} and has "
                        + ", ".join(map(str, row)),
                        where=str(path),
                        hint=nearest(column, map(str, row)),
                    )
        yield number, row


def _lines(path: Path) -> Iterator[str]:
    # Bytes that are not UTF-8 pass as surrogates, so that one bad line is one problem.
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            yield from io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"damaged gzip: {error}", where=str(path)) from None


def _jsonl(path: Path, problems: list[Problem]) -> Iterator[Row]:
    for number, line in enumerate(_lines(path)):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            row = None
        if not isinstance(row, dict):
            problems.append(Problem(path.name, "damaged", "not a JSON object", number))
        elif _encoded(json.dumps(row, ensure_ascii=False)):
            yield number, row
        else:
            problems.append(Problem(path.name, "encoding", "not UTF-8", number))


def _csv(path: Path, problems: list[Problem], delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(_lines(path), delimiter=delimiter)
    header: list[str] = []
    for number, cells in enumerate(reader):
        if not header:
            header = cells
        elif not cells:
            continue
        elif len(cells) != len(header):
            detail = f"{len(cells)} cells under {len(header)} columns"
            problems.append(Problem(path.name, "damaged", detail, number - 1))
        elif not all(map(_encoded, cells)):
            problems.append(Problem(path.name, "encoding", "not UTF-8", number - 1))
        else:
            yield number - 1, dict(zip(header, cells))


def _tsv(path: Path, problems: list[Problem]) -> Iterator[Row]:
    return _csv(path, problems, "\t")


def _parquet(path: Path, problems: list[Problem]) -> Iterator[Row]:
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"damaged Parquet: {error}", where=str(path)) from None
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            yield number, row
            number += 1


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _encoded(text: str) -> bool:
    return SURROGATE.search(text) is None


def _is_number(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def _first(problems: list[Problem]) -> str:
    return f"first problem: {problems[0].reason}, {problems[0].detail}" if problems else ""
