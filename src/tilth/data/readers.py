"""Readers of searches: BEIR and TREC; and of texts with one label.

The other kinds are read by `labelled.read_task`. A row that cannot be used costs only itself: it is
left out and listed in the task's `problems`. Files may be gzipped. Nothing here looks at the
network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from tilth.data.labelled import first_problem, read_task
from tilth.data.rows import as_text, encoded, read_lines, read_rows
from tilth.data.task import Collection, Task, schema
from tilth.documents.document import Problem
from tilth.errors import DataError


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

    As `labelled.read_task`, but a column for `id`, `group` or `split` is taken only where it is
    named.
    """
    columns = {"text": text, "label": label, "id": id, "group": group, "split": split}
    return read_task(
        path, "classify", columns, labels=labels, name=name, licence=licence, metric=metric
    )


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
        raise DataError(
            "no judgement could be used", where=str(documents), hint=first_problem(problems)
        )
    table = pa.Table.from_pylist(rows, schema("rank"))
    name = name or Path(documents).parent.name
    return Task("rank", name, table, metric, licence, collection, tuple(problems))


def read_qrels(path: str | Path, problems: list[Problem] | None = None) -> Iterator[tuple]:
    """(line number, query, document, score) of a TREC qrels file, or of BEIR's with a header."""
    problems = [] if problems is None else problems
    path = Path(path)
    for number, line in enumerate(read_lines(path)):
        parts = line.split()
        if len(parts) == 4:
            del parts[1]
        if number == 0 and len(parts) == 3 and not _is_number(parts[2]):
            continue
        if len(parts) == 3 and _is_number(parts[2]) and encoded(line):
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
    for number, row in read_rows(path, {}, problems, ()):
        own = as_text(row.get("_id", row.get("id")))
        if not own or "text" not in row:
            problems.append(Problem(path.name, "damaged", "no id or no text", number))
        elif own in found:
            problems.append(Problem(path.name, "repeated id", own, number))
        else:
            found[own] = {
                "id": own,
                "title": as_text(row.get("title")),
                "text": as_text(row["text"]),
            }
    return found


def _is_number(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False
