"""Steps that are done once: what a step was made from decides whether it is made again.

`steps/NAME.json` in the run folder holds the digest of all that the step depends on, and, when it
is finished, the digests of what it left. A killed step continues where its parts allow it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tilth import __version__
from tilth.store.digest import digest_value, sha256_file
from tilth.store.events import Events
from tilth.store.manifest import NAME, is_complete
from tilth.store.write import read_json, write_json

LIBRARIES = ("numba", "numpy", "pyarrow", "tokenizers", "torch", "transformers")


def step(
    run: Path, name: str, made_from: Any, folders: Sequence[str], work: Callable[[], Any]
) -> dict[str, Any]:
    """Do `work` unless it was done from the same things; returns the record of the step.

    `folders` below the run folder are the step's results, each ending with a manifest. What was
    made from other things is deleted first. `work` may return JSON values to keep in the record.
    """
    path, made = run / "steps" / f"{name}.json", digest_value([versions(), made_from])
    record = read_json(path) if path.is_file() else {}
    if record.get("made_from") == made and record.get("outputs") == _outputs(run, folders):
        return dict(record)
    if record.get("made_from") != made:
        for folder in folders:
            shutil.rmtree(run / folder, ignore_errors=True)
        write_json(path, {"made_from": made})
    began, cpu = time.monotonic(), time.process_time()
    result = work()
    record = {"made_from": made, "outputs": _outputs(run, folders), "result": result}
    write_json(path, record)
    Events(run / "events.jsonl").write(
        "step",
        step=name,
        seconds=round(time.monotonic() - began, 3),
        cpu_seconds=round(time.process_time() - cpu, 3),
    )
    return record


def versions() -> dict[str, str]:
    """What results depend on besides data and plan: another version makes a step again."""
    return {"tilth": __version__, **{name: metadata.version(name) for name in LIBRARIES}}


def _outputs(run: Path, folders: Sequence[str]) -> dict[str, str | None]:
    return {
        folder: sha256_file(run / folder / NAME) if is_complete(run / folder) else None
        for folder in folders
    }
