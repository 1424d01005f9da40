"""Kill a small build at each kind of write and at random moments; compare all bytes.

build_killed.py FOLDER            one write of each kind, then four random moments
build_killed.py FOLDER --soak     every write, then 1,000 random moments (hours)

What a build needs is imported once and children are forked, so a start costs little. The parent
computes nothing: no thread of torch or of the tokenizers runs in it.
"""

import importlib
import random
import sys
from pathlib import Path

import matplotlib.figure  # noqa: F401
import torch  # noqa: F401
from transformers import LlamaForCausalLM  # noqa: F401

from tilth.build import plan as plans
from tilth.build.run import build
from tilth.testing.faults import run_for, run_until, tree
from tilth.testing.mixed import SMALL_PLAN, write_mixed

# One write of each kind: the moment, and what the path of the file holds.
KINDS = [
    ("write", "plan.resolved.toml"),
    ("write", "tokens/tokenizer/tokenizer.json"),
    ("rename", "tokens/train/"),
    ("done", "ngram/"),
    ("write", "model/model.safetensors"),
    ("write", "encoder/model.safetensors"),
    ("rename", "index/dense/vectors.npy"),
    ("rename", "report/report.html"),
]


def at(moment: str, pattern: str):
    return lambda now, path: now == moment and pattern in path.as_posix()


def main() -> None:
    base, soak = Path(sys.argv[1]), "--soak" in sys.argv
    documents = base / "documents"
    write_mixed(documents, count=40)
    # One signal: all are written alike, and the report draws each of their columns, seventy else.
    plans.MEASURED = ["length"]
    plan = plans.Plan(rule=plans.Rule(conditions={"has words": "words >= 10"}))
    plan = plan.with_settings([*SMALL_PLAN, "train.tokens=10240"])

    def into(name: str):
        return lambda: build(documents, base / name, plan=plan, workers=1)

    def whole() -> None:
        into("whole")()
        (base / "loaded").write_text("\n".join(sys.modules))

    assert not run_until(whole, -1)
    # What is imported on the way is imported once, too.
    for name in (base / "loaded").read_text().split():
        importlib.import_module(name)
    expected = tree(base / "whole")

    def finished(name: str, what: object) -> None:
        assert not run_until(into(name), -1)
        found = tree(base / name)
        assert found == expected, (what, set(found.items()) ^ set(expected.items()))

    if soak:
        number = 0
        while run_until(into(f"write-{number}"), number):
            finished(f"write-{number}", number)
            number += 1
        print(number, "writes")
    else:
        for moment, pattern in KINDS:
            assert run_until(into("kinds"), at(moment, pattern)), pattern
            assert not (base / "kinds" / "report" / "manifest.json").exists()
        finished("kinds", KINDS)
    chance, killed = random.Random(0), 0
    for _ in range(1_000 if soak else 4):
        # The whole takes a few seconds.
        killed += run_for(into("random"), chance.uniform(0.1, 2.5))
    finished("random", "random moments")
    print(killed, "kills")


main()
