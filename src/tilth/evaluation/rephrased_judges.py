"""Judges of a pair of items: is one the other in different words? Yes, no or unknown, with why.

`judge_maths` and `judge_knowledge` are rules, the same whichever item comes first. `AskJudge` puts
the question to a generator. Python code is judged by what it does (`rephrased_code`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from tilth.serving.judge import Judge, Verdict
from tilth.types import Generator

# Of all different numbers in both questions, the share that both must have.
NUMBERS_SHARED = 0.5
# Of all content words of the shorter question, the share that the other must have.
WORDS_SHARED = 0.4
LEAST_NUMBERS = 3

ANSWER = re.compile(r"####\s*(.+?)\s*$|\banswer\s*:[ \t]*(\S.*?)\s*$", re.I | re.MULTILINE)
ANSWER_PART = re.compile(r"####|\banswer\s*:", re.I)
NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+/\d+|\d*\.?\d+")
WORD = re.compile(r"[^\W\d_]+")
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
).split()
NUMBER_WORDS = {word: float(value) for value, word in enumerate(SMALL)} | {
    "thirty": 30.0, "forty": 40.0, "fifty": 50.0, "sixty": 60.0, "seventy": 70.0, "eighty": 80.0,
    "ninety": 90.0, "hundred": 100.0, "thousand": 1000.0, "million": 1e6, "dozen": 12.0,
    "half": 0.5, "halves": 0.5, "twice": 2.0, "double": 2.0, "doubled": 2.0, "thrice": 3.0,
    "triple": 3.0, "tripled": 3.0, "quarter": 0.25, "quarters": 0.25,
}  # fmt: skip
# Said without meaning a quantity, or left unsaid, too often to tell two questions apart.
SILENT = (0.0, 1.0)
STOP_WORDS = frozenset(
    "about after all also among and any are because been before being between both but can could "
    "did does doing during each following for from had has have having her his how into its likely "
    "many may most much not often one only other over own same she should some such than that the "
    "their them then there these they this those through under very was were what when where which "
    "while who whom whose why will with within would you your question questions answer refers "
    "statement statements information based best describes according".split()
)

# What may differ between two items that ask for the same thing, for each kind of data.
SAME = {
    "maths": "They are the same if they describe the same calculation: the same quantities in the "
    "same relations, asking for the same result. Names, objects and wording do not matter.",
    "code": "They are the same if they pose the same programming problem. The programming "
    "language, the names and the way in which it is solved do not matter.",
    "knowledge": "They are the same if they ask for the same fact and have the same answer. "
    "Wording, language and the order of choices do not matter.",
}
TEMPLATE = """Two items follow. Decide whether they are the same item in different words.
{same}

First item:
<<<
{left}
>>>

Second item:
<<<
{right}
>>>

Are they the same? Reply with one word, yes or no."""


class Finding(NamedTuple):
    """A verdict on a pair and, in a few words, why."""

    verdict: Verdict
    reason: str


class PairJudge(Protocol):
    """Judges pairs of texts, in order."""

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[Finding]: ...


def each_pair(rule: Callable[[str, str], Finding]) -> PairJudge:
    """A judge from a rule for one pair."""
    return lambda pairs: [rule(left, right) for left, right in pairs]


class AskJudge:
    """Asks a generator. What it does not answer with yes or no is unknown."""

    def __init__(self, generator: Generator, kind: str) -> None:
        self.kind, self.judge = kind, Judge(generator, TEMPLATE)

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[Finding]:
        cases = [{"same": SAME[self.kind], "left": left, "right": right} for left, right in pairs]
        found = self.judge.judge(cases)
        return [
            Finding(one.verdict, one.answer.reason or " ".join(one.answer.text.split())[:80])
            for one in found
        ]


def judge_maths(left: str, right: str) -> Finding:
    """Word problems: the answers are equal and so is at least half of the numbers.

    Where an answer is missing, three or more numbers that are all equal are a yes, few equal ones
    a no, and all between is unknown.
    """
    answers = [answer_number(text) for text in (left, right)]
    first, second = (numbers(question(text)) for text in (left, right))
    if None not in answers and not _close(answers[0], answers[1]):
        return Finding("no", "other answer")
    if not first or not second:
        return Finding("unknown", "no numbers")
    shared = len(first & second) / len(first | second)
    if shared < NUMBERS_SHARED:
        return Finding("no", "other numbers")
    if None not in answers:
        return Finding("yes", "same answer, same numbers")
    if shared == 1.0 and len(first) >= LEAST_NUMBERS:
        return Finding("yes", "same numbers, no answer to compare")
    return Finding("unknown", "no answer to compare")


def judge_knowledge(left: str, right: str) -> Finding:
    """Questions about facts: the answers are equal and the questions share content words."""
    answers = [_plain(answer_text(text)) for text in (left, right)]
    if not all(answers):
        return Finding("unknown", "no answer to compare")
    first, second = (content_words(question(text)) for text in (left, right))
    if not first or not second or (_latin(first) != _latin(second)):
        return Finding("unknown", "no words to compare")
    if answers[0] != answers[1]:
        return Finding("no", "other answer")
    shared = len(first & second) / min(len(first), len(second))
    if shared < WORDS_SHARED:
        return Finding("no", "same answer, other question")
    return Finding("yes", "same answer, same words")


def question(text: str) -> str:
    """An item without its answer and the way to it."""
    found = ANSWER_PART.search(text)
    return text[: found.start()] if found and found.start() else text


def answer_text(text: str) -> str:
    """What stands after "####", else after the last "Answer:"; empty where there is neither."""
    found = ANSWER.findall(text)
    marked = [one for one, _ in found if one]
    return (marked or [one for _, one in found] or [""])[-1]


def answer_number(text: str) -> float | None:
    """The last number of the answer; None where there is none."""
    found = NUMBER.findall(answer_text(text))
    return _value(found[-1]) if found else None


def numbers(text: str) -> set[float]:
    """The different numbers of a text, in digits or words; 0 and 1 left out."""
    found = {_value(one) for one in NUMBER.findall(text)}
    found |= {NUMBER_WORDS[word] for word in WORD.findall(text.lower()) if word in NUMBER_WORDS}
    return found - set(SILENT)


def content_words(text: str) -> set[str]:
    """Words that carry meaning, without a plural's s."""
    words = {word for word in WORD.findall(text.lower()) if len(word) > 2 or not word.isascii()}
    return {word.removesuffix("s") for word in words - STOP_WORDS}


def _value(text: str) -> float:
    plain = text.replace(",", "")
    top, _, bottom = plain.partition("/")
    if not bottom:
        return float(top)
    return float(top) / float(bottom) if float(bottom) else float(top)


def _close(left: float | None, right: float | None) -> bool:
    assert left is not None and right is not None
    return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))


def _plain(text: str) -> str:
    return " ".join(WORD.findall(text.lower())) or text.strip()


def _latin(words: set[str]) -> bool:
    return sum(word.isascii() for word in words) * 2 >= len(words)
