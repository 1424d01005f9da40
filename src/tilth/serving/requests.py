"""The cache of requests: answers that were given once are not asked for again.

One SQLite file; one request is the unit, written as soon as its answer is there, so a run that is
killed goes on where it stopped. Answers that are ok or refused are kept; what failed, timed out or
was malformed is asked for again. Several processes may share the file.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tilth.errors import DamagedError
from tilth.serving.answering import Answering, Request
from tilth.types import Answer

KEPT = ("ok", "refused")
WAIT_SECONDS = 60.0


class RequestCache:
    """Answers by key. Raises DamagedError where the file is not such a cache."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(key TEXT PRIMARY KEY, driver TEXT, model TEXT, answer TEXT) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise DamagedError(
                f"is no cache of requests: {error}", where=str(path), hint="delete it"
            ) from None

    def __enter__(self) -> RequestCache:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._lock:
            return self._database.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Let go of the file; what was put is there."""
        self._database.close()

    def get(self, key: str) -> Answer | None:
        """The answer that was put under this key."""
        with self._lock:
            row = self._database.execute(
                "SELECT answer FROM answers WHERE key = ?", (key,)
            ).fetchone()
        # JSON with escapes: a text may hold what SQLite's own encoding cannot.
        return Answer(*json.loads(row[0])) if row else None

    def put(self, key: str, driver: str, model: str, answer: Answer) -> None:
        """Keep an answer that is worth it; the first one under a key stays."""
        if answer.outcome not in KEPT:
            return
        packed = json.dumps([answer.outcome, answer.text, answer.reason])
        with self._lock:
            self._database.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", (key, driver, model, packed)
            )


class Cached(Answering):
    """A generator that asks another one only for what the cache does not hold.

    `asked` and `found` count requests.
    """

    def __init__(self, generator: Answering, cache: RequestCache) -> None:
        self.generator, self.cache = generator, cache
        self.driver, self.model = generator.driver, generator.model
        self.asked = self.found = 0

    def render(self, prompt: str) -> str:
        return self.generator.render(prompt)

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        keys = [request.key(self.driver, self.model) for request in requests]
        missing = []
        for place, key in enumerate(keys):
            answer = self.cache.get(key)
            if answer is None:
                missing.append(place)
            else:
                self.found += 1
                yield place, answer
        for number, answer in self.generator.each([requests[place] for place in missing]):
            place = missing[number]
            self.asked += 1
            self.cache.put(keys[place], self.driver, self.model, answer)
            yield place, answer

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        return self.generator.score(texts)
