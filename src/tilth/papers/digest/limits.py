"""How often the subscribe form is heard: for each visitor, each mailbox, and in all.

Whoever fills in the form decides who gets a mail, so a stranger must not be able to fill anybody's
mailbox, nor to make this machine a sender of thousands of mails. A visitor beyond the limit is
told; a mailbox beyond its limit simply gets nothing, since the answer must not tell whether an
address is known. The limit in all also means that somebody with many machines can keep others from
subscribing for an hour: that is chosen over sending their mails.
"""

from __future__ import annotations

import sqlite3

from tilth.errors import LimitError

HOUR, DAY = 3600, 24 * 3600
# At most so many in so many seconds.
VISITOR = ((5, HOUR), (20, DAY))
MAILBOX = ((3, DAY),)
ALL = ((200, HOUR),)
# Subscriptions of one mailbox at a time.
SUBSCRIPTIONS = 20


def take(connection: sqlite3.Connection, visitor: str, mailbox: str, now: int) -> bool:
    """Count one request, inside a transaction; whether the mailbox may get a mail.

    `visitor` and `mailbox` are digests; an empty visitor (the command line) has no limit of its
    own. Raises LimitError where the visitor or all together asked too often; nothing is counted
    then.
    """
    connection.execute("DELETE FROM digest_request WHERE at <= ?", (now - DAY,))
    if visitor and _beyond(connection, "visitor = ?", [visitor], VISITOR, now):
        raise LimitError("too many subscriptions were asked for from here", hint="try again later")
    if _beyond(connection, "1", [], ALL, now):
        raise LimitError("too many subscriptions are being asked for", hint="try again later")
    allowed = not _beyond(connection, "mailbox = ?", [mailbox], MAILBOX, now)
    connection.execute("INSERT INTO digest_request VALUES (?, ?, ?)", (now, visitor, mailbox))
    return allowed


def _beyond(
    connection: sqlite3.Connection,
    which: str,
    values: list[str],
    limits: tuple[tuple[int, int], ...],
    now: int,
) -> bool:
    for count, seconds in limits:
        statement = f"SELECT count(*) FROM digest_request WHERE {which} AND at > ?"
        if connection.execute(statement, [*values, now - seconds]).fetchone()[0] >= count:
            return True
    return False
