"""The child's side of `child.py`: takes limits, then answers calls until its input ends.

Frames, both ways: length of the header, length of the body (`FRAME`), a JSON header, raw bytes.
Imports as little as it can: each import is paid by every child and counts against its memory.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

from tilth.errors import LimitError

FRAME = struct.Struct(">IQ")
_PARENT_DEATH_SIGNAL = 1
_NO_NEW_PRIVILEGES = 38


def main(arguments: list[str]) -> None:
    """Serve `function memory cpu parent folder...`, all as text; see `Child`."""
    function, memory, cpu, parent, *folders = arguments
    # What the function prints must not run into the frames.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    take_limits(int(memory), int(cpu), int(parent))
    sys.path.extend(folders)
    try:
        module, _, name = function.partition(":")
        call = getattr(importlib.import_module(module), name)
    except Exception as error:
        _answer(answers, {"failure": "start", "message": _describe(error)})
        return
    _answer(answers, {"kind": "ready"})
    while (request := _read_frame(requests)) is not None:
        header, body = request
        _answer(answers, *_outcome(call, body, header["options"]))
        del header, body, request


def take_limits(memory: int, cpu: int, parent: int) -> None:
    """Limit this process for good: memory in bytes, CPU in seconds; no files, no core dumps."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        # The kernel does not hold root to this one.
        resource.RLIMIT_NPROC: 0,
    }
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(limit, (value, value))


def _outcome(call: Any, body: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        result = call(body, **options)
        if isinstance(result, (bytes, bytearray)):
            return {"kind": "bytes"}, bytes(result)
        if isinstance(result, str):
            return {"kind": "str"}, result.encode("utf-8", "surrogatepass")
        return {"kind": "json"}, json.dumps(result).encode("ascii")
    except MemoryError:
        return {"failure": "memory"}, b""
    except RecursionError:
        return {"failure": "limit", "message": "nested too deeply"}, b""
    except LimitError as error:
        return {"failure": "limit", "message": error.what[:500]}, b""
    except Exception as error:
        return {"failure": "error", "message": _describe(error)}, b""


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _answer(file: BinaryIO, header: dict[str, Any], body: bytes = b"") -> None:
    data = json.dumps({**header, "cpu": time.process_time()}).encode("ascii")
    file.write(FRAME.pack(len(data), len(body)))
    file.write(data)
    file.write(body)
    file.flush()


def _read_frame(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    start = file.read(FRAME.size)
    if len(start) < FRAME.size:
        return None
    header, body = FRAME.unpack(start)
    return json.loads(file.read(header)), file.read(body)
