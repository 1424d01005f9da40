"""Ask a run: retrieve passages, then quote the sentences that answer best, or let a model write.

    asker = open_asker(Run("my-run"))                  # build.asking; quotes
    answer = asker.ask("When may the tenant leave?")
    for citation in answer.citations:
        print(citation.source, citation.start, citation.stop, citation.text)

Each document that is found gives the passage that fits the question best (about 800 characters).
Without a generator the answer is made of their sentences (`apps.quoting`). With one, the passages
are put into a prompt as quoted material (`apps.prompt`), the marks of the answer are checked as
they come (`apps.marks`), each becomes a citation of the sentence in that passage that the answer's
sentence shares most with, and sentences that nothing bears out are told apart. Where the model
gives no answer, the answer is quoted and says why.

When: a question whose answer stands in the documents. When not: sums and comparisons over many
documents; and a model's words are not made true by a citation: follow it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from tilth.apps.answers import Answer, Citation, Event, Passage, Sentence
from tilth.apps.generated import Written, read_answer, written
from tilth.apps.passages import Words, find_passages, terms_of, weights_of
from tilth.apps.prompt import counter, fitted
from tilth.apps.quoting import best_sentences, quotable
from tilth.errors import UsageError
from tilth.types import Answer as Generated

LONGEST_QUESTION = 2000  # characters
NO_LLM = "No LLM was given: these are sentences of the documents, word for word."
NO_WORDS = "None of them shares a word with the question: this is how the nearest passage begins."


class Texts(Protocol):
    """Where the texts of documents are: `corpus.Corpus`, or anything that gives documents by id."""

    def get_many(self, ids: Sequence[str]) -> Mapping[str, Any]: ...


class Asker:
    """Answers questions over one index.

    `retriever`: any `types.Retriever`, or `retrieval.fusion.Fused`. `texts`: the documents that it
    indexes. `words`: what weighs words, a `BM25` over them; the retriever itself where it is one.
    `generator`: any of `tilth.serving`; None quotes. `using`: what the retriever is called in
    answers. `k`: documents that are looked up. `sentences`: quoted at most. `tokens`: of a
    generated answer at most. `context`: tokens of the model's context, where it does not say
    (`apps.prompt.counter`). `seconds`: for an answer to be written.

    Questions may come from several threads; a local model answers one at a time.
    """

    def __init__(
        self,
        retriever: Any,
        texts: Texts,
        words: Words | None = None,
        generator: Any = None,
        *,
        using: str = "lexical",
        k: int = 5,
        sentences: int = 3,
        tokens: int = 512,
        context: int = 0,
        seconds: float = 120.0,
    ) -> None:
        if min(k, sentences, tokens) < 1 or context < 0 or not seconds > 0:
            raise UsageError("k, sentences and tokens are at least 1, seconds above 0")
        self.retriever, self.texts, self.generator = retriever, texts, generator
        self.words: Words = retriever if words is None else words
        self.using, self.k, self.sentences = using, k, sentences
        self.tokens, self.context, self.seconds = tokens, context, seconds

    def ask(self, question: str, k: int | None = None) -> Answer:
        """The answer, whole. Errors as for `stream`."""
        answer = None
        for event in self.stream(question, k):
            answer = event.answer
        assert answer is not None, "a stream ends with the whole answer"
        return answer

    def stream(self, question: str, k: int | None = None) -> Iterator[Event]:
        """The answer as it is made; closing the iterator stops the model.

        Raises UsageError for a question that is blank, too long or no text, before anything is
        looked up, and where a server refuses key or model.
        """
        question = checked_question(question)
        return self._events(question, self.k if k is None else k)

    def _events(self, question: str, k: int) -> Iterator[Event]:
        passages = find_passages(self.retriever, self.texts, self.words, question, k)
        prompt, room, left_out = "", 0, 0
        if self.generator is not None and passages:
            count, context = counter(self.generator, self.context)
            room = min(self.tokens, max(1, context // 4))
            special = getattr(self.generator, "special", ())
            prompt, used = fitted(question, passages, count, context - room, special)
            shown = {passage.number: passage for passage in used}
            passages = [shown.get(passage.number, passage) for passage in passages]
            left_out = len(passages) - len(used)
        yield Event("passages", passages=tuple(passages))
        if not passages or self.generator is None:
            yield from self._quoted(question, passages, NO_LLM)
            return
        if not prompt:
            reason = f"its context of {context:,} tokens has no room for a passage"
            failed = Generated("failed", reason=reason)
            yield from self._instead(question, passages, failed, left_out)
            return
        made: Written | None = None
        for piece in written(self.generator, prompt, room, passages, self.seconds):
            if isinstance(piece, Written):
                made = piece
            elif piece:
                yield Event("text", text=piece)
        assert made is not None, "what is written ends with the whole"
        if made.answer.outcome != "ok":
            yield from self._instead(question, passages, made.answer, left_out)
            return
        answer = read_answer(question, made, passages, self.words, self.using, left_out)
        yield from (Event("citation", citation=citation) for citation in answer.citations)
        yield Event("done", answer=answer)

    def _instead(
        self, question: str, passages: Sequence[Passage], given: Generated, left_out: int
    ) -> Iterator[Event]:
        """The answer quoted, since the model gave none."""
        note = f"The model gave no answer ({given.outcome}: {given.reason}). Quoted instead."
        for event in self._quoted(question, passages, note):
            if event.kind == "done" and event.answer is not None:
                answer = replace(
                    event.answer, outcome=given.outcome, reason=given.reason, left_out=left_out
                )
                yield Event("done", answer=answer)
            elif event.kind == "citation":
                yield event

    def _quoted(self, question: str, passages: Sequence[Passage], note: str) -> Iterator[Event]:
        made = quote(question, passages, self.words, self.sentences, self.using)
        answer = replace(made, note=f"{note} {made.note}".strip() if passages else made.note)
        for number, citation in enumerate(answer.citations):
            yield Event("text", text=("\n" if number else "") + _quotation(citation))
            yield Event("citation", citation=citation)
        yield Event("done", answer=answer)


def quote(
    question: str, passages: Sequence[Passage], words: Words, most: int = 3, using: str = "lexical"
) -> Answer:
    """The sentences of the passages that answer best, word for word, each with its citation."""
    weights = weights_of(words, question)
    candidates = [
        [(a, b, terms_of(words, passage.text[a:b])) for a, b in quotable(passage.text)]
        for passage in passages
    ]
    chosen = best_sentences(weights, candidates, most)
    citations = tuple(_cited(passages[one.passage], one.start, one.stop) for one in chosen)
    sentences = tuple(
        Sentence(citation.text, (citation.number,), "quoted", one.overlap, (place,))
        for place, (one, citation) in enumerate(zip(chosen, citations))
    )
    text = "\n".join(_quotation(citation) for citation in citations)
    note = NO_WORDS if chosen and not chosen[0].overlap > 0 else ""
    if not passages:
        lexical = "no document holds any of these words" if using == "lexical" else "nothing fits"
        text = note = f"Nothing was found: {lexical}."
    return Answer(
        question, text, "quoted", "ok", "", note, sentences, citations, tuple(passages), using
    )


def _cited(passage: Passage, start: int, stop: int) -> Citation:
    return Citation(
        passage.number, passage.document, passage.source, passage.start + start,
        passage.start + stop, passage.text[start:stop],
    )  # fmt: skip


def _quotation(citation: Citation) -> str:
    return f"{citation.text} [{citation.number}]"


def checked_question(question: str) -> str:
    """The question without blanks around it. Raises UsageError for what is none."""
    if not isinstance(question, str):
        raise UsageError(f"the question is {type(question).__name__}, not text")
    if not question.strip():
        raise UsageError("the question is empty", hint='tilth ask RUN "your question"')
    if len(question) > LONGEST_QUESTION:
        raise UsageError(f"the question has {len(question):,} characters",
                         hint=f"at most {LONGEST_QUESTION:,}")  # fmt: skip
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the question is no valid text: {error.reason}") from None
    return question.strip()
