"""The library: papers, votes and what they add up to, in one SQLite file.

    library = open_library()                       # builtin.py: with the papers that tilth brings
    library.add(papers)                            # Counts(added=2, merged=1, known=0)
    library.papers(family="corpus", order="trending", measured=measured, limit=20)

A paper that is there under its slug or under the same title (`paper.title_key`) is the same paper:
what it lacks is taken from the new one, what it has stays. Threads and processes may share a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tilth.errors import DamagedError, DataError, LockedError, UsageError, nearest
from tilth.papers import entries, tables, trending
from tilth.papers.measured import NOT_BUILT, VERDICTS, Measured
from tilth.papers.paper import Paper
from tilth.store.digest import digest

# Seconds that a writer waits for another one.
BUSY = 10.0
# Connections that wait for the next use, and papers of one answer.
IDLE, MOST = 8, 1000
_COLUMNS = (
    "id, title, authors, year, summary, abstract, address, family, source, added, built_in, votes"
)
_ORDERS = {
    "new": "added DESC, year DESC, title, id",
    "trending": "warmth IS NULL, warmth DESC, added DESC, year DESC, title, id",
}


class Counts(NamedTuple):
    """What became of papers: new, joined to one that lacked something, or known already."""

    added: int
    merged: int
    known: int


def default_library() -> Path:
    """`$TILTH_LIBRARY`, else `$XDG_DATA_HOME/tilth/papers.sqlite`, else below `~/.local/share`."""
    if given := os.environ.get("TILTH_LIBRARY"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "tilth" / "papers.sqlite"


class Library:
    """One file. Raises DamagedError where it is none of ours, DataError where it is a newer one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._idle: list[sqlite3.Connection] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # It holds addresses of people: it is for its owner alone, from its first byte.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise DataError(f"cannot be opened: {error.strerror}", where=str(path)) from None
        with self._connected() as connection:
            found = tables.migrate(connection)
        if found > len(tables.MIGRATIONS):
            raise DataError("was made by a newer version of tilth", where=str(path),
                            hint="--library names another file")  # fmt: skip

    def connection(self) -> sqlite3.Connection:
        """A connection of the caller's own, who closes it: autocommit, foreign keys, any thread.

        For tables that other parts keep in this file; they change none of the library's own.
        """
        made = sqlite3.connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON",
                           "trusted_schema = OFF", "cell_size_check = ON"):  # fmt: skip
                made.execute(f"PRAGMA {pragma}")
            made.create_function("joined", 2, trending.joined, deterministic=True)
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Close what waits for a next use; the library can be used on."""
        while self._idle:
            self._idle.pop().close()

    def paper(self, id: str) -> Paper:
        """Raises UsageError, with the nearest id, where there is none."""
        found = self.many([id])
        if not found:
            with self._connected() as connection:
                known = [
                    row[0] for row in connection.execute("SELECT id FROM paper WHERE built_in")
                ]
            raise UsageError(f"no paper has the id {id[:80]!r}", hint=nearest(id[:80], known))
        return found[id]

    def many(self, ids: Sequence[str]) -> dict[str, Paper]:
        """id -> paper of those that are there, in the order asked for."""
        with self._connected() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM paper WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            )
            found = {paper.id: paper for paper in map(_paper, rows)}
        return {id: found[id] for id in ids if id in found}

    def papers(
        self,
        *,
        family: str = "",
        verdict: str = "",
        text: str = "",
        order: Literal["new", "trending"] = "new",
        day: str | None = None,
        measured: Mapping[str, Measured] | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> list[Paper]:
        """A page of papers, the newest or the most talked about first.

        `text`: words that title, authors or summary must all hold. `day`: added on that day (UTC).
        `measured`: needed for verdicts, and for new results to count in `trending`. At most `MOST`
        papers. Raises UsageError for an order or a verdict that there is not.
        """
        if order not in _ORDERS:
            raise UsageError(f"no order {order!r}", hint=nearest(order, _ORDERS))
        where, values = _where(family, verdict, text, day, measured or {})
        warm = {
            slug: trending.heat([("result", one.date)])
            for slug, one in (measured or {}).items()
            if one.date
        }
        source = "paper"
        if order == "trending":
            source += (
                " LEFT JOIN (SELECT key AS slug, value AS of_results FROM json_each(?))"
                " ON slug = paper.id"
            )
            values = [json.dumps(warm), *values]
        # A function of Python for each row would take most of the time.
        joined = "CASE WHEN of_results IS NULL THEN heat ELSE joined(heat, of_results) END"
        warmth = joined if order == "trending" else "NULL"
        # Only ids are sorted: whole rows with their abstracts take three times as long.
        sql = (
            f"SELECT id, {warmth} AS warmth FROM {source} WHERE {where} "
            f"ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"
        )
        page = (max(0, min(limit, MOST)), max(0, min(offset, 1 << 31)))
        with self._connected() as connection:
            ids = [id for id, _ in connection.execute(sql, (*values, *page))]
        return list(self.many(ids).values())

    def count(
        self,
        *,
        family: str = "",
        verdict: str = "",
        text: str = "",
        day: str | None = None,
        measured: Mapping[str, Measured] | None = None,
    ) -> int:
        """How many papers `papers` would give without a limit."""
        where, values = _where(family, verdict, text, day, measured or {})
        with self._connected() as connection:
            sql = f"SELECT count(*) FROM paper WHERE {where}"
            return int(connection.execute(sql, values).fetchone()[0])

    def chosen(
        self,
        *,
        family: str = "",
        verdict: str = "",
        measured: Mapping[str, Measured] | None = None,
    ) -> set[str]:
        """The ids of all papers of a family and a verdict."""
        where, values = _where(family, verdict, "", None, measured or {})
        with self._connected() as connection:
            return {
                id for (id,) in connection.execute(f"SELECT id FROM paper WHERE {where}", values)
            }

    def families(self) -> dict[str, int]:
        """Family -> papers, by name; papers without one are under the empty name, where any are."""
        with self._connected() as connection:
            sql = "SELECT family, count(*) FROM paper GROUP BY family ORDER BY family"
            return dict(connection.execute(sql).fetchall())

    def near(self, day: str, *, family: str = "") -> tuple[str | None, str | None]:
        """The last day before and the first day after one on which papers were added."""
        family_too = "AND family = ?" if family else ""
        values = [family] if family else []
        before = f"SELECT max(added) FROM paper WHERE added < ? {family_too}"
        after = f"SELECT min(added) FROM paper WHERE added > ? {family_too}"
        with self._connected() as connection:
            (last,) = connection.execute(before, [day, *values]).fetchone()
            (first,) = connection.execute(after, [day + "~", *values]).fetchone()
        return (last and last[:10], first and first[:10])

    def heats(self, ids: Sequence[str]) -> dict[str, float | None]:
        """id -> heat of its import and votes (`trending`), None where there are none."""
        with self._connected() as connection:
            sql = "SELECT id, heat FROM paper WHERE id IN (SELECT value FROM json_each(?))"
            return dict(connection.execute(sql, (json.dumps(list(ids)),)).fetchall())

    @property
    def revision(self) -> int:
        """Counts up with each change of a text; votes do not change it."""
        with self._connected() as connection:
            return int(entries.fact(connection, "revision"))

    def texts(self) -> dict[str, tuple[str, str, str, str]]:
        """id -> (title, authors, summary, abstract) of all papers, by id, for a search."""
        with self._connected() as connection:
            sql = "SELECT id, title, authors, summary, abstract FROM paper ORDER BY id"
            return {
                id: (title, ", ".join(json.loads(authors)), summary, abstract)
                for id, title, authors, summary, abstract in connection.execute(sql)
            }

    def add(self, papers: Iterable[Paper], at: datetime | None = None) -> Counts:
        """Take papers in, all or none. Those that are there are joined, see the module.

        The id of a new one is the digest of its title, whatever id it claims to have.
        """
        now = _stamp(at)
        with self._writing() as connection:
            found = [entries.add(connection, paper, now) for paper in papers]
            if any(one != "known" for one in found):
                entries.revise(connection)
        return Counts(*(found.count(name) for name in Counts._fields))

    def bring(self, papers: Iterable[Paper], edition: str, at: datetime | None = None) -> bool:
        """Make these the papers that tilth brings; whether anything was done.

        `edition` names them: nothing is done where that edition is there already. One of an earlier
        edition that is no more brought goes, unless a user imported it or voted for it.
        """
        with self._connected() as connection:
            if entries.fact(connection, "edition") == edition:
                return False
        with self._writing() as connection:
            entries.bring(connection, list(papers), _stamp(at))
            entries.set_fact(connection, "edition", edition)
            entries.revise(connection)
        return True

    def vote(self, id: str, visitor: str, at: datetime | None = None) -> int:
        """One vote of a visitor for a paper, the same however often it comes; the votes it has.

        Of `visitor` only a digest is kept. Raises UsageError for a paper that is not there.
        """
        return self._voted(id, visitor, "INSERT OR IGNORE INTO vote VALUES (?, ?, ?)", _stamp(at))

    def withdraw(self, id: str, visitor: str) -> int:
        """Take a visitor's vote back, where there is one; the votes that the paper has."""
        return self._voted(id, visitor, "DELETE FROM vote WHERE paper = ? AND visitor = ?")

    def voted(self, id: str, visitor: str) -> bool:
        """Whether this visitor voted for this paper."""
        with self._connected() as connection:
            sql = "SELECT 1 FROM vote, paper WHERE paper = key AND id = ? AND visitor = ?"
            return connection.execute(sql, (id, _visitor(visitor))).fetchone() is not None

    def _voted(self, id: str, visitor: str, sql: str, *more: str) -> int:
        if not visitor:
            raise UsageError("a vote needs a visitor")
        self.paper(id)
        with self._writing() as connection:
            (key,) = connection.execute("SELECT key FROM paper WHERE id = ?", (id,)).fetchone()
            connection.execute(sql, (key, _visitor(visitor), *more))
            return entries.count_events(connection, key)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection for one piece of work. Errors of the file become tilth's own."""
        connection = None
        try:
            # Taking from a list is one step, so that no two threads get the same one.
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self.connection()
            yield connection
        except sqlite3.Error as error:
            raise self._told(error) from error
        finally:
            if connection is not None:
                if connection.in_transaction or len(self._idle) >= IDLE:
                    connection.close()
                else:
                    self._idle.append(connection)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction that may write from its first statement."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _told(self, error: sqlite3.Error) -> Exception:
        where, what = str(self.path), str(error)
        if "locked" in what or "busy" in what:
            return LockedError("another process writes to it", where=where, hint="try again")
        if "not a database" in what or "malformed" in what or "no such" in what:
            return DamagedError(f"is no library of papers: {what}", where=where,
                                hint="--library names another file")  # fmt: skip
        return DataError(f"cannot be used: {what}", where=where)


def _where(
    family: str, verdict: str, text: str, day: str | None, measured: Mapping[str, Measured]
) -> tuple[str, list[Any]]:
    """The condition of SQL for a choice of papers, and its values."""
    conditions, values = ["1"], list[Any]()
    if family:
        conditions.append("family = ?")
        values.append(family)
    if verdict:
        if verdict not in VERDICTS:
            raise UsageError(f"no verdict {verdict!r}", hint=nearest(verdict, VERDICTS))
        inside = "NOT IN" if verdict == NOT_BUILT else "IN"
        named = [s for s, m in measured.items() if verdict in (NOT_BUILT, m.verdict)]
        conditions.append(f"id {inside} (SELECT value FROM json_each(?))")
        values.append(json.dumps(named))
    if day is not None:
        conditions.append("added >= ? AND added < ?")
        values += [day, day + "~"]
    for word in text.casefold().split()[:20]:
        conditions.append("instr(folded, ?)")
        values.append(word)
    return " AND ".join(conditions), values


def _paper(row: Sequence[Any]) -> Paper:
    (id, title, authors, year, summary, abstract, address, family, source, added, built_in,
     votes) = row  # fmt: skip
    return Paper(
        id=id, title=title, authors=tuple(json.loads(authors)), year=year, summary=summary,
        abstract=abstract, address=address, family=family, source=source, added=added,
        built_in=bool(built_in), votes=votes,
    )  # fmt: skip


def _stamp(at: datetime | None) -> str:
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")


def _visitor(visitor: str) -> str:
    return digest("visitor", visitor)
