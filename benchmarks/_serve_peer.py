"""Peers of `serve.py`: environments of their own, and a child in each that answers jobs in turn.

A part of `serve.py`; alone it does nothing. What cannot be installed, or does not run, is no error:
its `reason` says why, and its row in the table shows that.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from _peer import environment

from tilth.errors import DataError
from tilth.serving.virtual import Ask, Step

CHILD = Path(__file__).with_name("_serve_child.py")
# The exporter of OpenVINO wants a `transformers` of its own, older one: hence environments.
PACKAGES = {
    "ctranslate2": ["ctranslate2==4.8.5", "transformers", "torch==2.13.0"],
    "openvino": ["openvino-genai==2026.4.1", "optimum-intel[openvino]", "torch==2.13.0"],
    # Compiled on the spot, which takes long and needs a C++ compiler.
    "llama": ["llama-cpp-python==0.3.36", "gguf", "safetensors"],
}
MODULES = {
    "ctranslate2": "ctranslate2, transformers, torch",
    "openvino": "openvino_genai, optimum.exporters.openvino.convert",
    "llama": "llama_cpp, gguf, safetensors",
}
# name of the row -> (peer, type of the weights, name of the converted folder)
ROWS = {
    "CTranslate2": ("ctranslate2", "float32", "ct2"),
    "CTranslate2 int8": ("ctranslate2", "int8", "ct2"),
    "OpenVINO GenAI": ("openvino", "float32", "openvino"),
    "OpenVINO int8": ("openvino", "int8", "openvino8"),
    "llama.cpp": ("llama", "float32", "llama.gguf"),
    "llama.cpp int8": ("llama", "int8", "llama8.gguf"),
}


def _python(peer: str, folder: Path) -> tuple[Path | None, str]:
    """The interpreter of a peer's environment, or why there is none."""
    try:
        place = folder / f"tilth-{peer}"
        python, reason = environment(place, PACKAGES[peer], MODULES[peer])
        if reason and peer == "openvino" and not place.is_file():
            # What the exporter brings along does not fit a torch without CUDA.
            remove = [python, "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"]
            subprocess.run(remove, check=False)
            python, reason = environment(place, PACKAGES[peer], MODULES[peer])
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"no environment: {error}"
    return (None, f"cannot be installed: {reason[:120]}") if reason else (python, "")


class Peer:
    """One engine in a process of its own; `reason` is why it cannot run, else empty."""

    def __init__(self, row: str, folder: Path, environments: Path | None) -> None:
        peer, kind, made = ROWS[row]
        self.process: subprocess.Popen | None = None
        self.version = ""
        python, self.reason = _python(peer, environments or Path(tempfile.gettempdir()))
        if python is None:
            return
        self.process = subprocess.Popen(
            [str(python), str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        given = {"peer": peer, "folder": str(folder), "made": f"{folder}-{made}", "type": kind}
        self.version = self.ask(given).get("version", "")

    def seconds(self, prompts: list[list[int]], new: int) -> float | None:
        """CPU seconds of the child for these prompts and answers; None where it cannot."""
        if self.reason:
            return None
        return self.ask({"prompts": prompts, "new": new}).get("seconds")

    def ask(self, what: dict) -> dict:
        assert self.process is not None and self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        found = json.loads(line) if line else {"error": "the process ended"}
        self.reason = found.get("error", "")
        return found

    def close(self) -> None:
        """End the child."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait()


class PeerServer:
    """A peer that takes requests as they come, as `tilth.serving.virtual.Server` of asks: seconds
    are the child's processor time."""

    def __init__(self, peer: Peer, prompts: list[list[int]]) -> None:
        self.peer, self.prompts = peer, prompts
        self.count, self.running = 0, set()

    @property
    def busy(self) -> bool:
        return bool(self.running)

    def submit(self, ask: Ask) -> int:
        number = self.count
        prompt = self.prompts[number][: ask.prompt]
        self.peer.ask({"add": prompt, "new": ask.tokens, "number": number})
        self.running.add(number)
        self.count += 1
        return number

    def step(self) -> Step:
        """Raises DataError where the peer cannot."""
        work = tuple((number, 1, 0) for number in sorted(self.running))
        found = self.peer.ask({"step": True})
        if self.peer.reason:
            raise DataError(self.peer.reason)
        self.running -= set(found["over"])
        gave, over = tuple(found["gave"]), tuple(found["over"])
        return Step(work, (), gave, over, found["seconds"], 0)
