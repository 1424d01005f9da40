"""What a digest holds: papers that are new to a subscription, what trends, how each is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from tilth.papers.digest.messages import Shown
from tilth.papers.digest.subscriptions import Subscription
from tilth.papers.measured import NOT_BUILT, NOT_MEASURED, Measured
from tilth.papers.paper import Paper, clean_address, clean_line

# Papers in one mail; what is beyond is counted and linked. Letters of what a mail says of one.
MOST, TRENDING, LONGEST = 30, 5, 1_500
# Papers that are read at a time, and new ones beyond which nobody counts.
PAGE, COUNTED = 50, 1_000


class Feed(Protocol):
    """What is needed of the library: a page of its papers."""

    def papers(
        self, *, family: str, text: str, order: Any, measured: Any, offset: int, limit: int
    ) -> Sequence[Paper]: ...


def news(
    feed: Feed, to: Subscription, end: int, measured: Mapping[str, Measured]
) -> tuple[list[str], int, list[str]]:
    """Papers added after the subscription's `since` and up to `end`, newest first, how many more
    there are than a mail has room for, and a few that people vote for or that were measured lately
    and that are not among them; as ids. Nothing new: nothing at all."""
    new: list[str] = []
    for offset in range(0, COUNTED, PAGE):
        page = feed.papers(family=to.family, text=to.query, order="new", measured=None,
                           offset=offset, limit=PAGE)  # fmt: skip
        new += [paper.id for paper in page if to.since < added(paper) <= end]
        if len(page) < PAGE or added(page[-1]) <= to.since:
            break
    if not new:
        return [], 0, []
    trending = feed.papers(family=to.family, text=to.query, order="trending", measured=measured,
                           offset=0, limit=MOST + TRENDING)  # fmt: skip
    liked = [
        paper.id
        for paper in trending
        if (paper.votes or said(measured.get(paper.id)))
        and added(paper) <= end
        and paper.id not in new
    ]
    return new[:MOST], len(new[MOST:]), liked[:TRENDING]


def added(paper: Paper) -> int:
    """When a paper came into the library, in seconds since 1970."""
    found = datetime.fromisoformat(paper.added)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def shown(paper: Paper, measured: Mapping[str, Measured], public_url: str) -> Shown:
    """A paper for a mail. Its page is `PUBLIC_URL/papers/ID`."""
    summary = clean_line(paper.summary or paper.abstract)
    if len(summary) > LONGEST:
        summary = summary[:LONGEST].rsplit(" ", 1)[0] + " ..."
    authors = [clean_line(name) for name in paper.authors]
    return Shown(
        title=clean_line(paper.title),
        authors=", ".join(authors[:6]) + (" and others" if len(authors) > 6 else ""),
        year=paper.year,
        summary=summary,
        measured=said(measured.get(paper.id)),
        page=f"{public_url}/papers/{quote(paper.id, safe='')}",
        address=clean_address(paper.address),
    )


def said(measured: Measured | None) -> str:
    """The measurement in one sentence or two; nothing where there is none."""
    if measured is None or measured.verdict in (NOT_BUILT, NOT_MEASURED):
        return ""
    from tilth.evaluation.results import number

    found = f"Measured here at micro scale: {measured.verdict}."
    primary = measured.primary
    if primary is not None and primary.difference is not None:
        found += f" {primary.metric}, {primary.method} against {primary.baseline}:"
        found += f" difference {number(primary.difference)}"
        if primary.ci_low is not None and primary.ci_high is not None:
            found += f" ({number(primary.ci_low)} to {number(primary.ci_high)})"
        found += ", positive is better; "
        own = primary.paper
        found += "paper's figure not quoted." if own is None else f"the paper's: {number(own)}."
    return clean_line(found + (" The code has changed since." if measured.stale else ""))
