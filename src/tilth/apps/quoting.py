"""Which sentences of the passages answer a question best: pure functions, no model.

    overlap(q, s) = sum of idf(t) over the terms t of q that s holds / the same over all terms of q
                    (without the words that only make it a question: `ASKING`)
    score(q, s, rank) = overlap(q, s) / (1 + words(s) / 100) * 0.95 ** (rank - 1)

`rank` is the passage's, 1 the best. The share is that of query-biased summaries (Tombros and
Sanderson, 1998) with idf as the weight; long sentences hold more words by chance, hence the
divisor. Both constants were chosen on one half of the questions of `benchmarks/ask.py`, and are
judged on the other.

When: somebody wants the place where the answer stands, and no model. When not: an answer that must
be put together from several places, or stands in other words than the question; a sentence without
the question's words is never chosen while there is one with them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from tilth.corpus.sentences import sentence_spans

LONGEST = 300  # characters; what is longer is cut between clauses or lines
WORDS = 100
DECAY = 0.95
# A further sentence is quoted where its score is at least this share of the best one's.
SHARE = 0.5
_CLAUSE = re.compile(r"(?<=[.!?;:])\s+|\n\s*")
_QUESTION = ("?", "\uff1f", "\u061f", "\u037e")
_LETTER = re.compile(r"\w")
# What makes a sentence a question and says nothing of what is asked; rare in texts that ask none,
# so idf alone would make much of it. English, German, French, Spanish.
ASKING = frozenset(
    "what which who whom whose where when why how is are was were do does did i we you my our your "
    "welche welcher welches wer wen wem wo wohin woher wann warum wieso wie "
    "quel quelle quels quelles qui quoi où quand pourquoi comment combien "
    "qué cuál cuáles quién quiénes dónde cuándo cómo cuánto cuántos".split()
)


class Scored(NamedTuple):
    """A sentence: which passage it is of, and (start, stop) there in characters."""

    score: float
    overlap: float
    passage: int
    start: int
    stop: int


def quotable(text: str) -> list[tuple[int, int]]:
    """(start, stop) of what may be quoted of a passage, in its order, without blanks around it.

    Sentences; long ones cut between clauses or lines. A question goes with what follows it, since
    that is its answer.
    """
    spans: list[tuple[int, int]] = []
    begun = -1
    for start, stop in _pieces(text):
        part = text[start:stop]
        trimmed = part.strip()
        if not _LETTER.search(trimmed):
            continue  # Blanks, a rule, the line under a heading.
        start += len(part) - len(part.lstrip())
        stop = start + len(trimmed)
        if begun < 0:
            begun = start
        if trimmed.endswith(_QUESTION):
            continue
        spans.append((begun, stop))
        begun = -1
    if begun >= 0:
        spans.append((begun, begun + len(text[begun:].rstrip())))
    return spans


def _pieces(text: str) -> Iterable[tuple[int, int]]:
    for start, stop in sentence_spans(text):
        begin = start
        if stop - start > LONGEST:
            ends = [start + match.end() for match in _CLAUSE.finditer(text[start:stop])]
            for end, following in zip(ends, [*ends[1:], stop]):
                if following - begin > LONGEST and end > begin:
                    yield begin, end
                    begin = end
        yield begin, stop


def asked(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of a question's terms without those of `ASKING`; all, if nothing else is left."""
    return {t: w for t, w in weights.items() if t not in ASKING} or dict(weights)


def overlap(weights: Mapping[str, float], terms: Collection[str]) -> float:
    """The share of the weight that these terms hold, 0 to 1; 0 where nothing weighs anything."""
    total = sum(weights.values())
    if not total > 0:
        return 0.0
    return min(1.0, sum(weight for term, weight in weights.items() if term in terms) / total)


def score(weights: Mapping[str, float], terms: Sequence[str], rank: int = 1) -> float:
    """The score of a sentence with these terms, of the passage with this rank (from 1)."""
    return overlap(weights, set(terms)) / (1 + len(terms) / WORDS) * DECAY ** (rank - 1)


def best_sentences(
    weights: Mapping[str, float], passages: Sequence[Sequence[tuple[int, int, Sequence[str]]]],
    most: int = 3,
) -> list[Scored]:  # fmt: skip
    """At most `most` sentences, the best first; of equal ones that of the better passage.

    `passages`: for each, the best first, (start, stop, terms) of its sentences. Only such as share
    a term with the question and are at least half as good as the best; where none shares any, the
    first sentence of the first passage.
    """
    found = [
        Scored(score(weights, terms, rank), overlap(weights, set(terms)), rank - 1, start, stop)
        for rank, sentences in enumerate(passages, start=1)
        for start, stop, terms in sentences
    ]
    if not found:
        return []
    order = sorted(found, key=lambda one: (-one.score, one.passage, one.start))
    if not order[0].score > 0:
        return found[:1]
    return [one for one in order[:most] if one.score >= SHARE * order[0].score]
