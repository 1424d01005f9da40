"""Ask the documents: an answer with citations, each a link to its passage in the document.

`/ask?q=...` is the whole answer as a page. The script asks `/ask/stream` instead and draws what
comes, line by line as JSON: `passages` and `done` hold pieces of the page, `text` plain letters.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.apps.answers import Answer, Citation, Passage
from tilth.apps.ask import LONGEST_QUESTION, checked_question
from tilth.errors import TilthError
from tilth.serving.refusal import Refused
from tilth.web.limiter import visitor_of
from tilth.web.page import form
from tilth.web.run.asked import own_page, words
from tilth.web.run.lines import Lines, line
from tilth.web.run.pages import RunPages
from tilth.web.run.search import TITLE, cited
from tilth.web.run.shown import cut, parts, shown


def ask(pages: RunPages, request: Request) -> Response:
    """The form, and the answer to `q`. A link from elsewhere only fills the form in."""
    question = words(request, "q", LONGEST_QUESTION)
    answer: dict[str, Any] | None = None
    wrong = ""
    if question and own_page(request):
        question = checked_question(question)
        pages.asks.check(visitor_of(request), "questions")
        with pages.answering():
            for event in pages.events(question):
                if event.answer is not None:
                    answer = drawn(event.answer)
    elif question:
        wrong = "This question came with a link. Press Ask to have it answered."
    return pages.render(
        "ask.html", "ask", question=question, answer=answer, wrong=wrong, most=LONGEST_QUESTION,
        generator=pages.generator, leaves=pages.leaves, using=pages.asker.using,
        documents=len(pages.run.index),
    )  # fmt: skip


def stream(pages: RunPages, request: Request) -> Response:
    """The answer to the form's `q` as lines of JSON, as it is made."""
    question = checked_question(form(request).get("q", ""))
    pages.asks.check(visitor_of(request), "questions")
    return Lines(_lines(pages, question))


def _lines(pages: RunPages, question: str) -> Generator[str, None, None]:
    try:
        with pages.answering():
            for event in pages.events(question):
                if event.kind == "passages":
                    found = [passage(one) for one in event.passages]
                    yield line(kind="passages", html=pages.piece("_passages.html", passages=found))
                elif event.kind == "text":
                    yield line(kind="text", text=shown(event.text))
                elif event.answer is not None:
                    found_answer = drawn(event.answer)
                    yield line(kind="done", html=pages.piece("_answer.html", answer=found_answer))
    except Refused as refused:
        yield line(kind="wrong", text=refused.message)
    except TilthError as error:
        yield line(kind="wrong", text=str(error))


def drawn(answer: Answer) -> dict[str, Any]:
    """An answer as its template takes it."""
    used = {citation.number for citation in answer.citations}
    return {
        "how": answer.how, "note": answer.note, "found": answer.found, "text": shown(answer.text),
        "declined": answer.declined,
        "sentences": [
            {
                "text": shown(sentence.text), "support": sentence.support,
                "links": [link(one) for one in citations_of(answer, place)],
            }
            for place, sentence in enumerate(answer.sentences)
        ],
        "passages": [passage(one, one.number in used) for one in answer.passages],
    }  # fmt: skip


def citations_of(answer: Answer, place: int) -> list[Citation]:
    """The citations of a sentence: the spans on which it rests."""
    return [answer.citations[number] for number in answer.sentences[place].citations]


def link(citation: Citation) -> dict[str, Any]:
    """A citation as a link that lands on its passage."""
    return {
        "number": citation.number, "source": cut(citation.source, TITLE),
        "address": cited(citation.document, citation.start, citation.stop),
    }  # fmt: skip


def passage(one: Passage, used: bool = True) -> dict[str, Any]:
    """A passage as it is drawn, the question's words marked."""
    return {
        "number": one.number, "title": cut(one.title or one.source.rsplit("/", 1)[-1], TITLE),
        "source": cut(one.source, TITLE), "address": cited(one.document, one.start, one.stop),
        "parts": parts(one.text, one.matches), "used": used,
    }  # fmt: skip
