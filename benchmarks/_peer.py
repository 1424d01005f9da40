"""datatrove in an environment of its own, and children whose CPU seconds are counted.

A part of `curate.py` and `_freeze_web_rules.py`; alone it does nothing.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PACKAGES = ["datatrove==0.10.1", "xxhash==3.8.2", "spacy==3.8.18", "regex", "orjson", "tokenizers"]
MODULES = "datatrove, spacy, xxhash, regex, orjson, tokenizers"
# Neither side uses the thread pools that numpy's library starts, and whose waiting is CPU time.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
PEER = Path(__file__).with_name("_datatrove.py")


def peer_python(path: str | None) -> Path:
    """An interpreter with datatrove: the one named, or that of an environment made in a folder.

    A folder without an environment, or without datatrove, gets it from the package index that pip
    is set up for; an interpreter is taken as it is.
    """
    place = Path(path) if path else Path(tempfile.gettempdir()) / "tilth-datatrove"
    python, reason = environment(place, PACKAGES, MODULES)
    if reason:
        sys.exit(f"{python} cannot be the peer: {reason}\nit needs: {' '.join(PACKAGES)}")
    return python


def environment(place: Path, packages: list[str], modules: str) -> tuple[Path, str]:
    """(interpreter, why it cannot import the modules, else ""). A folder is made an environment
    and gets the packages where they lack; an interpreter is taken as it is."""
    python = place if place.is_file() else place / "bin" / "python"
    if not python.is_file():
        print(f"making an environment with {packages[0]} in {place}", file=sys.stderr)
        venv.create(place, with_pip=True)
    check = [python, "-c", f"import {modules}"]
    asked = subprocess.run(check, capture_output=True, text=True)
    said = ""
    if asked.returncode and python != place:
        install = [python, "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(install, stderr=subprocess.PIPE, text=True, check=False)
        print(done.stderr, end="", file=sys.stderr)
        said = done.stderr.strip() if done.returncode else ""
        asked = subprocess.run(check, capture_output=True, text=True)
    if not asked.returncode:
        return python, ""
    return python, (said or asked.stderr.strip()).splitlines()[-1]


def peer_versions(python: Path) -> dict[str, str]:
    """Versions of what decides and of what hashes."""
    names = [package.split("==")[0] for package in PACKAGES[:3]]
    code = f"from importlib.metadata import version as v; print(*[v(n) for n in {names!r}])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return dict(zip(names, found.stdout.split()))


def run_child(command: list, job: dict, **environment: str) -> dict:
    """What a child says of itself, and `whole`: its CPU seconds with its own children's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*map(str, command), json.dumps(job)],
        capture_output=True, text=True, env={**os.environ, **ONE_THREAD, **environment},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        raise SystemExit(f"{Path(str(command[1])).name} {job['job']} failed: {done.returncode}")
    whole = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {**json.loads(done.stdout.splitlines()[-1]), "whole": whole}


def peer(python: Path, job: dict) -> dict:
    return run_child([python, PEER], job)
