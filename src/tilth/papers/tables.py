"""The tables of the library's file. Times are ISO 8601 in UTC, to the second.

`imported` is when a user first imported the paper, empty for one that only tilth brought. `heat` is
that of the import and the votes (`trending`), empty for none. `folded` is what a filter by words
looks at. A visitor is a digest.
"""

from __future__ import annotations

import sqlite3

# One entry a version; a new one is added at the end, none is changed.
MIGRATIONS = (
    (
        """CREATE TABLE paper (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            title_key TEXT NOT NULL UNIQUE,
            authors TEXT NOT NULL,
            year INTEGER,
            summary TEXT NOT NULL,
            abstract TEXT NOT NULL,
            address TEXT NOT NULL,
            family TEXT NOT NULL,
            source TEXT NOT NULL,
            added TEXT NOT NULL,
            imported TEXT,
            built_in INTEGER NOT NULL,
            votes INTEGER NOT NULL DEFAULT 0,
            heat REAL,
            folded TEXT NOT NULL
        )""",
        "CREATE INDEX paper_added ON paper (added)",
        "CREATE INDEX paper_family ON paper (family, added)",
        """CREATE TABLE vote (
            paper INTEGER NOT NULL REFERENCES paper (key) ON DELETE CASCADE,
            visitor TEXT NOT NULL,
            at TEXT NOT NULL,
            PRIMARY KEY (paper, visitor)
        ) WITHOUT ROWID""",
        "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "INSERT INTO fact VALUES ('revision', '0')",
    ),
)


def migrate(connection: sqlite3.Connection) -> int:
    """Make the tables, or bring older ones up to date; the version that is there now.

    A version above `len(MIGRATIONS)` is left as it is. Two processes may do this at once.
    """
    if version(connection) >= len(MIGRATIONS):
        return version(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return version(connection)


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
