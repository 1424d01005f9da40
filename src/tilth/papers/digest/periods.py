"""Days and weeks, in UTC. A digest holds what came before the present period began, so what it
holds does not depend on the minute in which it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

EVERY = ("daily", "weekly")


@dataclass(frozen=True)
class Period:
    """`name`: `2026-11-30` or `2026-W48`; `end`: seconds since 1970 at which it was over."""

    name: str
    end: int


def last_closed(every: str, today: date) -> Period:
    """The last period that was over when `today` began: the day before, or the ISO week before."""
    if every == "daily":
        return Period((today - timedelta(days=1)).isoformat(), seconds(today))
    monday = today - timedelta(days=today.weekday())
    year, week, _ = (monday - timedelta(days=1)).isocalendar()
    return Period(f"{year}-W{week:02}", seconds(monday))


def seconds(day: date) -> int:
    """Seconds since 1970 at the beginning of a day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
