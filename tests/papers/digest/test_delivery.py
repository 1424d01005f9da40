"""The outbox: retries, what is given up, what is in doubt, one sender at a time."""

import pytest
from mail_server import DAY, HOUR

from tilth.errors import LockedError, UsageError
from tilth.papers.digest import Digest
from tilth.papers.digest.outbox import WAITS
from tilth.papers.digest.smtp import MailServer, Unreachable
from tilth.papers.digest.tokens import secret
from tilth.store.lock import lock

READER = "reader@example.org"


def entries(digest):
    return [(one.state, one.attempts) for one in digest.listed()[1]]


def test_a_temporary_refusal_is_tried_again_at_growing_distances(digest, server, postbox, clock):
    postbox.answers[READER] = "451 later please"
    digest.subscribe(READER, "daily")
    for number, wait in enumerate(WAITS, start=1):
        assert digest.deliver(server, {}).later == 1
        assert entries(digest) == [("waiting", number)]
        clock.now += wait - 1
        assert digest.deliver(server, {}).later == 0, "not before its time"
        clock.now += 1
    assert sorted(WAITS) == list(WAITS)
    assert digest.deliver(server, {}).given_up == 1
    (given_up,) = digest.listed()[1]
    assert (given_up.state, given_up.error) == ("given up", "451 later please")
    postbox.answers.clear()
    clock.now += 2 * DAY
    assert digest.deliver(server, {}).sent == 0 and postbox.kept == []


def test_a_refusal_for_good_is_given_up_at_once_and_stops_no_other(digest, server, postbox):
    postbox.answers[READER] = "550 no such mailbox"
    digest.subscribe(READER, "daily")
    digest.subscribe("other@example.org", "daily")
    done = digest.deliver(server, {})
    assert (done.sent, done.given_up) == (1, 1)
    assert entries(digest) == [("given up", 1)]


def test_a_server_that_is_not_there_counts_no_try(digest, server, postbox, run_server, clock):
    gone = run_server(postbox)
    gone.server.close()
    digest.subscribe(READER, "daily")
    for _ in range(2 * len(WAITS)):
        with pytest.raises(Unreachable):
            digest.deliver(MailServer("127.0.0.1", gone.port, False, "a@example.org"), {})
        clock.now += HOUR
    assert entries(digest) == [("waiting", 0)]
    assert digest.deliver(server, {}).sent == 1 and entries(digest) == []


def test_a_message_in_doubt_is_listed_and_never_sent_again(digest, server, postbox, clock):
    postbox.data_answers[READER] = "HANG UP"
    digest.subscribe(READER, "daily")
    digest.subscribe("other@example.org", "daily")
    done = digest.deliver(server, {})
    assert (done.sent, done.in_doubt) == (1, 1), "the next one has a session of its own"
    postbox.data_answers.clear()
    clock.now += DAY - 60
    digest.subscribe(READER, "daily")
    assert digest.deliver(server, {}).sent == 0
    (doubtful,) = digest.listed()[1]
    assert doubtful.state == "in doubt" and len(postbox.to(READER)) == 1
    assert postbox.to(READER)[0]["Message-ID"] == f"<{doubtful.message}@papers.example.org>"


def test_who_unsubscribes_meanwhile_gets_nothing(digest, server, postbox, library):
    digest.subscribe(READER, "daily")
    fetch = library.connection

    def removed_meanwhile():
        with fetch() as connection:
            connection.execute("DELETE FROM digest_subscription")
        return connection.close()

    original = server._addressed

    def addressed(recipient):
        found = original(recipient)
        removed_meanwhile()
        return found

    server._addressed = addressed
    done = digest.deliver(server, {})
    assert (done.sent, done.given_up, done.in_doubt) == (0, 0, 0)
    assert postbox.kept == [] and digest.listed() == ([], [])


def test_one_sender_at_a_time(digest, server, postbox, library, caplog):
    digest.subscribe(READER, "daily")
    with lock(library.path.with_name("papers.sqlite.sending")):
        with pytest.raises(LockedError):
            digest.deliver(server, {})
        digest.poster(server, dict)()  # A server that confirms at once leaves it to the other.
    assert postbox.kept == [] and not caplog.records
    digest.poster(server, dict)()
    assert len(postbox.to(READER)) == 1
    server.port = 1
    digest.subscribe("other@example.org", "daily")
    digest.poster(server, dict)()
    assert "mail waits" in caplog.text and "other@example.org" not in caplog.text


def test_a_message_that_cannot_be_written_stops_no_other(
    digest, server, postbox, subscribed, add, clock, monkeypatch
):
    subscribed(READER)
    subscribed("other@example.org", query="fine")
    clock.now += 60
    add("A fine paper")
    clock.now += DAY
    assert digest.collect({}) == 2
    compose = Digest.compose

    def failing(self, entry, sender, measured):
        made = compose(self, entry, sender, measured)
        if made[0] == READER:
            raise ValueError("a fault")
        return made

    monkeypatch.setattr(Digest, "compose", failing)
    done = digest.deliver(server, {})
    assert (done.sent, done.given_up) == (1, 1)
    (listed,) = digest.listed()[1]
    assert listed.error == "could not be written: ValueError: a fault"


def test_sending_needs_a_public_url(library, server, clock):
    inside = Digest(library, secret(library.path), clock=clock)
    with pytest.raises(UsageError, match="address under which"):
        inside.deliver(server, {})
    for url in ("papers.example.org", "ftp://h", "https://", "https://u@h", "https://h/?a",
                "https://h/\nx", "https://" + "h" * 300):  # fmt: skip
        with pytest.raises(UsageError):
            Digest(library, b"", url)
    assert Digest(library, b"", "http://[::1]:8000/tilth/").public_url == "http://[::1]:8000/tilth"
