"""Which test items are in the training data in other words: candidates first, then a judge.

Yang et al. (2023), "Rethinking Benchmark and Contamination for Language Models with Rephrased
Samples" (arXiv:2311.04850), ask a large model about the nearest training item of each test item.
Here the candidates are the k nearest by character n-grams, and the judge is one of rules, or a
generator. A verdict is yes, no or unknown; what could not be judged is never counted as clean.

When: after n-grams found nothing, for test sets whose score is to be believed. When not: as proof
that a set is clean. An item that is reworded beyond the k nearest, translated, or solved by other
means is not found; a share of contaminated items is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tilth.errors import UsageError, nearest
from tilth.evaluation.rephrased_candidates import Candidates, nearest_items, normalise
from tilth.evaluation.rephrased_code import CodeJudge
from tilth.evaluation.rephrased_judges import (
    SAME,
    AskJudge,
    Finding,
    PairJudge,
    each_pair,
    judge_knowledge,
    judge_maths,
)
from tilth.serving.judge import Verdict
from tilth.types import Generator, Progress, silent

KINDS = tuple(SAME)
# Pairs are judged so many at a time, so that progress shows.
PORTION = 200


@dataclass(frozen=True)
class Pair:
    """A test item and a training item, by place, with the verdict. `rank` is 1 for the nearest."""

    test: int
    training: int
    rank: int
    similarity: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Rephrasings:
    """What was found. `judge` names rules, or the driver and model of a generator."""

    kind: str
    judge: str
    k: int
    test_items: int
    training_items: int
    pairs: tuple[Pair, ...]

    def with_verdict(self, verdict: Verdict) -> list[Pair]:
        """The pairs of one verdict."""
        return [pair for pair in self.pairs if pair.verdict == verdict]

    @property
    def contaminated(self) -> list[int]:
        """Test items that a training item repeats or rewords, by place."""
        return sorted({pair.test for pair in self.with_verdict("yes")})

    @property
    def unknown(self) -> list[int]:
        """Test items without a yes, but with a pair that could not be judged."""
        found = {pair.test for pair in self.with_verdict("unknown")}
        return sorted(found - set(self.contaminated))

    @property
    def to_drop(self) -> list[int]:
        """Training items that repeat or reword a test item, by place."""
        return sorted({pair.training for pair in self.with_verdict("yes")})

    @property
    def coverage(self) -> float:
        """The share of pairs that were judged yes or no; 1 where there are none."""
        judged = sum(pair.verdict != "unknown" for pair in self.pairs)
        return judged / len(self.pairs) if self.pairs else 1.0

    def lines(self) -> list[str]:
        """For people: what was found, and how much of it could be judged."""
        found, open_ = len(self.contaminated), len(self.unknown)
        share = found / self.test_items if self.test_items else 0.0
        return [
            f"{found:,} of {self.test_items:,} test items ({share:.1%}) are in the "
            f"{self.training_items:,} training items in the same or in other words",
            f"{open_:,} more could not be judged; {self.coverage:.1%} of {len(self.pairs):,} pairs "
            f"were (the {self.k} nearest of each item; kind {self.kind}; judge: {self.judge})",
            f"{len(self.to_drop):,} training items to drop",
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON value."""
        return {
            "kind": self.kind,
            "judge": self.judge,
            "k": self.k,
            "test_items": self.test_items,
            "training_items": self.training_items,
            "contaminated": self.contaminated,
            "unknown": self.unknown,
            "to_drop": self.to_drop,
            "coverage": self.coverage,
            "pairs": [vars(pair) for pair in self.pairs],
        }


def find_rephrasings(
    test_items: Sequence[str],
    training_items: Sequence[str],
    k: int = 5,
    *,
    kind: str,
    judge: str | Generator | PairJudge = "rules",
    progress: Progress = silent,
) -> Rephrasings:
    """Test items among the training items, in the same or in other words.

    `kind`: `maths` (word problems; an answer after "####" or "Answer:"), `code` (a text with a
    Python function; what is not Python is unknown), `knowledge` (a question, then "Answer: ...").
    `judge`: "rules", a Generator that is asked about each pair, or a function of your own.
    Raises UsageError for an unknown kind, SandboxError where code cannot be run (kind `code`).
    """
    if kind not in SAME:
        raise UsageError(f"there is no kind {kind!r}", hint=nearest(kind, SAME))
    if k < 1:
        raise UsageError("at least one candidate is needed", where="k")
    for name, items in (("test items", test_items), ("training items", training_items)):
        if isinstance(items, str):
            raise UsageError("are one text, not a list of texts", where=name)
    progress("candidates", 0, len(test_items))
    found = nearest_items(test_items, training_items, k)
    return judge_candidates(
        test_items, training_items, found, kind=kind, judge=judge, progress=progress
    )


def judge_candidates(
    test_items: Sequence[str],
    training_items: Sequence[str],
    found: Candidates,
    *,
    kind: str,
    judge: str | Generator | PairJudge = "rules",
    progress: Progress = silent,
) -> Rephrasings:
    """The second stage alone, on candidates that are there. See `find_rephrasings`.

    Two texts that are equal but for case and white space are a yes without a judge.
    """
    name, decide = pair_judge(judge, kind)
    plain = [normalise(text) for text in test_items]
    pairs: list[tuple[int, int, int, float]] = []
    for test, (places, similarities) in enumerate(zip(found.places, found.similarities)):
        for rank, (place, similarity) in enumerate(zip(places, similarities), start=1):
            pairs.append((test, int(place), rank, float(similarity)))
    findings: dict[int, Finding] = {}
    for number, (test, place, _, _) in enumerate(pairs):
        if plain[test] and plain[test] == normalise(training_items[place]):
            findings[number] = Finding("yes", "the same text")
    waiting = [number for number in range(len(pairs)) if number not in findings]
    for start in range(0, len(waiting), PORTION):
        progress("pairs", start, len(waiting))
        part = waiting[start : start + PORTION]
        texts = [(test_items[pairs[n][0]], training_items[pairs[n][1]]) for n in part]
        findings.update(zip(part, decide(texts)))
    progress("pairs", len(waiting), len(waiting))
    judged = tuple(Pair(*pair, *findings[number]) for number, pair in enumerate(pairs))
    k = found.places.shape[1]
    return Rephrasings(kind, name, k, len(test_items), len(training_items), judged)


def pair_judge(judge: str | Generator | PairJudge, kind: str) -> tuple[str, PairJudge]:
    """The name of a judge, and the judge. See `find_rephrasings`."""
    if isinstance(judge, str):
        if judge != "rules":
            raise UsageError(f"there is no judge {judge!r}", hint="rules, or a generator")
        if kind == "code":
            return "rules", CodeJudge()
        return "rules", each_pair(judge_maths if kind == "maths" else judge_knowledge)
    if isinstance(judge, Generator):
        driver, model = getattr(judge, "driver", "generator"), getattr(judge, "model", "")
        return f"{driver} {model}".strip(), AskJudge(judge, kind)
    return type(judge).__name__, judge
