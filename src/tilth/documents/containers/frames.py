"""A frame is a JSON header and some bytes; how both sides of a walk write and read them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

Frame = tuple[dict[str, Any], bytes]

_HEAD = struct.Struct(">IQ")
# What an answer begins with: how many frames there were so far, and whether that is all.
_STATE = struct.Struct(">Q?")


def pack(frame: Frame) -> bytes:
    header, body = frame
    data = json.dumps(header).encode("ascii")
    return b"".join((_HEAD.pack(len(data), len(body)), data, body))


def answer(done: int, over: bool, frames: list[bytes]) -> bytes:
    return b"".join((_STATE.pack(done, over), *frames))


def unpack(data: bytes) -> tuple[int, bool, Iterator[Frame]]:
    """(frames so far, whether that is all, the frames) of an answer."""
    done, over = _STATE.unpack_from(data)
    return done, over, _frames(data)


def _frames(data: bytes) -> Iterator[Frame]:
    position = _STATE.size
    while position < len(data):
        header, body = _HEAD.unpack_from(data, position)
        middle = position + _HEAD.size + header
        yield json.loads(data[position + _HEAD.size : middle]), data[middle : middle + body]
        position = middle + body
