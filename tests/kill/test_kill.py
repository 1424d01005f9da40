"""Killed at any write, build, train and index finish after a restart with the same bytes.

Each program is a process of its own, since it forks: no thread of other tests may be in it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path):
    # Killing a process loses nothing that the system already has, so memory will do for a disk.
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield made
    shutil.rmtree(made)


def run(program, *words):
    done = subprocess.run(
        [sys.executable, str(HERE / program), *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_fault_at_every_write_of_corpus_and_index(folder):
    moments = int(run("corpus_at_every_write.py", folder).split()[-1])
    assert moments >= 4 * 40


def test_a_build_killed_at_each_kind_of_write_and_at_random(folder):
    assert int(run("build_killed.py", folder).split()[0]) >= 1


@pytest.mark.soak
def test_soak_each_write_of_corpus_and_index_by_itself(folder):
    assert int(run("corpus_at_every_write.py", folder, "--soak").split()[-1]) >= 4 * 40


@pytest.mark.soak
def test_soak_every_write_of_a_build_and_a_thousand_kills(folder):
    print(run("build_killed.py", folder, "--soak"))
