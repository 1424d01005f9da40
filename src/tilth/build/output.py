"""The folder that a training command leaves: settings checked, claimed, continued, finished.

    OUT/training.json    what was asked for and what was found; written first, and again at the end
    OUT/checkpoint/      while it runs
    OUT/config.json ...  the Hugging Face folder; manifest.json comes last

A folder without its manifest is visibly unfinished, and the same command goes on in it. A folder
that is finished with the same request is left as it is; any other request is refused.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tilth.build.plan import value_of
from tilth.errors import DataError, TilthError, UsageError, nearest
from tilth.store.lock import NAME as LOCK
from tilth.store.lock import lock
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import is_complete, read_manifest, write_manifest
from tilth.store.write import TEMPORARY, read_json, remove_temporary, write_json

RECORD = "training.json"
CHECKPOINT = "checkpoint"


def checked(defaults: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """The defaults with `name=value` applied (`--set`). UsageError names the nearest right one.

    A value must be of its default's type; an integer may be written with k, m or b (`200k`).
    """
    made = dict(defaults)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"{pair!r} is not name=value", where="--set")
        if name not in defaults:
            raise UsageError(f"there is no setting {name!r}", where="--set",
                             hint=nearest(name, defaults))  # fmt: skip
        made[name] = _typed(name, value_of(text), defaults[name], text)
    return made


def _typed(name: str, value: Any, default: Any, text: str) -> Any:
    if isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(value, bool) and isinstance(default, bool)
    elif isinstance(default, int):
        if isinstance(value, str):
            from tilth.models.decoder import parse_size

            value = parse_size(value)
        fits = isinstance(value, int)
    elif isinstance(default, float):
        fits = isinstance(value, (int, float))
        value = float(value) if fits else value
        if fits and not math.isfinite(value):
            raise UsageError(f"{name} is a finite number, not {text!r}", where="--set")
    else:
        fits, value = True, text if not isinstance(value, str) else value
    if not fits:
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a number")
        raise UsageError(f"{name} is {kind}, not {text!r}", where="--set")
    return value


@contextlib.contextmanager
def work(
    out: str | Path, request: Mapping[str, Any]
) -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """`claim` inside a lock. A folder that was new goes again where the work fails for a reason
    that typing the same command again would not mend; after a kill it stays, to go on in."""
    new = not Path(out).is_dir() or not any(Path(out).iterdir())
    with lock(out):
        try:
            yield claim(out, request)
        except TilthError:
            if new:
                shutil.rmtree(out, ignore_errors=True)
            raise


def claim(out: str | Path, request: Mapping[str, Any]) -> tuple[Path, dict[str, Any] | None]:
    """(folder, the record of the finished model or None). To be called inside `lock(out)`.

    `request` is what decides the result, a JSON value. Raises DataError for a folder that holds
    something else, UsageError where another request was begun there, naming what differs.
    """
    folder = Path(out)
    path = folder / RECORD
    if not path.is_file():
        there = {entry.name for entry in folder.iterdir()}
        there = {name for name in there if name != LOCK and TEMPORARY not in name}
        if there:
            raise DataError("is not empty and holds no training", where=str(out), hint="-o NEW")
        write_json(path, {"request": dict(request)})
        return folder, None
    record = dict(read_json(path))
    if differs := _difference(record.get("request", {}), dict(request)):
        raise UsageError(f"holds a training with {differs}", where=str(out), hint="-o NEW")
    if is_complete(folder):
        return folder, record
    remove_temporary(folder)
    return folder, None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            return f"{key} {before.get(key)!r}, not {now.get(key)!r}"
    return ""


def remember(folder: Path, **found: Any) -> dict[str, Any]:
    """Add what was decided to the record; what is there already wins: a restart obeys it."""
    record = {**found, **read_json(folder / RECORD)}
    write_json(folder / RECORD, record)
    return record


def finish(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record and, last, a manifest that lists all; the checkpoint goes."""
    manifest = read_manifest(folder) or {}
    (folder / MANIFEST).unlink(missing_ok=True)
    write_json(folder / RECORD, dict(record))
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    _list_all(folder, manifest)


def also_listed(folder: Path, name: str, value: Any) -> None:
    """One more JSON file in a finished folder, the manifest last again."""
    manifest = read_manifest(folder) or {}
    (folder / MANIFEST).unlink(missing_ok=True)
    write_json(folder / name, value)
    _list_all(folder, manifest)


def _list_all(folder: Path, manifest: Mapping[str, Any]) -> None:
    fields = {key: value for key, value in manifest.items() if key != "files"}
    listed = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, LOCK) and TEMPORARY not in path.name
    ]
    write_manifest(folder, listed, **fields)


def fresh(out: str | Path) -> Path:
    """A folder for a new result. Raises DataError where something is in it."""
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise DataError("is there already", where=str(out), hint="-o NEW-FOLDER")
    return folder
