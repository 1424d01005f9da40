"""The header of a safetensors file, checked against the file before anything is allocated.

A header is JSON that declares each tensor's type, shape and place. A hostile one can declare sizes
that no file has, places outside the file, or tensors that overlap. What passes here is exactly
covered: every byte of the data belongs to one tensor.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tilth.errors import DamagedError

LARGEST_HEADER = 100_000_000
LARGEST_RANK = 16
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16,
    "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64,
}  # fmt: skip


def check_header(path: str | Path) -> dict[str, dict[str, Any]]:
    """The tensors that the file declares: name -> dtype, shape, data_offsets.

    Raises DamagedError, naming the tensor, where header and file do not agree.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LARGEST_HEADER, size - 8):
            raise DamagedError(
                f"the header claims {length:,} bytes, the file has {size:,}", where=str(path)
            )
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_doubles)
        if not isinstance(header, dict):
            raise ValueError("it is not an object")
        header.pop("__metadata__", None)
        spans = sorted((*_span(name, entry), name) for name, entry in header.items())
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"the header is not valid: {error}", where=str(path)) from None
    position = 0
    for start, stop, name in spans:
        if start != position:
            raise DamagedError(f"tensor {name!r} overlaps or leaves a hole", where=str(path))
        position = stop
    if position != size - 8 - length:
        raise DamagedError(
            f"tensors take {position:,} bytes, the file holds {size - 8 - length:,}",
            where=str(path),
        )
    return header


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a name comes twice")
    return dict(pairs)


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor lies; ValueError where its type, shape and place contradict each other."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not described")
    shape, offsets = entry["shape"], entry["data_offsets"]
    numbers = [shape, offsets] if isinstance(shape, list) and isinstance(offsets, list) else [[-1]]
    if any(type(n) is not int or not 0 <= n < 1 << 63 for part in numbers for n in part):
        raise ValueError(f"tensor {name!r} has sizes that are no counts")
    if len(shape) > LARGEST_RANK or len(offsets) != 2 or entry["dtype"] not in BITS:
        raise ValueError(f"tensor {name!r} has an unknown type or form")
    if math.prod(shape) * BITS[entry["dtype"]] != 8 * (offsets[1] - offsets[0]):
        raise ValueError(f"tensor {name!r} has another size than its shape says")
    return offsets[0], offsets[1]
