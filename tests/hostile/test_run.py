"""A folder of hostile files among good ones: the run ends well, in bounded memory, and says why."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tilth.testing.hostile_files import GOOD, READ, write_files

# The libraries take 80 to 150 MB before a file is read; a line may have 64 MB, and is held as
# bytes, as text and as what was parsed of it. A child is never given more than 1 GiB.
PARENT_BYTES = 600 << 20
CHILD_BYTES = 400 << 20
PROGRAM = Path(__file__).with_name("run_all.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(what the files are known for, what a corpus of them holds and cost)."""
    folder = tmp_path_factory.mktemp("hostile")
    known = write_files(folder / "in")
    outside = sorted(path for path in folder.parent.rglob("*") if folder not in path.parents)
    command = [sys.executable, str(PROGRAM), str(folder / "in"), str(folder / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    after = sorted(path for path in folder.parent.rglob("*") if folder not in path.parents)
    assert after == outside, "something was written outside"
    assert sorted(os.listdir(folder)) == ["corpus", "in"]
    return known, json.loads(done.stdout.splitlines()[-1])


def of(entries, name):
    """What came of a file, or of what lies in it."""
    return [e for e in entries if e[0] == f"in/{name}" or e[0].startswith(f"in/{name}!")]


def test_every_file_is_read_or_listed_with_its_reason(run):
    known, result = run
    assert len(known) >= 55
    for name, reason in known.items():
        reasons = {entry[1] for entry in of(result["problems"], name)}
        assert reason == READ or reason in reasons, (name, reason, reasons)
        if reason == READ:
            assert of(result["documents"], name) and not reasons, (name, reasons)


def test_good_neighbours_are_read(run):
    _, result = run
    texts = {source: text for source, text in result["documents"]}
    for name in ("a.txt", "bombs/good.txt", "zz.txt"):
        assert texts[f"in/{name}"] == GOOD
    # So are good members beside bad ones, and good lines and records.
    for name in ("bombs/flat.zip", "archives/slip.zip", "archives/slip.tar", "archives/odd.tar",
                 "archives/checksum.zip", "warc/too_short.warc", "warc/too_long.warc",
                 "warc/bomb.warc", "long/line.jsonl", "warc/cut.warc.gz"):  # fmt: skip
        assert GOOD.strip() in {e[1].strip() for e in of(result["documents"], name)}, name
    assert len(of(result["documents"], "long/field.csv")) == 2
    assert len(of(result["documents"], "warc/too_long.warc")) == 4


def test_no_path_of_this_machine_is_told(run, tmp_path_factory):
    root = str(tmp_path_factory.getbasetemp())
    _, result = run
    assert root not in json.dumps([result["documents"], result["problems"]])
    assert not any(source.startswith("/") for source, *_ in result["documents"])


def test_memory_stays_bounded(run):
    _, result = run
    assert 0 < result["before"] < result["parent"] < PARENT_BYTES
    assert 0 < result["children"] < CHILD_BYTES
