"""A mail server, a library, and a clock that is set by hand."""

import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tilth.papers.builtin import open_library
from tilth.papers.digest import Digest
from tilth.papers.digest.smtp import MailServer
from tilth.papers.digest.tokens import secret
from tilth.papers.library import Library
from tilth.papers.paper import made_paper

sys.path.insert(0, str(Path(__file__).parent))
from mail_server import Postbox, Running, links

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)  # A Monday.


@pytest.fixture
def run_server():
    running = []

    def start(box, **settings):
        running.append(Running(box, **settings))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def postbox():
    return Postbox()


@pytest.fixture
def server(postbox, run_server):
    port = run_server(postbox).port
    return MailServer("127.0.0.1", port, False, "papers@example.org", name="Papers", timeout=10)


class Clock:
    def __init__(self):
        self.now = NOON.timestamp()

    def __call__(self):
        return self.now

    def moment(self):
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def with_builtin(tmp_path_factory):
    """The file of a library that holds the built-in papers."""
    path = tmp_path_factory.mktemp("library") / "papers.sqlite"
    library = open_library(path)
    with library.connection() as connection:
        connection.execute("UPDATE paper SET added = '2026-11-01T00:00:00+00:00'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    library.close()
    return path


@pytest.fixture
def folder(tmp_path):
    """Killing a process loses nothing that the system already has, so memory will do for a disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def library(folder, with_builtin):
    shutil.copy(with_builtin, folder / "papers.sqlite")
    made = Library(folder / "papers.sqlite")
    yield made
    made.close()


@pytest.fixture
def digest(library, clock):
    key = secret(library.path)
    return Digest(library, key, "https://papers.example.org/", clock=clock)


@pytest.fixture
def add(library, clock):
    """Take a paper in at the clock's time; its id."""

    def added(title, **fields):
        paper = made_paper(title, **fields)
        library.add([paper], at=clock.moment())
        return paper.id

    return added


@pytest.fixture
def subscribed(digest, server, postbox):
    """Subscribe and confirm by the mail's own link; the subscription."""

    def through(address, every="daily", **what):
        digest.subscribe(address, every, **what)
        digest.deliver(server, {})
        message = postbox.to(address)[-1]
        found = digest.confirm(links(message)["confirm"])
        assert found is not None and found.state == "active"
        return found

    return through
