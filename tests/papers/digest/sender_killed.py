"""Kill a sender at each of its steps, run it again, and look what the mail server has and the
library says. A process of its own, since it forks: no thread may be in it.

sender_killed.py FOLDER PORT KEPT      KEPT: lines of JSON that the server writes as it takes mail
"""

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from tilth.papers.digest import Digest, outbox
from tilth.papers.digest.smtp import MailServer
from tilth.papers.digest.tokens import sign
from tilth.papers.library import Library
from tilth.papers.paper import made_paper
from tilth.store import write
from tilth.testing.faults import count_moments, run_until

KEY, NOON, DAY = bytes(32), datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp(), 24 * 3600
FOLDER, PORT, KEPT = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])


class Traced(Library):
    """A library whose every commit is a moment, beside those of the delivery: a kill at any other
    statement leaves the same file as one at the commit after it."""

    def connection(self):
        made = super().connection()
        made.set_trace_callback(self.reached)
        return made

    def reached(self, statement):
        if write.fault is not None and statement == "COMMIT":
            write.fault("commit", self.path)


def prepare(path):
    """A reader who gets a digest, one who is asked to confirm, one whose server says no."""
    library = Library(path)
    digest = Digest(library, KEY, "https://papers.example.org", clock=lambda: NOON)
    for name in ("reader", "nobody"):
        digest.subscribe(f"{name}@example.org", "daily")
    for one in digest.listed()[0]:
        assert digest.confirm(sign(KEY, "confirm", one.id, int(NOON)))
    with library.connection() as connection:
        connection.execute("UPDATE digest_outbox SET state = 'sent'")
    connection.close()
    library.add([made_paper("A new paper")], at=datetime.fromtimestamp(NOON + 60, UTC))
    Digest(library, KEY, clock=lambda: NOON + DAY).subscribe("asked@example.org", "daily")
    with library.connection() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    library.close()


def work(path, sender):
    library = Traced(path)
    digest = Digest(library, KEY, "https://papers.example.org", clock=lambda: NOON + DAY)
    digest.collect({})
    digest.deliver(MailServer("127.0.0.1", PORT, False, sender, timeout=10), {})


def ended(path, sender):
    """(Message-IDs that the server took from this sender, state of each message in the outbox)."""
    lines = [json.loads(line) for line in KEPT.read_text().splitlines()]
    kept = [line["message"] for line in lines if line["sender"] == sender]
    library = Library(path)
    with library.connection() as connection:
        states = ("waiting", "claimed", "handing over", "sent", "in doubt", "given up")
        found = outbox.listed(connection, *states)
    connection.close()
    library.close()
    return kept, {one.message: one.state for one in found if one.changed > NOON}


def checked(path, sender, expected, moment):
    """Run to the end and compare; the messages in doubt."""
    assert not run_until(lambda: work(path, sender), -1), moment
    kept, states = ended(path, sender)
    assert len(kept) == len(set(kept)), ("sent twice", moment)
    assert set(states) == set(expected), moment
    doubtful = [message for message, state in states.items() if state == "in doubt"]
    for message, state in expected.items():
        if message not in doubtful:
            assert states[message] == state, (moment, states)
            assert (message in kept) == (state == "sent"), ("lost", moment)
    assert len(doubtful) <= 1, moment
    return doubtful, kept


def main():
    base = FOLDER / "base.sqlite"
    prepare(base)
    shutil.copy(base, FOLDER / "whole.sqlite")
    whole = lambda: work(FOLDER / "whole.sqlite", "whole@example.org")  # noqa: E731
    moments = [moment for moment, _ in count_moments(whole)]
    kept, expected = ended(FOLDER / "whole.sqlite", "whole@example.org")
    assert sorted(expected.values()) == ["given up", "sent", "sent"]
    assert len(set(kept)) == len(kept) == 2

    in_doubt = []
    for strike, moment in enumerate(moments):
        path, sender = FOLDER / f"{strike}.sqlite", f"s{strike}@example.org"
        shutil.copy(base, path)
        assert run_until(lambda p=path, s=sender: work(p, s), strike), moment
        doubtful, kept = checked(path, sender, expected, moment)
        if doubtful:
            in_doubt.append((moment, doubtful[0] in kept))
    # In doubt is what was being handed over, and nothing else. The server did have some of them.
    window = [("handing over", False), ("answered", True), ("commit", True)]
    assert in_doubt == window * 2

    # Killed by the server itself: it has the message, and its answer never comes.
    path = FOLDER / "struck.sqlite"
    shutil.copy(base, path)
    assert run_until(lambda: work(path, f"kill-{os.getpid()}@example.org"), -1)
    struck = [line for line in map(json.loads, KEPT.open()) if line["sender"].startswith("kill-")]
    doubtful, kept = checked(path, "again@example.org", expected, "while the server took it")
    assert doubtful == [line["message"] for line in struck] and doubtful[0] not in kept
    print(len(moments), "moments", len(in_doubt) + 1, "in doubt")


main()
