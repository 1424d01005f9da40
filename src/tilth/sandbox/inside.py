"""The side of the sandbox that lies inside: a supervisor that runs code in forked children.

The text of this file is given to the interpreter in there, where nothing of tilth can be read; so
it imports the standard library only. Frames as in `serve.py`. A request holds code and standard
input; an answer holds a status, what was printed, and nothing that the code could have forged for
another call: the supervisor cannot be traced, clears away every process and file that a call left,
and ends itself (the caller then starts a fresh one) where it finds its own limits changed.
"""

import contextlib
import ctypes
import gc
import io
import json
import os
import resource
import select
import shutil
import signal
import site
import struct
import sys
import time
import traceback
import types
from collections.abc import Iterable
from typing import Any, BinaryIO

# What generated code is likely to import: paid once, not once a call.
for _name in ("bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions",
              "functools", "hashlib", "heapq", "itertools", "math", "operator", "random", "re",
              "statistics", "string", "typing"):  # fmt: skip
    __import__(_name)

FRAME = struct.Struct(">IQ")
SET_DUMPABLE = 4
FOLDER = "/tmp"
FILES = 10_000
TICK_MILLISECONDS = 50
LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE,
          resource.RLIMIT_NPROC, resource.RLIMIT_STACK, resource.RLIMIT_CORE)  # fmt: skip


def main() -> None:
    """Answer requests until the input ends."""
    # Bubblewrap's own process is the first. Elsewhere the signals below would hit the host's.
    if os.getpid() != 2 or os.getppid() != 1:
        sys.exit("the sandbox has no process namespace of its own")
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)
    site.setquit()
    gc.collect()
    gc.freeze()
    condition = _condition()
    _answer(answers, b"")
    while (request := _read_frame(requests)) is not None:
        options, body = request
        if _condition() != condition:
            os._exit(1)
        size = options["code"]
        answer, gone = run(body[:size], body[size:], options)
        clean = _clear() and gone
        _answer(answers, answer)
        if not clean:
            os._exit(1)


def run(code: bytes, given: bytes, options: dict[str, Any]) -> tuple[bytes, bool]:
    """One call: JSON facts, standard output, standard error in one frame; whether all ended."""
    began = time.monotonic()
    out, error, facts = os.pipe(), os.pipe(), os.pipe()
    stdin = os.memfd_create("stdin")
    with open(stdin, "wb", closefd=False) as file:
        file.write(given)
    os.lseek(stdin, 0, os.SEEK_SET)
    child = os.fork()
    if not child:
        try:
            _become(stdin, out[1], error[1], facts[1], options)
            _run_code(code, options["code_name"])
        finally:
            os._exit(1)
    for descriptor in (out[1], error[1], facts[1], stdin):
        os.close(descriptor)
    found, status = _watch(child, out[0], error[0], began + options["seconds"], options["output"])
    ended = os.waitpid(child, 0)[1]
    gone = _kill_all()
    for descriptor, parts in ((out[0], found[0]), (error[0], found[1])):
        if gone and not status:
            status = _drain(descriptor, parts, found, options["output"])
        os.close(descriptor)
    exception = _read_facts(facts[0])
    stdout, stderr = (b"".join(parts)[: options["output"]] for parts in found)
    stderr = stderr[: options["output"] - len(stdout)]
    status, reason = _status(status, ended, exception)
    told = {"status": status, "error": reason, "seconds": time.monotonic() - began}
    head = json.dumps(told).encode("ascii")
    return FRAME.pack(len(head), len(stdout)) + head + stdout + stderr, gone


def _become(stdin: int, out: int, error: int, facts: int, options: dict[str, Any]) -> None:
    """In the child: its own session, three streams and `facts` at 3, limits for good."""
    os.setsid()
    facts = os.dup(facts)
    for source, target in ((stdin, 0), (out, 1), (error, 2)):
        os.dup2(source, target)
    os.dup2(facts, 3)
    os.closerange(4, 256)
    os.chdir(FOLDER)
    cpu = int(options["seconds"]) + 1
    limits = {
        resource.RLIMIT_AS: (options["memory"],) * 2,
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_FSIZE: (options["file_bytes"],) * 2,
        resource.RLIMIT_NOFILE: (64, 64),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NPROC: (options["tasks"],) * 2,
    }
    for limit, (soft, hard) in limits.items():
        resource.setrlimit(limit, (soft, hard))


def _run_code(code: bytes, name: str) -> None:
    """In the child: run as `__main__`, tell the supervisor what ended it, and end."""
    import random

    random.seed()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = [name]
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape"
    )
    sys.stdout, sys.stderr = (_writer(descriptor) for descriptor in (1, 2))
    code_exit, fact = 0, ""
    try:
        exec(compile(code, name, "exec", dont_inherit=True), module.__dict__)
        sys.stdout.flush()
    except SystemExit as error:
        code_exit = error.code if isinstance(error.code, int) else int(error.code is not None)
        fact = f"exit {code_exit}" if code_exit else ""
    except BaseException as error:
        code_exit, fact = 1, type(error).__name__
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    with contextlib.suppress(BaseException):
        os.write(3, fact.encode("utf-8", "replace")[:200])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code_exit & 0xFF)


def _writer(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")


def _watch(
    child: int, out: int, error: int, deadline: float, output: int
) -> tuple[tuple[list[bytes], list[bytes]], str]:
    """Read both streams until the child ends; what was read, and which limit was reached."""
    poll, ended = select.poll(), os.pidfd_open(child)
    found: dict[int, list[bytes]] = {out: [], error: []}
    for descriptor in (out, error, ended):
        poll.register(descriptor, select.POLLIN)
    size, status = 0, ""
    while not status:
        left = deadline - time.monotonic()
        if left <= 0:
            status = "timed out"
            break
        ready = [descriptor for descriptor, _ in poll.poll(min(left * 1000, TICK_MILLISECONDS))]
        for descriptor in ready:
            if descriptor == ended:
                continue
            part = os.read(descriptor, 1 << 16)
            found[descriptor].append(part)
            size += len(part)
            if not part:
                poll.unregister(descriptor)
        if size > output:
            status = "output"
        elif ended in ready:
            break
        elif not ready and _file_count() > FILES:
            status = "output"
    os.close(ended)
    if status:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return (found[out], found[error]), status


def _drain(descriptor: int, parts: list[bytes], found: Iterable[list[bytes]], output: int) -> str:
    """What still lies in a pipe that nobody writes to any more; the limit it reached, if any."""
    size = sum(len(part) for stream in found for part in stream)
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
        size += len(part)
    return "output" if size > output else ""


def _status(status: str, ended: int, exception: str) -> tuple[str, str]:
    if status:
        return status, ""
    if os.WIFSIGNALED(ended):
        number = os.WTERMSIG(ended)
        if number == signal.SIGXCPU:
            return "timed out", "CPU"
        return "killed", signal.Signals(number).name if number < 32 else f"signal {number}"
    if exception == "MemoryError":
        return "memory", exception
    code = os.WEXITSTATUS(ended)
    return ("error", exception or f"exit {code}") if code else ("ok", "")


def _read_facts(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as file:
        return file.read(200).decode("utf-8", "replace")


def _kill_all() -> bool:
    """Kill all other processes in here (the kernel spares the first one); whether all are gone."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return True
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.0005)
    return False


def _file_count() -> int:
    found = os.statvfs(FOLDER)
    return found.f_files - found.f_ffree


def _clear() -> bool:
    """Empty the one folder that can be written to; whether it is empty."""
    try:
        os.chmod(FOLDER, 0o700)
        for entry in os.scandir(FOLDER):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            for _, _, _, descriptor in os.fwalk(entry.path, follow_symlinks=False):
                os.fchmod(descriptor, 0o700)
            shutil.rmtree(entry.path)
        return not os.listdir(FOLDER)
    except (OSError, RecursionError):
        return False


def _condition() -> tuple[Any, ...]:
    """All that another process of the same user could change about this one."""
    process = os.getpid()
    return (
        [resource.getrlimit(limit) for limit in LIMITS],
        os.getpriority(os.PRIO_PROCESS, process),
        os.sched_getscheduler(0),
        os.sched_getaffinity(0),
        os.getpgid(0),
    )


def _answer(file: BinaryIO, body: bytes) -> None:
    data = json.dumps({"kind": "bytes", "cpu": time.process_time()}).encode("ascii")
    file.write(FRAME.pack(len(data), len(body)))
    file.write(data)
    file.write(body)
    file.flush()


def _read_frame(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    start = file.read(FRAME.size)
    if len(start) < FRAME.size:
        return None
    header, body = FRAME.unpack(start)
    return json.loads(file.read(header))["options"], file.read(body)


if __name__ == "__main__":
    main()
