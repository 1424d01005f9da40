"""The data of the system `llm-decontaminator`: rephrasings hidden among clean rows, and scores."""

from __future__ import annotations

import functools
import gzip
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilth.data.sets import Source, digest_path
from tilth.errors import DamagedError, DataError
from tilth.evaluation.card import Ratio
from tilth.evaluation.rephrased import Rephrasings, judge_candidates, pair_judge
from tilth.evaluation.rephrased_candidates import Candidates, nearest_items
from tilth.evaluation.rephrased_code import CodeJudge
from tilth.evaluation.rephrased_judges import Finding, PairJudge, each_pair
from tilth.sandbox.selftest import sandbox_works
from tilth.signals.contamination import shared_ngrams
from tilth.store.cache import data_folders
from tilth.systems._rephrased_mbpp import renamed, renamed_pairs, wording_pairs

# Folder -> digest of its files, licence as the source states it.
SOURCES = {
    "contamination_rephrased": ("bbe91580a1dc2a1365ae1e549259e0b4", "Apache-2.0"),
    "math_gsm8k": ("2cebe5396987e01e5871c4ee9305298a", "MIT"),
    "code_functions_csn": ("8ed1fe9b08ce7ee8b7be71a3b139d21e", "C-UDA"),
    "code_mbpp": ("e8e28a5ea52027a4056061fe4afb873b", "CC BY 4.0; prompts MIT"),
    "code_search": ("6c24f1149536d70a02d91a3b9b60e2c0", "C-UDA"),
    "code_completion": ("aad5978b77cb956ec8d25d00dbdbc245", "C-UDA; py150 MIT"),
}
# For problems that the code makes.
NAMES = ("Ann", "Bashir", "Chiara", "Dmitri", "Esther", "Femi", "Gudrun")
THINGS = ("pears", "stamps", "bottles", "marbles", "tickets")
DAYS = ("Monday", "Tuesday", "Friday", "spring", "week")
K = 5
Pairs = set[tuple[int, int]]
# How many of the nearest to look at, and how similar they must be.
Cut = tuple[int, float]


@dataclass(eq=False)
class Hidden:
    """Test items, training items, and for each test item the place of its rephrasing, or None."""

    kind: str
    tests: list[str]
    training: list[str]
    truth: list[int | None]
    judge: PairJudge | str = "rules"

    @functools.cached_property
    def candidates(self) -> Candidates:
        return nearest_items(self.tests, self.training, K)

    @functools.cached_property
    def found(self) -> Rephrasings:
        return judge_candidates(
            self.tests, self.training, self.candidates, kind=self.kind, judge=self.judge
        )

    def decide(self, pairs: Sequence[tuple[str, str]]) -> list[Finding]:
        """The judge's verdicts on pairs of texts."""
        return pair_judge(self.judge, self.kind)[1](pairs)

    def said(self, verdict: str) -> Pairs:
        """Pairs among the K nearest with this verdict."""
        return {(pair.test, pair.training) for pair in self.found.pairs if pair.verdict == verdict}

    def above(self, k: int, threshold: float) -> Pairs:
        """Pairs among the k nearest that are at least so similar."""
        return {
            (pair.test, pair.training)
            for pair in self.found.pairs
            if pair.rank <= k and pair.similarity >= threshold
        }

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def sharing(self, n: int) -> Pairs:
        """Pairs that share a run of n words."""
        hit = np.flatnonzero(shared_ngrams(self.training, self.tests, n))
        rows = [self.training[place] for place in hit]
        found: Pairs = set()
        for test, text in enumerate(self.tests if rows else ()):
            found |= {(test, int(place)) for place in hit[shared_ngrams(rows, [text], n)]}
        return found


@dataclass(eq=False)
class Inputs:
    """The two tests, and for each what was best on other data: MBPP first, then the other test."""

    code: Hidden
    maths: Hidden
    code_cuts: list[Cut]
    maths_cuts: list[Cut]


def scores(hidden: Hidden, pairs: Pairs) -> tuple[Ratio, Ratio]:
    """F1 and recall as ratios of sums over test items."""
    right, wrong = np.zeros(len(hidden.tests)), np.zeros(len(hidden.tests))
    for test, place in pairs:
        (right if hidden.truth[test] == place else wrong)[test] += 1
    there = np.array([float(place is not None) for place in hidden.truth])
    return Ratio(2 * right, right + wrong + there), Ratio(right, there)


def f1_of(hidden: Hidden, pairs: Pairs) -> float:
    """The F1 of reported pairs."""
    ratio = scores(hidden, pairs)[0]
    return float(ratio.numerators.sum() / max(ratio.denominators.sum(), 1))


def best_cut(other: Hidden) -> Cut:
    """The cut with the best F1, of 1 or K nearest."""
    truth = np.array([-1 if place is None else place for place in other.truth])
    best = (-1.0, 1, 1.0)
    for k in (1, K):
        similarities = other.candidates.similarities[:, :k].ravel()
        right = (other.candidates.places[:, :k] == truth[:, None]).ravel()
        order = np.argsort(-similarities, kind="stable")
        ranked = similarities[order]
        f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + (truth >= 0).sum())
        # A threshold cannot cut between equal values.
        f1[np.append(ranked[:-1] == ranked[1:], False)] = -1
        place = int(np.argmax(f1))
        below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
        best = max(best, (float(f1[place]), k, float(ranked[place] + below) / 2))
    return best[1], best[2]


def prepare(scale: str, seed: int, background: int) -> tuple[Inputs, tuple[Source, ...]]:
    """The inputs of one seed: which clean rows are drawn, and how other data are renamed."""
    rng = random.Random(f"rephrased {seed}")
    if scale == "smoke":
        return _made(rng), ()
    folders = {name: _folder(name) for name in SOURCES}
    rephrased, mbpp = folders["contamination_rephrased"], folders["code_mbpp"]
    tests = [row["text"] for row in _rows(rephrased / "HumanEval.jsonl.gz")]
    reworded = [row["text"] for row in _rows(rephrased / "humaneval_python.jsonl.gz")]
    tasks = list(_rows(mbpp / "mbpp.jsonl.gz"))
    prompts = list(_rows(mbpp / "mbpp_sanitized_for_code_generation.jsonl.gz"))
    clean = [*_clean_code(folders), *(f'"""{row["text"]}"""\n{row["code"]}' for row in tasks)]
    drawn = set(rng.sample(range(len(clean)), min(background, len(clean))))
    left = [clean[place] for place in range(len(clean) - len(tasks)) if place not in drawn]
    java = [row["input"] for row in _table(folders["code_completion"] / "javaCorpus.parquet")]
    code = hide("code", tests, reworded, [clean[place] for place in sorted(drawn)], rng)
    other_code = hide("code", *renamed_pairs(tasks, prompts, rng), [*left, *java], rng)
    gsm8k, train = (
        [_problem(row) for row in _rows(folders["math_gsm8k"] / f"{split}.jsonl.gz")]
        for split in ("test", "train")
    )
    reworded = [row["text"] for row in _rows(rephrased / "rephrase_gsm8k.jsonl.gz")]
    maths = hide("maths", gsm8k, reworded, rng.sample(train, min(background, len(train))), rng)
    queries = [row["doc"] for name in ("cosqa_dev", "webquery_test")
               for row in _rows(folders["code_search"] / f"{name}.jsonl.gz")]  # fmt: skip
    other_maths = hide("maths", *wording_pairs(tasks, prompts), sorted(set(queries)), rng)
    sources = tuple(Source(name, *SOURCES[name]) for name in SOURCES)
    cuts = [best_cut(hidden) for hidden in (other_code, other_maths, code, maths)]
    return Inputs(code, maths, [cuts[0], cuts[3]], [cuts[1], cuts[2]]), sources


def _problem(row: dict[str, str]) -> str:
    """A word problem with its last result, in the form of the rephrasings."""
    return f"Question: {row['question']}\nAnswer: \n#### {row['answer'].split('####')[-1].strip()}"


def hide(
    kind: str, tests: Sequence[str], reworded: Sequence[str], clean: Iterable[str],
    rng: random.Random,
) -> Hidden:  # fmt: skip
    """Shuffle the rephrasings (those that hold anything) among the clean rows."""
    rows = [(text, number) for number, text in enumerate(reworded) if text.strip()]
    rows += [(text, -1) for text in clean]
    rng.shuffle(rows)
    truth: list[int | None] = [None] * len(tests)
    for place, (_, number) in enumerate(rows):
        if number >= 0:
            truth[number] = place
    return Hidden(kind, list(tests), [text for text, _ in rows], truth)


def _clean_code(folders: dict[str, Path]) -> Iterable[str]:
    for file in sorted(folders["code_functions_csn"].glob("*.parquet")):
        for row in _table(file):
            yield f'"""{row["nl_tokens"]}"""\n{row["pl_tokens"]}'
    for name in ("cosqa_dev", "webquery_test"):
        for row in _rows(folders["code_search"] / f"{name}.jsonl.gz"):
            yield row["code"]
    for row in _table(folders["code_completion"] / "py150.parquet"):
        yield row["input"].removeprefix("<s>").replace("<EOL>", "\n")


def _made(rng: random.Random) -> Inputs:
    """Small functions and word problems, each in two wordings, with clean ones beside them."""
    functions, others, problems, again, clean = ([""] * 18 for _ in range(5))
    words = "alpha bravo count delta extra first given items lower match rows total".split()
    for n in range(18):
        deed = ("sum", "max", "len")[n % 3]
        test = (f"value > {n}", f"value % {n + 2} == 0")[n % 2]
        functions[n] = (
            "def solve(values: list[int]) -> int:\n"
            f'    """{deed} of those where {test}."""\n'
            f"    chosen = [value for value in values if {test}]\n"
            f"    return {deed}([0, *chosen])\n"
        )
        others[n] = renamed(functions[n], words, rng, f"Give the {deed} over what has {test}.")
        a, b = rng.randint(2, 99), rng.randint(2, 99)
        end = f"\nAnswer: \n#### {a + b}"
        who, what, day = NAMES[n % len(NAMES)], THINGS[n % len(THINGS)], DAYS[n % len(DAYS)]
        problems[n] = f"{who} has {a} {what} and buys {b} more. How many are there?{end}"
        again[n] = f"{who} buys {b} {what} on top of {a}. How many in all?{end}"
        clean[n] = f"Of {a + b} tins in a shop {b} were sold last {day}; say what was left of them."
        clean[n] += f"\nAnswer: \n#### {a}"
    code = hide("code", functions[:6], others[:6], others[6:], rng)
    code.judge = CodeJudge(workers=1) if sandbox_works() else each_pair(_unjudged)
    maths = hide("maths", problems[:8], again[:8], clean[:12], rng)
    other = hide("maths", problems[8:], again[8:], clean[6:], rng)
    return Inputs(code, maths, [(1, 0.2)], [best_cut(other)])


def _unjudged(left: str, right: str) -> Finding:
    return Finding("unknown", "no sandbox on this machine")


def _folder(name: str) -> Path:
    """Where a source lies. Raises DataError, and DamagedError where it is another one."""
    for folder in data_folders():
        if (folder / name).is_dir():
            if digest_path(folder / name) != SOURCES[name][0]:
                raise DamagedError("holds other files than those measured here",
                                   where=str(folder / name))  # fmt: skip
            return folder / name
    raise DataError(
        f"data set {name!r} is not on this machine",
        hint=f"put it into a folder {name} and type: export TILTH_DATA=the folder above it",
    )


def _rows(file: Path) -> Iterable[Any]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _table(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(file).to_pylist()
