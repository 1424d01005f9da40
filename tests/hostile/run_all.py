"""Makes a corpus of a folder in this process, and prints what came of it and what it cost, as JSON.

python run_all.py FOLDER CORPUS
"""

import json
import resource
import sys
from pathlib import Path

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor


def peak(pid):
    """The most memory that a process has held, in bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    told = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return 1024 * max(told, default=0)


def children():
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


def main(folder, target):
    corpus = Corpus(target, executor=LocalExecutor(1))
    before = peak("self")
    corpus.add([folder])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "before": before,
                "parent": peak("self"),
                "children": max([ended, *map(peak, children())]),
                "documents": [[d.source, d.text[:200]] for d in corpus.documents()],
                "problems": [[p.source, p.reason, p.detail] for p in corpus.problems()],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
