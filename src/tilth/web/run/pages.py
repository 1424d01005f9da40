"""What the pages of a run are drawn from: opened once, held in memory, read only."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tilth.errors import DataError, UsageError
from tilth.serving.refusal import Refused
from tilth.store.write import read_json
from tilth.web.limiter import Limiter
from tilth.web.page import render

if TYPE_CHECKING:
    from tilth.apps.answers import Event
    from tilth.apps.ask import Asker
    from tilth.build.run import Hit, Run
    from tilth.corpus.histograms import Histogram

# Searches and rules use a core each; more at a time would only be slower.
AT_A_TIME = 2
# Questions that are answered at a time: each takes a thread while a model writes.
ANSWERS = 8
# Requests that wait for a search or a rule; whoever comes beyond these is refused at once.
WAITING = 256
# Families of duplicates that are shown.
FAMILIES = 10


class RunPages:
    """A finished run. `text`: the served model (serving.text_model.TextModel), None where none is;
    `generator`: what writes answers, None where passages are quoted. `leaves`: where questions and
    passages go to, empty where they stay on this machine.

    asks, generates, moves: limits of questions, of texts of the model, of thresholds that are
    tried. Raises DataError for a run that is not finished. Opening takes seconds: what the first
    visitor would wait for is done before.
    """

    def __init__(
        self,
        run: Run,
        *,
        text: Any = None,
        generator: Any = None,
        leaves: str = "",
        asks: Limiter | None = None,
        generates: Limiter | None = None,
        moves: Limiter | None = None,
    ) -> None:
        from tilth.corpus.reader import Reader
        from tilth.corpus.snapshot import snapshot

        self.run, self.text, self.generator, self.leaves = run, text, generator, leaves
        self.name = run.folder.resolve().name
        self.held = snapshot(run.corpus)
        self.reader = Reader(run.corpus)
        self.searches = self._searches()
        self.asks = asks or Limiter(each=(20, 60), everyone=(60, 60))
        self.generates = generates or Limiter(each=(10, 60), everyone=(40, 60))
        self.moves = moves or Limiter(each=(60, 10), everyone=(200, 10))
        self.turns = threading.BoundedSemaphore(AT_A_TIME)
        self._places = anyio.CapacityLimiter(AT_A_TIME)
        self._answering = threading.BoundedSemaphore(ANSWERS)
        # An encoder is not made for threads.
        self._dense = threading.Lock()
        self.best = self._best()
        self.asker = self._asker()
        self._warm()

    def render(self, template: str, here: str, **values: Any) -> HTMLResponse:
        """A page from a template below `templates/run`."""
        values = {"name": self.name, **values}
        return render(f"run/{template}", here=here, run=self, **values)

    def piece(self, template: str, **values: Any) -> str:
        """A part of a page, as a script puts it into the page that is there."""
        return bytes(render(f"run/{template}", **values).body).decode("utf-8")

    async def in_turn(
        self, handler: Callable[[RunPages, Request], Response], request: Request
    ) -> Response:
        """What a handler that uses a core answers. Those that wait hold no thread, so all other
        pages go on; nothing is done for those who are gone by then. Raises Refused, 429, where
        `WAITING` wait."""
        if self._places.statistics().tasks_waiting >= WAITING:
            raise Refused(429, f"{WAITING} requests wait for a search; try again in a moment",
                          code="queue_full", headers={"retry-after": "5"})  # fmt: skip
        async with self._places:
            if await request.is_disconnected():
                return Response(status_code=204)
            # A thread beside those that all other pages share.
            own = anyio.CapacityLimiter(1)
            return await anyio.to_thread.run_sync(handler, self, request, limiter=own)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """A place among those who are answered. Raises Refused, 429, where there is none."""
        if not self._answering.acquire(blocking=False):
            raise Refused(429, f"{ANSWERS} questions are being answered; try again in a moment",
                          code="queue_full", headers={"retry-after": "5"})  # fmt: skip
        try:
            yield
        finally:
            self._answering.release()

    def events(self, question: str) -> Iterator[Event]:
        """As `Asker.stream`; what looks passages up waits its turn."""
        events = self.asker.stream(question)
        with self.turns, self._dense:
            first = next(events)
        yield first
        yield from events

    def search(self, query: str, k: int, using: str) -> list[Hit]:
        """As `Run.search`; two at a time."""
        with self.turns:
            if using == "lexical":
                return self.run.search(query, k, using, self.reader.get_many)
            with self._dense:
                return self.run.search(query, k, using, self.reader.get_many)

    @functools.cached_property
    def histograms(self) -> dict[str, Histogram]:
        """Of every measured number that some document has."""
        from tilth.corpus.histograms import column_histogram

        found = {name: column_histogram(self.held.columns, name) for name in self.held.numbers}
        return {name: drawn for name, drawn in found.items() if drawn is not None}

    @functools.cached_property
    def stats(self) -> dict[str, Any]:
        """Counts of the corpus by layer, reason and problem."""
        return self.run.corpus.stats()

    @functools.cached_property
    def quantiles(self) -> dict[str, Any]:
        """Of every measured number, by name."""
        return self.run.corpus.quantiles()

    @functools.cached_property
    def families(self) -> dict[str, Any] | None:
        """The largest families of duplicates; `row` of each is the kept document that stands for
        it, None for none. None where no search for duplicates was run."""
        from tilth.corpus.families import largest_families

        try:
            found = largest_families(self.run.corpus, FAMILIES)
        except UsageError:
            return None
        names = {entry["cluster"] for entry in found["largest"]}
        cluster = self.held.columns.column("cluster").to_pylist()
        stands = {
            cluster[row]: row
            for row, kept in enumerate(self.held.kept.tolist())
            if kept and cluster[row] in names
        }
        for entry in found["largest"]:
            entry["row"] = stands.get(entry["cluster"])
        return found

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        return self.run.report

    @functools.cached_property
    def measured(self) -> dict[str, Any]:
        """What was measured of the model: curve, training, bits."""
        path = self.run.folder / "evaluation" / "model" / "model.json"
        return dict(read_json(path)) if path.is_file() else {}

    def _searches(self) -> tuple[str, ...]:
        from tilth.store.manifest import is_complete

        dense = is_complete(self.run.folder / "index" / "dense")
        return ("lexical", "dense", "fused") if dense else ("lexical",)

    def _best(self) -> str:
        from tilth.build.asking import best_search

        found = best_search(self.run)
        return found if found in self.searches else "lexical"

    def _asker(self) -> Asker:
        from tilth.apps.ask import Asker
        from tilth.build.run import SEARCHES

        retriever = getattr(self.run, SEARCHES[self.best])
        return Asker(retriever, self.reader, self.run.index, self.generator, using=self.best)

    def _warm(self) -> None:
        from tilth.corpus.what_if import what_if

        first: list[Callable[[], object]] = [
            lambda: self.search("a", 1, self.best),
            lambda: self.histograms,
            lambda: self.stats,
            lambda: self.quantiles,
            lambda: self.families,
        ]
        if self.held.rule is not None:
            first.append(lambda: what_if(self.held, {}))
        for work in first:
            work()
        if not len(self.reader):
            raise DataError("holds no document", where=str(self.run.folder))
