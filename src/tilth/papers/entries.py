"""One paper into the tables of the library: as a new row, or joined to the row it belongs to.

All functions run inside the caller's transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from tilth.papers import trending
from tilth.papers.paper import Paper, id_of, title_key

# What an import may fill in where the library has nothing.
_FILLED = ("authors", "year", "summary", "abstract", "address", "family")
_EMPTY = (None, "", "[]")


def add(connection: sqlite3.Connection, paper: Paper, now: str) -> str:
    """`added`, `merged` or `known`. A slug is believed where tilth brings a paper of that slug."""
    key = title_key(paper.title)
    names = "key, imported, built_in, source, " + ", ".join(_FILLED)
    row = connection.execute(
        f"SELECT {names} FROM paper WHERE (id = ? AND built_in) OR title_key = ? "
        "ORDER BY id = ? DESC",
        (paper.id, key, paper.id),
    ).fetchone()
    if row is None:
        _insert(connection, paper, id_of(paper.title), now, imported=now)
        return "added"
    number, imported, built_in, source, *here = row
    given = _values(paper)
    changed = {
        name: given[name]
        for name, old in zip(_FILLED, here)
        if old in _EMPTY and given[name] not in _EMPTY
    }
    if imported is None:
        changed["imported"] = now
    if built_in and source == "built in":
        changed["source"] = paper.source
    if not changed:
        return "known"
    _update(connection, number, changed)
    return "merged"


def bring(connection: sqlite3.Connection, papers: Sequence[Paper], now: str) -> None:
    """Make these the built-in ones; see `library.Library.bring`."""
    connection.execute("UPDATE paper SET built_in = 0")
    for paper in papers:
        number = _one_row(connection, paper)
        if number is None:
            _insert(connection, paper, paper.id, now, built_in=1)
            continue
        given = _values(paper)
        own = {"id": paper.id, "title": paper.title, "title_key": title_key(paper.title),
               "built_in": 1}  # fmt: skip
        told = {name: given[name] for name in ("year", "summary", "family")}
        _update(connection, number, {**own, **{n: v for n, v in told.items() if v not in _EMPTY}})
    connection.execute("DELETE FROM paper WHERE NOT built_in AND imported IS NULL AND votes = 0")


def _one_row(connection: sqlite3.Connection, paper: Paper) -> int | None:
    """The row of a slug or of its title; two rows become one, with the votes of both."""
    rows = connection.execute(
        "SELECT key, source, " + ", ".join(_FILLED) + " FROM paper WHERE id = ? OR title_key = ? "
        "ORDER BY id = ? DESC",
        (paper.id, title_key(paper.title), paper.id),
    ).fetchall()
    if len(rows) == 2:
        (stays, _, *here), (goes, source, *there) = rows
        filled = {n: new for n, old, new in zip(_FILLED, here, there) if old in _EMPTY}
        (imported,) = connection.execute(
            "SELECT min(imported) FROM paper WHERE key IN (?, ?)", (stays, goes)
        ).fetchone()
        connection.execute(
            "INSERT OR IGNORE INTO vote SELECT ?, visitor, at FROM vote WHERE paper = ?",
            (stays, goes),
        )
        connection.execute("DELETE FROM paper WHERE key = ?", (goes,))
        _update(connection, stays, {**filled, "imported": imported, "source": source})
    return rows[0][0] if rows else None


def count_events(connection: sqlite3.Connection, number: int) -> int:
    """Bring a paper's votes and heat up to date; the votes."""
    votes = connection.execute("SELECT at FROM vote WHERE paper = ?", (number,)).fetchall()
    (imported,) = connection.execute(
        "SELECT imported FROM paper WHERE key = ?", (number,)
    ).fetchone()
    events = [("vote", at) for (at,) in votes] + ([("import", imported)] if imported else [])
    heat = trending.heat(events) if events else None
    connection.execute(
        "UPDATE paper SET votes = ?, heat = ? WHERE key = ?", (len(votes), heat, number)
    )
    return len(votes)


def fact(connection: sqlite3.Connection, name: str) -> str:
    """A fact about the whole library, `` where it is not known."""
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def set_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def revise(connection: sqlite3.Connection) -> None:
    """Say that texts have changed."""
    set_fact(connection, "revision", str(int(fact(connection, "revision")) + 1))


def _values(paper: Paper) -> dict[str, Any]:
    names = ("title", "year", "summary", "abstract", "address", "family", "source")
    return {
        **{name: getattr(paper, name) for name in names},
        "authors": json.dumps(paper.authors, ensure_ascii=False),
    }


def _insert(connection: sqlite3.Connection, paper: Paper, id: str, now: str, **more: Any) -> None:
    row = {"built_in": 0, **_values(paper), "id": id, "title_key": title_key(paper.title),
           "added": now, "folded": "", **more}  # fmt: skip
    made = connection.execute(
        f"INSERT INTO paper ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )
    assert made.lastrowid is not None
    _follow(connection, made.lastrowid)


def _update(connection: sqlite3.Connection, number: int, changed: dict[str, Any]) -> None:
    names = ", ".join(f"{name} = ?" for name in changed)
    connection.execute(f"UPDATE paper SET {names} WHERE key = ?", (*changed.values(), number))
    _follow(connection, number)


def _follow(connection: sqlite3.Connection, number: int) -> None:
    """What follows from the other columns of a row."""
    words = connection.execute(
        "SELECT title, authors, summary FROM paper WHERE key = ?", (number,)
    ).fetchone()
    connection.execute(
        "UPDATE paper SET folded = ? WHERE key = ?", ("\n".join(words).casefold(), number)
    )
    count_events(connection, number)
