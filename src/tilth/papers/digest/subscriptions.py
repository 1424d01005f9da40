"""Who wants what: asked for, confirmed from the mailbox itself (double opt-in), ended.

All functions take a connection to the library's file on which `tables.prepare` ran, and the time in
seconds since 1970. What is asked for is written before any mail is sent; nothing here sends one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from unicodedata import category

from tilth.errors import UsageError, nearest
from tilth.papers.digest import addresses, limits, outbox
from tilth.papers.digest.periods import EVERY
from tilth.papers.digest.tables import writing
from tilth.papers.digest.tokens import DAY, PURPOSES, nameless, new_name

LONGEST_QUERY = 80
# A query comes back in the mail that asks for confirmation, which a stranger can have sent to
# anybody: it can hold words, and no address of a page.
_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_COLUMNS = "id, address, every, query, family, state, since"


@dataclass(frozen=True)
class Subscription:
    """`query` and `family` narrow the feed, either may be empty; papers added after `since` are
    new to it. `state`: `pending` or `active`."""

    id: str
    address: str
    every: str
    query: str
    family: str
    state: str
    since: int

    def wants(self) -> str:
        """What it holds, in words."""
        papers = f"papers of the family {self.family}" if self.family else "papers"
        return f"{papers} with the words {self.query!r}" if self.query else papers


def wanted(every: str, query: str, family: str, families: Iterable[str]) -> tuple[str, str, str]:
    """The three, checked and in one spelling. Raises UsageError for what cannot be asked for."""
    families = sorted(families)
    if every not in EVERY:
        raise UsageError(f"every {every[:20]!r} is not known", hint=nearest(every, EVERY))
    if family and family not in families:
        raise UsageError(f"no family {family[:40]!r}", hint=nearest(family, families))
    query = " ".join(query.split())
    if len(query) > LONGEST_QUERY:
        raise UsageError(f"a query has at most {LONGEST_QUERY} characters")
    letters = _POINT.sub("", query)
    if not all(c in " +-'" or category(c)[0] in "LMN" for c in letters) or (
        query and not any(c.isalnum() for c in letters)
    ):
        raise UsageError("a query holds words: letters, digits, spaces, + - '")
    return every, query, family


def subscribe(
    connection: sqlite3.Connection,
    key: bytes,
    address: str,
    what: tuple[str, str, str],
    visitor: str,
    now: int,
) -> None:
    """Write down that somebody wants a digest at `address`; a mail that asks to confirm waits.

    `address` comes from `addresses.address`, `what` from `wanted`; `visitor` is whatever tells one
    visitor from another, or empty. What it did is not told: where the subscription is there
    already, where its confirmation was sent within a day, and where the mailbox has enough, nothing
    new is sent, and nobody outside can tell the cases apart. Raises LimitError (see limits.py).
    """
    every, query, family = what
    mailbox = nameless(key, "mailbox", addresses.mailbox(address))
    visitor = nameless(key, "visitor", visitor) if visitor else ""
    same = addresses.same(address)
    with writing(connection):
        forget_unconfirmed(connection, now)
        if not limits.take(connection, visitor, mailbox, now):
            return
        row = connection.execute(
            "SELECT id, state FROM digest_subscription"
            " WHERE same = ? AND every = ? AND query = ? AND family = ?",
            (same, every, query, family),
        ).fetchone()
        if row is None:
            count = "SELECT count(*) FROM digest_subscription WHERE same = ?"
            if connection.execute(count, (same,)).fetchone()[0] >= limits.SUBSCRIPTIONS:
                return
            name = new_name()
            connection.execute(
                "INSERT INTO digest_subscription VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
                (name, address, same, every, query, family, now, now),
            )
        elif row[1] == "active":
            return
        else:
            name = row[0]
            if outbox.under_way(connection, name, "confirm", now - DAY):
                return
            connection.execute("UPDATE digest_subscription SET asked = ? WHERE id = ?", (now, name))
        outbox.put(connection, key, name, "confirm", f"asked at {now}", now=now)


def confirm(connection: sqlite3.Connection, name: str, now: int) -> Subscription | None:
    """Make a subscription active: from now on it gets digests. None where it is not there.

    One that is active stays as it is. Another rhythm for the same papers takes the old one's place.
    """
    with writing(connection):
        found = find(connection, name)
        if found is None or found.state == "active":
            return found
        connection.execute(
            "UPDATE digest_subscription SET state = 'active', since = ? WHERE id = ?", (now, name)
        )
        connection.execute(
            "DELETE FROM digest_subscription WHERE same = ? AND query = ? AND family = ?"
            " AND id != ?",
            (addresses.same(found.address), found.query, found.family, name),
        )
    return find(connection, name)


def end(connection: sqlite3.Connection, name: str) -> bool:
    """Remove a subscription, its address and what waits for it; whether it was there."""
    with writing(connection):
        done = connection.execute("DELETE FROM digest_subscription WHERE id = ?", (name,))
        return done.rowcount > 0


def remove(connection: sqlite3.Connection, address: str) -> int:
    """Remove all subscriptions of an address; how many there were."""
    with writing(connection):
        statement = "DELETE FROM digest_subscription WHERE same = ?"
        return connection.execute(statement, (addresses.same(address),)).rowcount


def find(connection: sqlite3.Connection, name: str) -> Subscription | None:
    """One subscription."""
    statement = f"SELECT {_COLUMNS} FROM digest_subscription WHERE id = ?"
    row = connection.execute(statement, (name,)).fetchone()
    return Subscription(*row) if row else None


def seen(connection: sqlite3.Connection, name: str, until: int) -> None:
    """Papers added up to `until` are not new to a subscription any more; inside a transaction."""
    connection.execute("UPDATE digest_subscription SET since = ? WHERE id = ?", (until, name))


def listed(connection: sqlite3.Connection, state: str = "") -> list[Subscription]:
    """All subscriptions, or those in a state, oldest first."""
    statement = f"SELECT {_COLUMNS} FROM digest_subscription WHERE ? IN ('', state)"
    rows = connection.execute(f"{statement} ORDER BY asked, id", (state,)).fetchall()
    return [Subscription(*row) for row in rows]


def forget_unconfirmed(connection: sqlite3.Connection, now: int) -> None:
    """Remove, inside a transaction, what nobody confirmed while its link was good."""
    old = now - PURPOSES["confirm"]
    connection.execute(
        "DELETE FROM digest_subscription WHERE state = 'pending' AND asked <= ? AND NOT EXISTS ("
        "SELECT 1 FROM digest_outbox WHERE subscription = digest_subscription.id"
        " AND (changed > ? OR state IN ('waiting', 'claimed', 'handing over')))",
        (old, old),
    )
