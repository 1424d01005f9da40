"""What ran on what with which parameters: `lineage.jsonl`, one record a step, no times.

It says how the corpus as it now is was made. A step that runs again with other parameters takes
the place of its earlier record; a run that was killed and continued leaves the same lineage.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilth.store.digest import canonical_json
from tilth.store.write import write_text

NAME = "lineage.jsonl"

# Step, layer, and the name of what was applied.
Key = tuple[str, str, str]


# Of these steps the last one on a layer counts, whatever was applied.
SINGLE = ("duplicates", "transform")


def key_of(entry: dict[str, Any]) -> Key:
    name = "" if entry["step"] in SINGLE else entry.get("made_by", "").split("@")[0]
    return entry["step"], entry["layer"], name


def read_lineage(folder: str | Path) -> list[dict[str, Any]]:
    path = Path(folder) / NAME
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def record(folder: str | Path, step: str, layer: str, **fields: Any) -> Key:
    """Note a finished step. `fields` are JSON values: made_by, parameters, input, output."""
    records = read_lineage(folder)
    new = json.loads(canonical_json({"step": step, "layer": layer, **fields}))
    places = [place for place, old in enumerate(records) if key_of(old) == key_of(new)]
    changed = [*records]
    if places:
        changed[places[0]] = new
    else:
        changed.append(new)
    if changed != records:
        _write(folder, changed)
    return key_of(new)


def keep(folder: str | Path, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Keep only these records, in this order; returns them."""
    records = read_lineage(folder)
    by_key = {key_of(entry): entry for entry in records}
    kept = [by_key[key] for key in dict.fromkeys(keys)]
    if kept != records:
        _write(folder, kept)
    return kept


def _write(folder: str | Path, records: Sequence[dict[str, Any]]) -> None:
    write_text(Path(folder) / NAME, "".join(canonical_json(entry) + "\n" for entry in records))
