"""A fitted scorer on disk: raw float32 arrays, and a manifest that is written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError
from tilth.store.manifest import NAME, is_complete, read_manifest, write_manifest
from tilth.store.write import atomic_write


def save_arrays(folder: str | Path, arrays: Mapping[str, np.ndarray], **fields: Any) -> None:
    """One .npy file an array; `fields` are JSON values for the manifest."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    for name, array in arrays.items():
        with atomic_write(folder / f"{name}.npy") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
    write_manifest(folder, [f"{name}.npy" for name in arrays], **fields)


def load_arrays(
    folder: str | Path, expected: Mapping[str, Any], shapes: Sequence[str]
) -> tuple[dict[str, Any], Arrays]:
    """(manifest, arrays mapped into memory). Raises DamagedError where the folder is unfinished."""
    folder = Path(folder)
    if not is_complete(folder, expected):
        raise DamagedError(f"not a finished {expected['scorer']} scorer", where=str(folder))
    found = {}
    for name in shapes:
        path = folder / f"{name}.npy"
        try:
            found[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise DamagedError(str(error), where=str(path)) from None
    return read_manifest(folder) or {}, Arrays(folder, found)


class Arrays(dict):
    """Arrays by name, and the folder that they came from."""

    def __init__(self, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self.folder = folder

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise DamagedError where a form is another one, so that no loop reads outside."""
        for name, shape in shapes.items():
            array = self[name]
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                where = str(self.folder / f"{name}.npy")
                raise DamagedError(f"does not hold finite float32 of shape {shape}", where=where)
