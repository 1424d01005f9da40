"""CoNLL files: one token a line, its tag in the last column, a blank line after each sentence.

Columns stand apart by tabs or blanks. `-DOCSTART-` lines and comments are passed over; a sentence
with a line that cannot be read is left out whole and listed, since its entities would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tilth.data.rows import encoded, read_lines
from tilth.documents.document import Problem

ENDS = (".conll", ".bio", ".iob", ".iob2", ".txt", ".tsv")


def is_conll(path: Path) -> bool:
    """By its name; a `.tsv` whose first line names a column `tokens` is a table."""
    name = path.name.removesuffix(".gz").lower()
    if not path.is_file() or not name.endswith(ENDS):
        return False
    first = next(read_lines(path), "")
    return not (name.endswith(".tsv") and "tokens" in first.strip().split("\t"))


def read_conll(path: Path, problems: list[Problem]) -> Iterator[tuple[int, dict]]:
    """(number of the sentence, its `tokens` and `tags`)."""
    tokens: list[str] = []
    tags: list[str] = []
    columns, number, damage = 0, 0, ""
    for line in (*read_lines(path), ""):
        parts = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        if not line.strip():
            if damage:
                problems.append(Problem(path.name, "damaged", damage, number))
            elif tokens:
                yield number, {"tokens": tokens, "tags": tags}
            number += bool(tokens or damage)
            tokens, tags, damage = [], [], ""
        elif parts[0] == "-DOCSTART-" or (line.startswith("#") and not _is_token(line, columns)):
            continue
        elif len(parts) < 2 or not parts[0] or not parts[-1] or not encoded(line):
            damage = damage or f"{len(parts)} column" + "s" * (len(parts) > 1)
        else:
            columns = columns or len(parts)
            tokens.append(parts[0])
            tags.append(parts[-1].strip())


def _is_token(line: str, columns: int) -> bool:
    """Whether a line that begins with # is a token, not a comment: by the columns of the others."""
    return "\t" in line if columns == 0 else len(line.split()) == columns
