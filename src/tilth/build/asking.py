"""A run that answers questions: its indexes and texts, put together for `apps.ask`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.apps.ask import Asker
from tilth.build.run import SEARCHES, Run
from tilth.errors import UsageError, nearest
from tilth.store.write import read_json

if TYPE_CHECKING:
    from tilth.types import Generator


def best_search(run: Run) -> str:
    """`lexical`, `dense` or `fused`: what the run's report advises; lexical where none was scored.

    Raises DataError where the run is unfinished.
    """
    from tilth.report.search_findings import best

    found = read_json(run._part("evaluation") / "search" / "search.json")["search"]
    return best(found) or "lexical"


def open_asker(
    run: Run, *, using: str = "", generator: Generator | None = None, **options: Any
) -> Asker:
    """An Asker over the run's documents; `options` as for `Asker`.

    `using`: lexical, dense or fused; what the report advises where it is empty. Raises UsageError
    for another name, DataError where the run has no such index.
    """
    if using and using not in SEARCHES:
        raise UsageError(f"there is no search {using!r}", hint=nearest(using, SEARCHES))
    using = using or best_search(run)
    retriever = getattr(run, SEARCHES[using])
    return Asker(retriever, run.corpus, run.index, generator, using=using, **options)
