"""The feed: a page a day, what is talked about now, and how many papers there are of each kind.

New papers, families and verdicts are `library.papers(...)` with that choice; the formula of what is
talked about is in `trending`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tilth.errors import UsageError
from tilth.papers import trending
from tilth.papers.library import Library
from tilth.papers.measured import NOT_BUILT, VERDICTS, Measured
from tilth.papers.paper import Paper


@dataclass(frozen=True)
class Day:
    """The papers added on one day (UTC). `previous` and `next` are days that have any, or None.

    `total` counts all papers of the day; `papers` are those of the page.
    """

    day: str
    papers: list[Paper]
    total: int
    previous: str | None
    next: str | None


def day_page(
    library: Library, day: str = "", *, family: str = "", offset: int = 0, limit: int = 50
) -> Day:
    """The page of a day, `2026-05-09`; without one, of the last day that has papers.

    A day without papers is an empty page between its neighbours. Raises UsageError for no day.
    """
    if not day:
        newest = library.papers(family=family, limit=1)
        day = newest[0].day if newest else datetime.now(UTC).date().isoformat()
    try:
        day = date.fromisoformat(day).isoformat()
    except ValueError:
        raise UsageError(f"{day[:40]!r} is no day", hint="2026-05-09") from None
    previous, following = library.near(day, family=family)
    papers = library.papers(day=day, family=family, offset=offset, limit=limit)
    total = library.count(day=day, family=family)
    return Day(day, papers, total, previous, following)


def talked_about(
    library: Library,
    measured: Mapping[str, Measured],
    *,
    now: datetime | None = None,
    family: str = "",
    limit: int = 20,
) -> list[tuple[Paper, float]]:
    """Papers with their score at a moment, the highest first; none with a score of 0."""
    moment = now or datetime.now(UTC)
    papers = library.papers(order="trending", measured=measured, family=family, limit=limit)
    heats = library.heats([paper.id for paper in papers])
    found = []
    for paper in papers:
        known = measured.get(paper.id)
        result = trending.heat([("result", known.date)]) if known and known.date else None
        heat = trending.joined(heats[paper.id], result)
        if heat is not None:
            found.append((paper, trending.score(heat, moment)))
    return found


def verdicts(library: Library, measured: Mapping[str, Measured]) -> dict[str, int]:
    """Verdict -> papers, in the order of `VERDICTS`; those without a system are `not built yet`."""
    counts = dict.fromkeys(VERDICTS, 0)
    for id in library.many(list(measured)):
        counts[measured[id].verdict] += 1
    counts[NOT_BUILT] = library.count() - sum(counts.values())
    return counts
