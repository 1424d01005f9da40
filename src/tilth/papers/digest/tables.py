"""The digest's own tables, in the file of the library. Times are seconds since 1970, UTC.

A subscription is `pending` until its link is opened, then `active`; when it ends its row goes, and
with it the address. The states of a message in the outbox are told in `outbox.py`. Requests hold no
address and no visitor, only their digests under the key, and go after a day.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

# One entry a version; a new one is added at the end, none is changed.
MIGRATIONS = (
    """
    CREATE TABLE digest_subscription (
        id TEXT PRIMARY KEY,
        address TEXT NOT NULL,
        same TEXT NOT NULL,
        every TEXT NOT NULL CHECK (every IN ('daily', 'weekly')),
        query TEXT NOT NULL,
        family TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'active')),
        asked INTEGER NOT NULL,
        since INTEGER NOT NULL,
        UNIQUE (same, every, query, family)
    );
    CREATE TABLE digest_outbox (
        message TEXT PRIMARY KEY,
        subscription TEXT NOT NULL REFERENCES digest_subscription (id) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('confirm', 'digest')),
        period TEXT NOT NULL,
        papers TEXT NOT NULL,
        more INTEGER NOT NULL,
        trending TEXT NOT NULL,
        state TEXT NOT NULL CHECK (
            state IN ('waiting', 'claimed', 'handing over', 'sent', 'in doubt', 'given up')),
        attempts INTEGER NOT NULL,
        due INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        error TEXT NOT NULL,
        UNIQUE (subscription, kind, period)
    );
    CREATE INDEX digest_outbox_state ON digest_outbox (state, due);
    CREATE TABLE digest_request (
        at INTEGER NOT NULL, visitor TEXT NOT NULL, mailbox TEXT NOT NULL
    );
    CREATE INDEX digest_request_at ON digest_request (at);
    """,
)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring older ones up to date. The library's own version is not touched."""
    if _version(connection) == len(MIGRATIONS):
        return
    with writing(connection):
        done = _version(connection)
        if done < 0:
            connection.execute("CREATE TABLE digest_version (version INTEGER NOT NULL)")
            connection.execute("INSERT INTO digest_version VALUES (0)")
        for script in MIGRATIONS[max(done, 0) :]:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        if done < len(MIGRATIONS):
            connection.execute("UPDATE digest_version SET version = ?", (len(MIGRATIONS),))


def _version(connection: sqlite3.Connection) -> int:
    """-1 where there are no tables yet."""
    there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'digest_version'"
    if connection.execute(there).fetchone() is None:
        return -1
    return int(connection.execute("SELECT version FROM digest_version").fetchone()[0])


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that has the right to write from its first statement, and that is on disk
    when it is through (the library's connections wait for the disk): what was sent must not be
    forgotten when the power fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
