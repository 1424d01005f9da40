"""From a unit to its documents and problems. Bad content costs one document, never the run."""

from __future__ import annotations

import functools
import hashlib
import io
import math
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeVar, cast

from tilth.documents.document import Document, Problem, document_id
from tilth.documents.formats import FORMATS, RECORDS, WALKED
from tilth.documents.formats.common import Piece, Refused, Slice, is_of_the_file, option
from tilth.documents.formats.compression import unpacked
from tilth.documents.formats.decode import without_surrogates
from tilth.documents.formats.records import READER, add_damage, key_of, one_record
from tilth.documents.inputs import Unit
from tilth.errors import DataError, MissingExtra
from tilth.lookup import load
from tilth.sandbox.child import StartError

_Found = TypeVar("_Found")


def read_unit(unit: Unit) -> Iterator[Document | Problem]:
    """The documents of a unit in order, and a Problem for each that cannot be read.

    Memory is bounded by one document (JSON Lines: a line, Parquet: a few rows and their pages).
    A file that changed since it was planned is refused as a whole. Raises UsageError for a format
    that does not exist, StartError and DataError where the machine fails (no parser process, too
    many open files, a failing disk, no memory), and nothing for what is in the file.
    """
    reader = load("format", FORMATS, unit.format)

    def documents() -> Iterator[Document | Problem]:
        if sha256_of(unit) != unit.sha256:
            raise Refused("unreadable", "the file changed since it was listed")
        with open(unit.path, "rb") as file:
            for piece in reader(unit, _content(unit, file)):
                if isinstance(piece, Problem):
                    yield piece
                else:
                    yield _finished(piece.unit or unit, piece)

    yield from guarded(unit, documents())


def guarded(unit: Unit, found: Iterator[_Found]) -> Iterator[_Found | Problem]:
    """What is found in a unit, or in a member of an archive; it ends with a Problem if that fails.

    Raises what is of the machine, and not of the file, as `read_unit` does.
    """
    try:
        yield from found
    except Refused as refused:
        yield Problem(unit.source, refused.reason, refused.detail)
    except OSError as error:
        if not is_of_the_file(error):
            what = f"cannot be read now: {error.strerror}"
            raise DataError(what, where=unit.source, hint="run the step again") from error
        yield Problem(unit.source, "unreadable", error.strerror or "")
    except MemoryError:
        what = "not enough memory to read it"
        raise DataError(what, where=unit.source, hint="run the step again") from None
    except (StartError, MissingExtra, DataError):
        raise
    except Exception as error:  # whatever a reader, perhaps not ours, did not foresee
        detail = f"{type(error).__name__}: {error}".replace(unit.path, unit.source)
        yield Problem(unit.source, "damaged", detail[:300])


def sha256_of(unit: Unit) -> str:
    """The digest of what the unit covers, as it is now."""
    if unit.format == "parquet":
        from tilth.documents.formats.parquet import digest_of_groups

        return digest_of_groups(unit.path, unit.start, unit.stop)
    with open(unit.path, "rb") as file:
        piece = cast(BinaryIO, io.BufferedReader(Slice(file, unit.start, unit.stop), 1 << 18))
        state = hashlib.sha256()
        while data := piece.read(1 << 18):
            state.update(data)
        return state.hexdigest()


def _content(unit: Unit, file: BinaryIO) -> Any:
    """What a reader gets: the bytes of the unit's range, unpacked, or the frames of a walk."""
    if unit.format == "parquet":
        return file
    if unit.format in WALKED:
        from tilth.documents.containers.walking import Frames

        return Frames(unit)
    raw = cast(BinaryIO, io.BufferedReader(Slice(file, unit.start, unit.stop), 1 << 18))
    return unpacked(raw, option(unit, "compression"), unit.size)


def _finished(unit: Unit, piece: Piece) -> Document | Problem:
    make = functools.partial(_document, unit, piece)
    return one_record(unit, "", piece.position, make)


def _document(unit: Unit, piece: Piece) -> Document:
    text, lone = without_surrogates(piece.text)
    if not text.strip():
        raise Refused("empty", "holds no text")
    metadata = {key: value for key, value in _storable(piece.metadata).items() if value is not None}
    add_damage(metadata if piece.notes is None else piece.notes, lone)
    if piece.notes:
        metadata[READER] = _storable(piece.notes)
    return Document(
        id=document_id(unit.source, piece.position, piece.raw),
        text=text,
        source=unit.source,
        position=piece.position,
        format=piece.format or unit.format,
        group=_group(unit, piece.position, metadata),
        metadata=metadata,
    )


def _group(unit: Unit, position: int, metadata: dict[str, Any]) -> str:
    key = option(unit, "group_by")
    if key is not None:
        value = metadata.get(key_of(key) if unit.format in RECORDS else key)
        if value not in (None, ""):
            return f"{key}={value}"
    return unit.group or f"{unit.source}#{position}"


def _storable(value: Any) -> Any:
    """A JSON value that UTF-8 and strict JSON can hold: no lone surrogates, no NaN."""
    if isinstance(value, str):
        return without_surrogates(value)[0]
    if isinstance(value, int):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_storable(str(key)): _storable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(entry) for entry in value]
    return value
