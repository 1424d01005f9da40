"""Manifests: what a folder holds, with sizes and SHA-256, written last.

A folder with a manifest is complete; one without is visibly unfinished. `verify` reads every byte
again and says which file does not agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tilth.errors import DamagedError
from tilth.store.digest import sha256_file
from tilth.store.write import read_json, write_json

NAME = "manifest.json"


def write_manifest(
    folder: str | Path, files: Iterable[str] | None = None, **fields: Any
) -> dict[str, Any]:
    """Write the manifest of a finished folder: every file below it, or just `files`.

    `fields` are stored beside the list (what made it, counts); they must be JSON values.
    """
    folder = Path(folder)
    if files is None:
        files = [
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.name != NAME
        ]
    entries = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for name in sorted(files)
    }
    manifest = {**fields, "files": entries}
    write_json(folder / NAME, manifest)
    return manifest


def read_manifest(folder: str | Path) -> dict[str, Any] | None:
    """The manifest of a finished folder, None where there is none yet."""
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DamagedError("not a manifest", where=str(path))
    return manifest


def is_complete(folder: str | Path, expected: Mapping[str, Any] | None = None) -> bool:
    """Whether the folder is finished, with files of the right sizes and the expected fields."""
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    if expected is not None and any(manifest.get(key) != value for key, value in expected.items()):
        return False
    return all(
        (Path(folder) / name).is_file() and (Path(folder) / name).stat().st_size == entry["bytes"]
        for name, entry in manifest["files"].items()
    )


def verify(folder: str | Path) -> dict[str, Any]:
    """Read every file again; raise DamagedError at the first that does not agree."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise DamagedError("unfinished: there is no manifest", where=str(folder))
    for name, entry in manifest["files"].items():
        path = Path(folder) / name
        if not path.is_file():
            raise DamagedError("is missing", where=str(path))
        if path.stat().st_size != entry["bytes"] or sha256_file(path) != entry["sha256"]:
            raise DamagedError("does not agree with its manifest", where=str(path))
    return manifest
