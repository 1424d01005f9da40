"""A folder of mixed documents with known faults, and a plan small enough to build it in seconds."""

from __future__ import annotations

import json
import random
from pathlib import Path

SMALL_PLAN = [
    # More threads would wait for each other at every operation of so small a model.
    "train.threads=1",
    "train.tokens=20000",
    "train.batch_tokens=512",
    'model.size="26k"',
    "model.context=64",
    "tokens.vocabulary=400",
    "evaluate.queries=20",
    "evaluate.bytes=20000",
    "evaluate.curation_seeds=1",
    "split.share=0.15",
    "documents.block_bytes=20000",
]


def write_mixed(folder: Path, count: int = 200, seed: int = 1) -> None:
    """Files of many kinds with known faults: three short ones, one binary, one empty, a copy."""
    chance = random.Random(seed)
    nouns = "court tenant landlord rent notice contract deposit repair judge appeal".split()
    verbs = "pays owes signs ends breaks renews asks grants denies keeps".split()
    folder.mkdir(parents=True, exist_ok=True)

    def sentence() -> str:
        return (
            f"The {chance.choice(nouns)} {chance.choice(verbs)} the {chance.choice(nouns)} "
            f"in case {chance.randint(1, 9999)} before the {chance.choice(nouns)}."
        )

    for number in range(count):
        text = "\n".join(sentence() for _ in range(chance.randint(6, 14)))
        name = folder / f"{number:03}"
        kind = number % 5
        if number in (10, 20, 30):
            name.with_suffix(".txt").write_text("short one\n")
        elif number == 40:
            name.with_suffix(".bin").write_bytes(bytes(range(256)) * 4)
        elif number == 50:
            name.with_suffix(".txt").write_text("")
        elif kind == 0:
            name.with_suffix(".txt").write_text(text)
        elif kind == 1:
            name.with_suffix(".md").write_text(f"# Case {number}\n\n{text}\n")
        elif kind == 2:
            paragraphs = "".join(f"<p>{line}</p>" for line in text.splitlines())
            name.with_suffix(".html").write_text(
                f"<html><head><title>Case {number}</title></head><body>{paragraphs}</body></html>"
            )
        elif kind == 3:
            body = text.replace("\n", "\n    ")
            name.with_suffix(".py").write_text(f'def case_{number}():\n    """{body}\n    """\n')
        else:
            lines = [
                json.dumps({"text": line * 3, "n": i}) for i, line in enumerate(text.split("\n"))
            ]
            name.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    (folder / "copy.txt").write_text((folder / "005.txt").read_text())
