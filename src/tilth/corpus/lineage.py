"""What ran on what with which parameters: `lineage.jsonl`, one record a step, no times.

A record is appended when a step finishes, unless the last record of the same step and layer says
the same already; so a run that was killed and continued leaves the same lineage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tilth.store.digest import canonical_json
from tilth.store.write import write_text

NAME = "lineage.jsonl"


def read_lineage(folder: str | Path) -> list[dict[str, Any]]:
    path = Path(folder) / NAME
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def record(folder: str | Path, step: str, layer: str, **fields: Any) -> None:
    """Note a finished step. `fields` are JSON values: made_by, parameters, input, output."""
    records = read_lineage(folder)
    new = json.loads(canonical_json({"step": step, "layer": layer, **fields}))
    name = fields.get("made_by", "").split("@")[0]
    same = [
        old
        for old in records
        if old["step"] == step
        and old["layer"] == layer
        and old.get("made_by", "").split("@")[0] == name
    ]
    if same and same[-1] == new:
        return
    lines = [canonical_json(entry) + "\n" for entry in [*records, new]]
    write_text(Path(folder) / NAME, "".join(lines))
