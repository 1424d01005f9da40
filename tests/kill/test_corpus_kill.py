"""A fault at every write of a 200-document corpus and index: the same bytes after a restart."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("corpus_at_every_write.py")


def test_a_fault_at_every_write_of_corpus_and_index(tmp_path):
    # A process of its own: children are forked, and neither torch nor test threads may be in it.
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    moments = int(done.stdout.split()[-1])
    assert moments > 200
