"""Questions to a generator that are answered yes, no or unknown.

A judge never takes a failure for an answer: what failed, was refused, hedged or said both is
unknown, and how much was decided is part of every result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tilth.errors import UsageError
from tilth.types import Answer, Generator

Verdict = Literal["yes", "no", "unknown"]
WORDS: dict[str, Verdict] = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
LABELLED = re.compile(
    r"\b(?:answer|verdict|final answer)\b\W{0,8}(?:is\W{1,4})?(yes|no|true|false)\b", re.IGNORECASE
)
ALONE = re.compile(r"\W*(yes|no|true|false)\b\W*(?:$|[.,;:!\n-])", re.IGNORECASE)


class Judgement(NamedTuple):
    """A verdict with the answer that it was read from."""

    verdict: Verdict
    answer: Answer


def parse_verdict(answer: Answer) -> Verdict:
    """Read an answer.

    What stands between tags of thinking is left out. Of the rest counts, in this order: a label
    ("Answer: yes"), the last of them; a first or last line that is the word or begins with it. Two
    that contradict are unknown, and so is everything else.
    """
    if answer.outcome != "ok":
        return "unknown"
    text = THOUGHT.sub(" ", answer.text).replace("*", " ").replace("`", " ").strip()
    labelled = LABELLED.findall(text)
    if labelled:
        return WORDS[labelled[-1].lower()]
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "unknown"
    ends = (ALONE.match(line) for line in dict.fromkeys((lines[0], lines[-1])))
    found = {WORDS[match.group(1).lower()] for match in ends if match}
    return found.pop() if len(found) == 1 else "unknown"


class Judge:
    """Asks `template`, filled with the fields of a case, and reads the verdict.

    The template names fields in braces, `{question}`; a case that lacks one is refused.
    """

    def __init__(
        self, generator: Generator, template: str, sampling: Mapping[str, Any] | None = None
    ) -> None:
        self.generator, self.template = generator, template
        self.sampling = {"temperature": 0} if sampling is None else dict(sampling)

    def prompt(self, case: Mapping[str, str]) -> str:
        """The question for one case."""
        try:
            return self.template.format_map(case)
        except (KeyError, ValueError, IndexError) as error:
            raise UsageError(f"the judge's template does not fit its cases: {error}") from None

    def judge(self, cases: Sequence[Mapping[str, str]]) -> list[Judgement]:
        """One judgement a case, in order."""
        answers = self.generator.generate([self.prompt(case) for case in cases], self.sampling)
        return [Judgement(parse_verdict(answer), answer) for answer in answers]
