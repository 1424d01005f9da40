"""Kill a corpus and index build at every moment of every write, restart, compare all bytes."""

import os
import random
import shutil
import sys
from pathlib import Path

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.rules import Rule
from tilth.corpus.transforms.base import Chain
from tilth.corpus.transforms.headers import StripHeaders
from tilth.corpus.transforms.repair import Repair
from tilth.retrieval.bm25 import BM25
from tilth.signals.length import Length
from tilth.signals.repetition import Repetition
from tilth.store.manifest import is_complete
from tilth.store.write import remove_temporary
from tilth.testing.faults import count_moments, run_until, tree

# Processes at a time; each takes every so many-th moment.
WORKERS = 2


def write_documents(folder: Path, count: int) -> None:
    chance = random.Random(0)
    words = [f"word{i}" for i in range(300)]
    folder.mkdir(parents=True)
    for number in range(count):
        text = " ".join(chance.choice(words) for _ in range(chance.randint(3, 40)))
        (folder / f"{number:03}.txt").write_text(text + "\n")


def work(documents: Path, out: Path) -> None:
    remove_temporary(out)
    corpus = Corpus(out / "corpus", executor=LocalExecutor(1), block_bytes=20_000)
    corpus.add([documents])
    corpus.transform(Chain([Repair(), StripHeaders()]))
    corpus.measure([Length(), Repetition()])
    corpus.find_duplicates()
    corpus.select(Rule({"long enough": "words >= 8"}))
    corpus.split(0.1)
    if not is_complete(out / "index"):
        index = BM25()
        index.fit({d.id: d.text for d in corpus.documents(kept=True)})
        index.save(out / "index")


def strike_at(moments: list[tuple[str, str]], worker: int, base: Path, expected: dict) -> None:
    documents, out = base / "documents", base / f"struck-{worker}"
    for strike in range(worker, len(moments), WORKERS):
        assert run_until(lambda: work(documents, out), strike)
        assert not run_until(lambda: work(documents, out), len(moments) + 1)
        found = tree(out)
        assert found == expected, (moments[strike], set(found.items()) ^ set(expected.items()))
        shutil.rmtree(out)


def main() -> None:
    base = Path(sys.argv[1])
    write_documents(base / "documents", 200)
    moments = count_moments(lambda: work(base / "documents", base / "whole"))
    expected = tree(base / "whole")
    assert "torch" not in sys.modules
    children = []
    for worker in range(WORKERS):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                strike_at(moments, worker, base, expected)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * WORKERS
    print(len(moments))


main()
