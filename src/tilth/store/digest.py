"""Digests: names for bytes, values and files. SHA-256, cut to 32 hexadecimal digits for ids."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ID_LENGTH = 32
# One for all: this is done for every record, and making an encoder takes as long as a small value.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def digest(*parts: bytes | str | int) -> str:
    """One id for several parts; each part is framed by its length, so that parts never run on."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:ID_LENGTH]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text. NaN is refused."""
    return _CANONICAL.encode(value)


def digest_value(value: Any) -> str:
    """The digest of a JSON value."""
    return digest(canonical_json(value))


def sha256_file(path: str | Path) -> str:
    """The full SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
