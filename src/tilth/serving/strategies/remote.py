"""A drafter in a process of its own, with one thread, so that target and draft work side by side.

    with RemoteDrafter("my-small-model") as drafter: ...

The child is this module, run by the same Python; it reads commands from its standard input and
writes answers to its standard output, each a line of JSON and, behind it, an array's bytes. It ends
with its input: when it is closed, or when the parent is no more; a Ctrl-C is for the parent alone,
which may finish what is under way. Where the child has died, `finish` raises DataError, without a
path, since it may go to whoever asked a server; the next `begin` starts another.

Chances of a sampled draft travel as float64, (tokens, vocabulary): the very numbers that the tokens
were drawn from. At temperature 0 only the tokens do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from tilth.errors import DataError, TilthError
from tilth.serving.sampler import Sampling
from tilth.serving.strategies.drafting import Draft, Drafter, Script

SECONDS_TO_END = 5.0


class RemoteDrafter:
    """Serves a `Drafter` of the model in `folder`. Usable as a context manager."""

    def __init__(self, folder: str | Path, dtype: str = "float32") -> None:
        self.folder, self.dtype = Path(folder).resolve(), dtype
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting = False

    def __enter__(self) -> RemoteDrafter:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.stop()

    def run(self) -> None:
        """Start the child where none runs, and wait until it has loaded its model."""
        try:
            self._run()
        except DataError as error:
            raise DataError(error.what, where=str(self.folder)) from None

    def _run(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        self.stop()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tilth.serving.strategies.remote", str(self.folder), self.dtype],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            start_new_session=True,
        )  # fmt: skip
        self._answer()

    def begin(
        self, prompt: Sequence[int], sampling: Sampling, *, vocabulary: int, tokens: int,
        script: Script | None = None,
    ) -> None:  # fmt: skip
        """As `Drafter.begin`; starts the child where none runs."""
        self._run()
        self._drain()
        settings = asdict(sampling)
        settings["bias"] = list(sampling.bias.items())
        said = None if script is None else [list(script.tokens), script.rate, script.seed]
        self._ask({"do": "begin", "prompt": list(prompt), "sampling": settings,
                   "vocabulary": vocabulary, "tokens": tokens, "script": said})  # fmt: skip
        self._answer()

    def start(self, known: Sequence[int], count: int) -> None:
        """Let the child draft; returns at once."""
        self._drain()
        self._ask({"do": "draft", "known": list(known), "count": count})
        self._waiting = True

    def finish(self) -> Draft:
        """What the child drafted, waited for."""
        self._waiting = False
        said, chances = self._answer()
        return Draft(said["tokens"], chances)

    def close(self) -> None:
        """The request is over; the child stays for the next."""

    def stop(self) -> None:
        """End the child."""
        child, self._child, self._waiting = self._child, None, False
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # it has died with something unread
        try:
            child.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def __del__(self) -> None:
        self.stop()

    def _drain(self) -> None:
        """An answer that nobody waited for: the target had failed in between."""
        if self._waiting:
            self._waiting = False
            self._answer()

    def _ask(self, what: dict[str, Any]) -> None:
        assert self._child is not None and self._child.stdin is not None
        try:
            _put(self._child.stdin, what)
        except OSError:
            raise DataError("the draft model's process has ended") from None

    def _answer(self) -> tuple[dict[str, Any], np.ndarray | None]:
        if self._child is None or self._child.stdout is None:
            raise DataError("the draft model's process has ended")
        found = _take(self._child.stdout)
        if found is None:
            self.stop()
            raise DataError("the draft model's process has ended")
        if "error" in found[0]:
            raise DataError(found[0]["error"])
        return found


def _put(stream: IO[bytes], said: dict[str, Any], array: np.ndarray | None = None) -> None:
    head = {**said, "shape": None if array is None else list(array.shape)}
    stream.write(json.dumps(head).encode() + b"\n")
    if array is not None:
        stream.write(np.ascontiguousarray(array, np.float64).data)
    stream.flush()


def _take(stream: IO[bytes]) -> tuple[dict[str, Any], np.ndarray | None] | None:
    """The next message; None where there is no more."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    said = json.loads(line)
    if said["shape"] is None:
        return said, None
    size = 8 * int(np.prod(said["shape"]))
    raw = stream.read(size)
    return (said, np.frombuffer(raw).reshape(said["shape"])) if len(raw) == size else None


def serve(drafter: Drafter, commands: IO[bytes], answers: IO[bytes]) -> None:
    """Answer commands until there are no more."""
    while (found := _take(commands)) is not None:
        said = found[0]
        try:
            if said["do"] == "begin":
                settings = said["sampling"]
                settings["bias"] = {int(id): value for id, value in settings["bias"]}
                for name in ("stop", "stop_tokens"):
                    settings[name] = tuple(settings[name])
                script = None if said["script"] is None else Script(*said["script"])
                drafter.begin(said["prompt"], Sampling(**settings), script=script,
                              vocabulary=said["vocabulary"], tokens=said["tokens"])  # fmt: skip
                _put(answers, {})
            else:
                drafter.start(said["known"], said["count"])
                draft = drafter.finish()
                _put(answers, {"tokens": draft.tokens}, draft.chances)
        except TilthError as error:
            _put(answers, {"error": str(error)})
        except Exception as error:  # the parent tells its user; the child serves on
            _put(answers, {"error": f"{type(error).__name__}: {error}"[:300]})


def main() -> None:
    # What libraries print must not stand among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import torch

    from tilth.serving.opening import open_model

    torch.set_num_threads(1)
    try:
        drafter = Drafter(open_model(sys.argv[1], None, sys.argv[2], "cpu").runner)
    except TilthError as error:
        _put(answers, {"error": error.what})
        return
    _put(answers, {})
    serve(drafter, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
