"""Three levels of granularity: text, tokens, counts (Gerlach & Font-Clos 2020, SPGC).

"A standardized Project Gutenberg corpus for statistical analysis of natural language and
quantitative linguistics" keeps every book as clean text, as a sequence of tokens and as counts of
types. Tokens are words in the manner of the Penn Treebank, of which only those that consist of
letters are kept, in lower case.

Use it for word statistics. Numbers, hyphenated words and clitics are dropped, so counts are not
comparable with those of other tokenisers; and words of scripts that write vowels as marks (Hindi,
Thai) are mostly dropped. Lines end with "\\n" on every system.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tilth.corpus.sentences import sentences
from tilth.documents.document import Document
from tilth.errors import DataError
from tilth.store.digest import digest_value, sha256_file
from tilth.store.lock import lock
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import write_manifest
from tilth.store.write import read_json, write_bytes, write_json

# Raise it when tokens of the same text change.
VERSION = 1
LEVELS = ("text", "tokens", "counts")
COLUMNS = (
    "id", "source", "author", "title", "language", "raw_lines", "lines", "tokens", "types",
)  # fmt: skip

_APART = re.compile(
    r"\.{2,}|-{2,}|[\u2014\u2015\u2026]|[\[\](){}<>;@#$%&?!*\"\u201c\u201d\u201e\u00ab\u00bb`]"
    r"|[:,](?!\d)"
)
_FINAL_STOP = re.compile(r"(?<!\.)\.(?=[\s\])}>\"'\u201d\u2019\u00bb]*$)")
_JOINED = re.compile(
    r"(?i)\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|\b(gim|lem)(me)\b"
    r"|(?<!\w)(['\u2019]t)(is|was)\b"
)
_OPENING_QUOTE = re.compile(r"(?<!\w)['\u2018\u2019](?=\w)(?![tT]\b)")
_CLOSING_QUOTE = re.compile(r"(?<=\w)['\u2019](?!\w)")
_CLITIC = re.compile(r"(?i)(?<=\w)(n['\u2019]t|['\u2019](?:s|m|d|ll|re|ve))\b")


def words(sentence: str) -> list[str]:
    """A sentence in words and marks, in the manner of the Penn Treebank.

    "They can't." gives "They", "ca", "n't", "."; a full stop is a word of its own only at the
    sentence's end, so "Mr." stays whole. Other than there, typographic apostrophes and dashes count
    as plain ones, and an opening single quote is parted from its word.
    """
    text = _APART.sub(r" \g<0> ", sentence)
    text = _FINAL_STOP.sub(" . ", text)
    text = _JOINED.sub(lambda found: " ".join(part for part in found.groups() if part), text)
    text = _OPENING_QUOTE.sub("' ", text)
    text = _CLITIC.sub(r" \1", text)
    return _CLOSING_QUOTE.sub(" '", text).split()


def tokens(text: str, language: str = "") -> list[str]:
    """The words of a text that consist of letters, in lower case."""
    found = (word for sentence in sentences(text, language) for word in words(sentence))
    # Python's lower case of the Turkish capital is two characters, of which one is a mark.
    return [word.replace("\u0130", "i").lower() for word in found if word.isalpha()]


def counts(tokens: Iterable[str]) -> list[tuple[str, int]]:
    """Types with how often they occur, most frequent first, then by the alphabet."""
    return sorted(Counter(tokens).items(), key=lambda entry: (-entry[1], entry[0]))


def counts_text(tokens: Iterable[str]) -> str:
    """The level `counts` of a book: one line `type TAB count` for each type."""
    return "".join(f"{kind}\t{count}\n" for kind, count in counts(tokens))


def write_levels(
    documents: Iterable[Document],
    folder: str | Path,
    *,
    languages: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write `text/ID.txt`, `tokens/ID.txt`, `counts/ID.txt`, `books/ID.json`, `metadata.csv`.

    A book whose files are there with the digests that its record names is not made again; files of
    books that are gone are deleted; the manifest comes last and is returned. `languages` maps
    document ids to ISO 639 codes; else a document's metadata may hold `language`. Raises DataError
    where two documents have one id or an id is no file name, LockedError where another process
    writes the folder.
    """
    folder = Path(folder)
    with lock(folder):
        rows: dict[str, dict[str, Any]] = {}
        for document in documents:
            if document.id in rows:
                raise DataError(f"two documents have the id {document.id}", where=document.source)
            if not re.fullmatch(r"\w[\w.-]*", document.id):
                raise DataError(f"{document.id!r} is no file name", where=document.source)
            language = (languages or {}).get(document.id) or document.metadata.get("language", "")
            rows[document.id] = _write_book(folder, document, str(language))
        _drop_others(folder, rows)
        return _finish(folder, [rows[name] for name in sorted(rows)])


def _files(name: str) -> list[str]:
    return [f"{level}/{name}.txt" for level in LEVELS]


def _write_book(folder: Path, document: Document, language: str) -> dict[str, Any]:
    """The files of one book, its record last; nothing where they are there already."""
    headers = document.metadata.get("headers")
    removed = headers.get("removed_lines", 0) if isinstance(headers, dict) else 0
    text = document.text.replace("\r\n", "\n").replace("\r", "\n")
    lines = _lines(text)
    known = {
        "id": document.id,
        "source": document.source,
        "author": str(document.metadata.get("author", "")),
        "title": str(document.metadata.get("title", "")),
        "language": language,
        "raw_lines": lines + int(removed),
        "lines": lines,
    }
    made_from = digest_value([VERSION, known, hashlib.sha256(text.encode()).hexdigest()])
    path = folder / "books" / f"{document.id}.json"
    if path.is_file():
        record = read_json(path)
        if record.get("made_from") == made_from and _agree(folder, record["files"]):
            return dict(record["row"])
    # A folder that is being changed is unfinished.
    (folder / MANIFEST).unlink(missing_ok=True)
    found = tokens(text, language)
    level_texts = (text, "".join(f"{token}\n" for token in found), counts_text(found))
    digests = {}
    for name, text in zip(_files(document.id), level_texts):
        data = text.encode("utf-8")
        write_bytes(folder / name, data)
        digests[name] = hashlib.sha256(data).hexdigest()
    row = {**known, "tokens": len(found), "types": len(set(found))}
    write_json(path, {"made_from": made_from, "files": digests, "row": row})
    return row


def _lines(text: str) -> int:
    return text.count("\n") + bool(text and not text.endswith("\n"))


def _agree(folder: Path, files: Mapping[str, str]) -> bool:
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == sha256
        for name, sha256 in files.items()
    )


def _drop_others(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Files of books that are no longer among the documents; only books with a record of ours."""
    books = folder / "books"
    for record in sorted(books.glob("*.json")) if books.is_dir() else ():
        if record.stem not in wanted:
            (folder / MANIFEST).unlink(missing_ok=True)
            for name in _files(record.stem):
                (folder / name).unlink(missing_ok=True)
            record.unlink()


def _finish(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    names = [name for row in rows for name in (*_files(row["id"]), f"books/{row['id']}.json")]
    fields = {"kind": "levels", "version": VERSION, "books": len(rows)}
    metadata = folder / "metadata.csv"
    data = table.getvalue().encode("utf-8")
    if not metadata.is_file() or metadata.read_bytes() != data:
        (folder / MANIFEST).unlink(missing_ok=True)
        write_bytes(metadata, data)
    return write_manifest(folder, ["metadata.csv", *names], **fields)


def read_tokens(folder: str | Path, name: str) -> Iterator[str]:
    """The tokens of one book of a finished folder."""
    with open(Path(folder) / "tokens" / f"{name}.txt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")
