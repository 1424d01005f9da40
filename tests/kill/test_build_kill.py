"""A build killed at each kind of write, and at random moments, ends with the same bytes."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tilth.testing.faults import tree
from tilth.testing.mixed import write_mixed

PROGRAM = str(Path(__file__).with_name("build_program.py"))

# One write of each kind: the moment, and what the path of the file holds.
KINDS = [
    ("write", "tokens/tokenizer/tokenizer.json"),
    ("rename", "tokens/train/"),
    ("done", "ngram/"),
    ("write", "model/model.safetensors"),
    ("rename", "report/report.html"),
]


def start(*words):
    return subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, words)], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(*words):
    process = start(*words)
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "documents"
    write_mixed(folder, count=40)
    return folder


@pytest.fixture(scope="module")
def expected(documents, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    finish(documents, out)
    return tree(out)


def test_killed_once_at_each_kind_of_write(documents, expected, tmp_path):
    out = tmp_path / "run"
    for moment, pattern in KINDS:
        process = start(documents, out, moment, pattern)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, (pattern, errors[-2000:])
        assert not (out / "report" / "manifest.json").exists()
    finish(documents, out)
    assert tree(out) == expected


def test_killed_at_four_random_moments(documents, expected, tmp_path):
    out, chance = tmp_path / "run", random.Random(0)
    killed = 0
    # The whole takes a few seconds; a moment after its end kills nothing and is drawn again.
    while killed < 4:
        process = start(documents, out)
        try:
            process.wait(timeout=chance.uniform(0.5, 6.0))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        else:
            assert process.returncode == 0, process.stderr.read()[-2000:]
            break
        finally:
            process.communicate()
    finish(documents, out)
    assert tree(out) == expected


@pytest.mark.soak
def test_soak_every_write_and_a_thousand_kills(documents, expected, tmp_path):
    """Hours. Every moment of every write of the whole build, then 1,000 random kills."""
    from tilth.build.plan import Plan
    from tilth.build.run import build
    from tilth.testing.faults import count_moments
    from tilth.testing.mixed import SMALL_PLAN

    plan = Plan().with_settings(SMALL_PLAN)
    moments = count_moments(lambda: build(documents, tmp_path / "count", plan=plan, workers=1))
    for number in range(len(moments)):
        out = tmp_path / f"write-{number}"
        process = start(documents, out, "number", number)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, number
        finish(documents, out)
        assert tree(out) == expected, moments[number]
    chance, out = random.Random(1), tmp_path / "random"
    for _ in range(1_000):
        process = start(documents, out)
        try:
            process.wait(timeout=chance.uniform(0.2, 8.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    finish(documents, out)
    assert tree(out) == expected
