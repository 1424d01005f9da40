"""Kill a corpus and index build at every moment of every write, restart, compare all bytes.

corpus_at_every_write.py FOLDER           all moments, one after the other in one folder; beside it
                                          one moment of each kind by itself, in an empty folder
corpus_at_every_write.py FOLDER --soak    every moment by itself (minutes)
"""

import os
import random
import re
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
from tilth.testing.faults import list_moments, run_until, tree

Moment = tuple[str, Path]


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


def kind(moment: str, path: Path) -> tuple[str, str]:
    """Blocks differ by their number, arrays by what is in them: they are written alike."""
    name = path.suffix if path.suffix == ".npy" else re.sub(r"\d+", "#", path.name)
    return moment, name


def finished(documents: Path, out: Path, expected: dict, what: object) -> None:
    assert not run_until(lambda: work(documents, out), -1)
    found = tree(out)
    assert found == expected, (what, set(found.items()) ^ set(expected.items()))
    shutil.rmtree(out)


def strike_in_turn(moments: list[Moment], base: Path, expected: dict) -> None:
    """One folder: each start goes on with what the last one left, and dies one moment later."""
    out = base / "in-turn"
    for moment, path in moments:
        now = (moment, out / path)
        assert run_until(
            lambda: work(base / "documents", out), lambda *seen, now=now: seen == now
        ), now
    finished(base / "documents", out, expected, "in turn")


def strike_alone(numbers: list[int], moments: list[Moment], base: Path, expected: dict) -> None:
    for number in numbers:
        out = base / f"alone-{number}"
        assert run_until(lambda out=out: work(base / "documents", out), number)
        finished(base / "documents", out, expected, moments[number])


def beside(*parts) -> None:
    """Each part in a process of its own; all must end well."""
    children = []
    for part in parts:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                part()
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(parts)


def main() -> None:
    base, soak = Path(sys.argv[1]), "--soak" in sys.argv
    write_documents(base / "documents", 200)
    whole = base / "whole"
    moments = [
        (moment, path.relative_to(whole))
        for moment, path in list_moments(lambda: work(base / "documents", whole))
    ]
    expected = tree(whole)
    assert "torch" not in sys.modules
    if soak:
        some = [range(part, len(moments), 2) for part in range(2)]
        beside(*[lambda n=numbers: strike_alone(n, moments, base, expected) for numbers in some])
    else:
        # The last of each kind.
        kinds = {kind(*moment): number for number, moment in enumerate(moments)}
        beside(
            lambda: strike_in_turn(moments, base, expected),
            lambda: strike_alone(list(kinds.values()), moments, base, expected),
        )
    print(len(moments))


main()
