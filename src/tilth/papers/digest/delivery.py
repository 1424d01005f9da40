"""Send what waits in the outbox, each message once; see outbox.py for the states."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from tilth.papers.digest import outbox
from tilth.papers.digest.outbox import Entry
from tilth.papers.digest.smtp import MailServer, Unreachable
from tilth.store import write
from tilth.store.lock import lock


@dataclass
class Delivered:
    """How many messages came to which end in one run. `in_doubt` counts what was found, too."""

    sent: int = 0
    later: int = 0
    given_up: int = 0
    in_doubt: int = 0


def deliver(
    connection: sqlite3.Connection,
    library: Path,
    server: MailServer,
    compose: Callable[[Entry], tuple[str, EmailMessage] | None],
    clock: Callable[[], float] = time.time,
) -> Delivered:
    """Send every message that is due. `compose` makes recipient and message of an entry; None where
    it is no longer wanted.

    Raises LockedError where another process sends for this library, Unreachable where no session
    with the server can be had: what waits then waits on, and no try is counted.
    """
    done = Delivered()
    with lock(library.with_name(library.name + ".sending")):
        done.in_doubt += len(outbox.recover(connection, int(clock())))
        _reach("recovered", library)
        try:
            while entry := outbox.next_due(connection, int(clock())):
                server.open()
                _one(connection, library, server, entry, compose, clock, done)
        finally:
            server.close()
    return done


def _one(
    connection: sqlite3.Connection,
    library: Path,
    server: MailServer,
    entry: Entry,
    compose: Callable[[Entry], tuple[str, EmailMessage] | None],
    clock: Callable[[], float],
    done: Delivered,
) -> None:
    def moved(before: str, after: str, error: str = "") -> bool:
        return outbox.move(connection, entry, before, after, int(clock()), error)

    def handing_over() -> bool:
        _reach("addressed", library)
        taken = moved("claimed", "handing over")
        _reach("handing over", library)
        return taken

    _reach("due", library)
    if not moved("waiting", "claimed"):
        return
    _reach("claimed", library)
    try:
        made = compose(entry)
    except Exception as error:
        # One that cannot be written must not hold up the others.
        made, what = None, f"could not be written: {type(error).__name__}: {error}"
    else:
        what = "nothing of it is left"
    if made is None:
        done.given_up += moved("claimed", "given up", what)
        return
    recipient, message = made
    try:
        outcome, words = server.send(message, recipient, handing_over)
    except Unreachable:
        moved("claimed", "waiting")
        raise
    _reach("answered", library)
    if outcome == "accepted":
        moved("handing over", "sent")
        done.sent += 1
    elif outcome == "doubtful":
        moved("handing over", "in doubt", words)
        done.in_doubt += 1
    elif outcome in ("later", "refused"):
        refused = outcome == "refused"
        state = outbox.failed(connection, entry, words, int(clock()), for_good=refused)
        done.later += state == "waiting"
        done.given_up += state == "given up"
    _reach("written", library)


def _reach(moment: str, library: Path) -> None:
    """A moment at which a crash could matter: the tests' faults strike here, too."""
    if write.fault is not None:
        write.fault(moment, library)
