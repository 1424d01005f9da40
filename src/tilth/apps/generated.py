"""A generated answer: taken from the model piece by piece, then read sentence by sentence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tilth.apps.answers import Answer, Citation, Passage, Sentence, Support
from tilth.apps.marks import Marks, cited_sentences
from tilth.apps.passages import Words, terms_of
from tilth.apps.prompt import NOT_SAID
from tilth.apps.quoting import overlap, quotable, score
from tilth.types import Answer as Generated

# A sentence is borne out where its passages hold at least this share of its words, by weight.
BORNE_OUT = 0.5


class Written(NamedTuple):
    """What a model wrote: its outcome, and the text with its marks checked."""

    answer: Generated
    marks: Marks


def written(
    generator: Any, prompt: str, tokens: int, passages: Sequence[Passage], seconds: float
) -> Iterator[str | Written]:
    """The pieces of the text as they are settled; last, the whole.

    The model is stopped when the time is over, or when nobody listens any more.
    """
    marks = Marks([passage.number for passage in passages if passage.used])
    end = time.monotonic() + seconds
    answer = None
    given = pieces(generator, prompt, {"temperature": 0, "max_tokens": tokens})
    try:
        for piece in given:
            if isinstance(piece, Generated):
                answer = piece
                break
            yield marks.push(piece)
            if time.monotonic() > end:
                answer = Generated("timed out", reason=f"no end within {seconds:g} seconds")
                break
    finally:
        close = getattr(given, "close", None)
        if close is not None:
            close()
    if answer is None:
        answer = Generated("malformed", reason="the generator gave no answer")
    if answer.outcome == "ok":
        yield marks.finish()
        if not cited_sentences(marks.text, marks.found):
            answer = Generated("malformed", marks.text, "no sentence")
    elif not answer.reason:
        answer = Generated(answer.outcome, answer.text, "no reason was given")
    yield Written(answer, marks)


def pieces(generator: Any, prompt: str, sampling: Mapping[str, Any]) -> Iterator[str | Generated]:
    """The letters of an answer, last the answer; in one piece where the driver has no stream."""
    if hasattr(generator, "stream"):
        return generator.stream(prompt, sampling)
    (answer,) = generator.generate([prompt], sampling)
    return iter([answer.text, answer] if answer.outcome == "ok" else [answer])


def read_answer(
    question: str, made: Written, passages: Sequence[Passage], words: Words, using: str,
    left_out: int,
) -> Answer:  # fmt: skip
    """The answer with its citations, and what supports each of its sentences."""
    shown = {passage.number: passage for passage in passages}
    found = cited_sentences(made.marks.text, made.marks.found)
    declined = [_plain(text) for text, _ in found] == [_plain(NOT_SAID)]
    sentences: list[Sentence] = []
    places: dict[Citation, int] = {}
    for text, numbers in found:
        weights = words.idf(terms_of(words, text))
        if not weights and not numbers and len(found) > 1:
            continue  # A rule or a bullet.
        cited = [shown[number] for number in numbers]
        held = {term for passage in cited for term in terms_of(words, passage.text)}
        share = overlap(weights, held)
        support: Support = "uncited"
        if cited:
            support = "supported" if share >= BORNE_OUT or not weights else "weak"
        spans = [nearest(weights, passage, words) for passage in cited]
        at = tuple(places.setdefault(span, len(places)) for span in spans)
        sentences.append(Sentence(text, numbers, support, share, at))
    text = made.marks.text.strip()
    note = _note(made, sentences, left_out, declined)
    return Answer(
        question, text, "generated", "ok", made.answer.reason, note, tuple(sentences),
        tuple(places), tuple(passages), using, made.marks.removed, left_out, declined,
    )  # fmt: skip


def nearest(weights: Mapping[str, float], passage: Passage, words: Words) -> Citation:
    """The sentence of a passage that shares most with a sentence of the answer; the whole passage
    where none shares anything."""
    spans = quotable(passage.text)
    rated = [(score(weights, terms_of(words, passage.text[a:b])), -a, b) for a, b in spans]
    value, start, stop = max(rated, default=(0.0, 0, 0))
    start, stop = (-start, stop) if value > 0 else (0, len(passage.text))
    return Citation(
        passage.number, passage.document, passage.source, passage.start + start,
        passage.start + stop, passage.text[start:stop],
    )  # fmt: skip


def _note(made: Written, sentences: Sequence[Sentence], left_out: int, declined: bool) -> str:
    """What people are to know, in sentences; empty where there is nothing."""
    weak = sum(sentence.support == "weak" for sentence in sentences)
    uncited = sum(sentence.support == "uncited" for sentence in sentences)
    removed, count = made.marks.removed, len(sentences)
    parts = [
        "The model says that the passages do not hold the answer." if declined else "",
        f"{uncited} of {count} sentences cite nothing." if uncited and not declined else "",
        f"{weak} of {count} sentences share little with what they cite." if weak else "",
        f"{removed} citations of passages that are not there were taken out." if removed else "",
        f"{left_out} passages did not fit into the model's context." if left_out else "",
        f"The answer was {made.answer.reason}." if made.answer.reason else "",
    ]
    return " ".join(part for part in parts if part)


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .*\"'")
