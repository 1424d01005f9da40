"""CSV and TSV: a row, a document. The first row names the columns.

The text stands in the column that was asked for, else in the first known one, as for JSON Lines
(`records`); the other columns go to the metadata as the texts that they are. A child process parses
the file (`containers/csv_rows`).

A row with fewer cells than there are columns is read where its text is there, and so is one whose
further cells are empty; `metadata.reader.cells` then says how many there were. A row with more
cells than columns is listed: nobody knows where its text begins and ends.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tilth.documents.containers.frames import Frame
from tilth.documents.document import Problem
from tilth.documents.formats.common import Piece, Refused, option
from tilth.documents.formats.records import add_damage, one_record, piece_of, text_column

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit


def read(unit: Unit, frames: Iterator[Frame]) -> Iterator[Piece | Problem]:
    """A document for each row; its position is the number of the row, from 0."""
    columns: list[str] = []
    found = False
    for header, body in frames:
        if header["kind"] == "problem":
            found = True
            yield Problem(unit.source, header["reason"], header["detail"], header["position"])
        elif header["kind"] == "columns":
            columns = header["columns"]
            text_column(option(unit, "text_column"), dict.fromkeys(columns, ""))
        else:
            found = True
            for line in body.split(b"\n"):
                number, cells, encoding, damage = json.loads(line)
                make = functools.partial(
                    _piece, unit, columns, line, number, cells, encoding, damage
                )
                yield one_record(unit, f"row {number + 1}: ", number, make)
    if not found and not option(unit, "first_row"):
        raise Refused("empty", "no row below the names of the columns")


def _piece(
    unit: Unit, columns: list[str], line: bytes, number: int, cells: list[str],
    encoding: str, damage: int,
) -> Piece:  # fmt: skip
    count = len(cells)
    if count > len(columns) and any(cells[len(columns) :]):
        raise Refused("damaged", f"{count} cells, and {len(columns)} columns have a name")
    piece = piece_of(unit, dict(zip(columns, cells)), number, line)
    assert piece.notes is not None
    if count != len(columns):
        piece.notes["cells"] = count
    if encoding:
        piece.notes["encoding"] = encoding
    add_damage(piece.notes, damage)
    return piece
