"""Messages that wait, and what became of each.

    waiting -> claimed -> handing over -> sent
       ^          |            |--------> in doubt     nobody knows whether the server took it
       |----------|------------|--------> given up     refused for good, or tried often enough

`claimed`: a sender has taken it and talks to the server about sender and recipient; no byte of the
message has left. `handing over` is written to disk before the first byte does. One sender works on
a library at a time (it holds a lock that the system drops when it dies), so a row that is still in
one of the two states when a sender starts was left by one that died: `claimed` goes back to
`waiting`, nothing was sent; `handing over` becomes `in doubt`.

**At most once.** Between the server's "250 accepted" and our commit lies a moment in which a crash
leaves us not knowing. A message in doubt is not sent again but listed (`tilth papers digest
--list`): a digest that comes twice is what a reader takes for a broken list and reports as spam,
and what a missing one held is on the papers page; who misses a confirmation asks again a day later.
Its Message-ID is a digest of subscription and period, so a server's log answers the question.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tilth.papers.digest.tables import writing
from tilth.papers.digest.tokens import DAY, nameless

# Seconds until the next try, after the first, second ... one. After the last it is given up.
WAITS = (15 * 60, 3600, 4 * 3600, 12 * 3600, DAY)
# Rows of messages that are through are kept so long.
KEPT = 100 * DAY


@dataclass(frozen=True)
class Entry:
    """One message. `message`: the left part of its Message-ID; `papers`, `trending`: ids of papers;
    `more`: how many new ones it has no room for."""

    message: str
    subscription: str
    kind: str
    period: str
    papers: tuple[str, ...]
    more: int
    trending: tuple[str, ...]
    state: str
    attempts: int
    due: int
    changed: int
    error: str


_COLUMNS = (
    "message, subscription, kind, period, papers, more, trending, state, attempts, due, changed,"
    " error"
)


def _entry(row: tuple[Any, ...]) -> Entry:
    values = list(row)
    values[4], values[6] = tuple(json.loads(row[4])), tuple(json.loads(row[6]))
    return Entry(*values)


def put(
    connection: sqlite3.Connection, key: bytes, subscription: str, kind: str, period: str,
    *, papers: Sequence[str] = (), more: int = 0, trending: Sequence[str] = (), now: int,
) -> bool:  # fmt: skip
    """Let a message wait, inside a transaction. One of the same subscription, kind and period stays
    as it is, in whatever state; then False."""
    message = nameless(key, "message", f"{subscription}\n{kind}\n{period}")
    done = connection.execute(
        "INSERT INTO digest_outbox VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', 0, ?, ?, '')"
        " ON CONFLICT (subscription, kind, period) DO NOTHING",
        (message, subscription, kind, period, json.dumps(list(papers)), more,
         json.dumps(list(trending)), now, now),
    )  # fmt: skip
    return done.rowcount == 1


def under_way(
    connection: sqlite3.Connection, subscription: str, kind: str, since: int | None = None
) -> bool:
    """Whether a message of that kind is not through yet, or, with `since`, changed after it."""
    row = connection.execute(
        "SELECT 1 FROM digest_outbox WHERE subscription = ? AND kind = ?"
        " AND (state IN ('waiting', 'claimed', 'handing over') OR changed > ?) LIMIT 1",
        (subscription, kind, 1 << 62 if since is None else since),
    ).fetchone()
    return row is not None


def recover(connection: sqlite3.Connection, now: int) -> list[Entry]:
    """What a sender that died left is put back or put in doubt; returns the latter. For the one
    sender, at its start."""
    with writing(connection):
        connection.execute(
            "UPDATE digest_outbox SET state = 'waiting', changed = ? WHERE state = 'claimed'",
            (now,),
        )
        lost = listed(connection, "handing over")
        connection.execute(
            "UPDATE digest_outbox SET state = 'in doubt', changed = ?, error = ?"
            " WHERE state = 'handing over'",
            (now, "the sender died while the server was taking it"),
        )
        connection.execute(
            "DELETE FROM digest_outbox WHERE changed < ?"
            " AND state IN ('sent', 'in doubt', 'given up')",
            (now - KEPT,),
        )
    return lost


def next_due(connection: sqlite3.Connection, now: int) -> Entry | None:
    """The message that is sent next; confirmations come first, since somebody sits and waits."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM digest_outbox WHERE state = 'waiting' AND due <= ?"
        " ORDER BY kind != 'confirm', due, message LIMIT 1",
        (now,),
    ).fetchone()
    return _entry(row) if row else None


def move(
    connection: sqlite3.Connection, entry: Entry, before: str, after: str, now: int,
    error: str = "",
) -> bool:  # fmt: skip
    """From one state to the next; False where it is not in `before` (its subscription ended)."""
    with writing(connection):
        done = connection.execute(
            "UPDATE digest_outbox SET state = ?, changed = ?, error = ?"
            " WHERE message = ? AND state = ?",
            (after, now, error[:300], entry.message, before),
        )
        return done.rowcount == 1


def failed(
    connection: sqlite3.Connection, entry: Entry, error: str, now: int, *, for_good: bool = False
) -> str:
    """Count a try that failed, for now or for good; the state it is in then: `waiting` or `given
    up`."""
    tries = entry.attempts + 1
    state, due = "given up", entry.due
    if tries <= len(WAITS) and not for_good:
        state, due = "waiting", now + WAITS[tries - 1]
    with writing(connection):
        connection.execute(
            "UPDATE digest_outbox SET state = ?, attempts = ?, due = ?, changed = ?, error = ?"
            " WHERE message = ? AND state IN ('claimed', 'handing over')",
            (state, tries, due, now, error[:300], entry.message),
        )
    return state


def listed(connection: sqlite3.Connection, *states: str) -> list[Entry]:
    """The messages in those states, oldest change first."""
    marks = ", ".join("?" for _ in states)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM digest_outbox WHERE state IN ({marks}) ORDER BY changed, message",
        states,
    ).fetchall()
    return [_entry(row) for row in rows]
