"""The one writer: temporary name, fsync, rename, fsync of the folder.

Whatever tilth leaves on disk goes through `atomic_write`, except append-only events. So a file
under its final name is whole, and one place is enough to inject every fault that a test needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

TEMPORARY = ".tmp-"

# Set by tilth.testing.faults only. Called as fault(moment, path) at every moment a crash could
# matter: "open", "write" (half the bytes are there), "rename" (not yet renamed), "done".
fault: Callable[[str, Path], None] | None = None


def _at(moment: str, path: Path) -> None:
    if fault is not None:
        fault(moment, path)


class HashingFile(io.RawIOBase):
    """A binary file that counts and hashes what passes. It cannot seek back."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if fault is not None and self.size == 0 and len(view) > 1:
            # Once a file: whatever is torn has a temporary name, and those are never read.
            self._file.write(view[: len(view) // 2])
            self._file.flush()
            _at("write", self._path)
            self._file.write(view[len(view) // 2 :])
        else:
            self._file.write(view)
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[HashingFile]:
    """A file that gets its name only when it is whole and on disk.

    On an error inside the block nothing is left. Afterwards `size` and `sha256` of the yielded
    file say what was written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    _at("open", path)
    try:
        with open(temporary, "wb") as file:
            hashing = HashingFile(file, path)
            yield hashing
            file.flush()
            os.fsync(file.fileno())
        _at("rename", path)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(path.parent)
    _at("done", path)


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """JSON for people: indented, sorted keys, a last line end. NaN is refused."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """A JSON file that tilth wrote. Raises DamagedError where it does not parse."""
    from tilth.errors import DamagedError

    try:
        return json.loads(Path(path).read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedError(f"not valid JSON: {error}", where=str(path)) from None


def remove_temporary(folder: str | Path) -> int:
    """Delete what a killed process left under temporary names below a folder; how many."""
    count = 0
    for path in Path(folder).rglob(f"*{TEMPORARY}*"):
        if path.is_file():
            path.unlink(missing_ok=True)
            count += 1
    return count
