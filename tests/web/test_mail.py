"""The mail routes as a server serves them: GET changes nothing, POST does, once; the form of the
papers page; hostile tokens and fields. The mails go through a real SMTP server."""

import random
import sys
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from web_site import ask, make_site, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "papers" / "digest"))
from mail_server import DAY, Postbox, Running, links

from tilth.papers.digest import Digest
from tilth.papers.digest.smtp import MailServer
from tilth.papers.digest.tokens import sign
from tilth.papers.paper import made_paper

KEY = "a-key-of-the-tests-0123456789"
READER = "reader@example.org"


@pytest.fixture(scope="module")
def mail():
    box = Postbox()
    server = Running(box)
    box.server = MailServer("127.0.0.1", server.port, False, "papers@example.org", timeout=10)
    yield box
    server.stop()


@pytest.fixture(scope="module")
def own_site(tmp_path_factory):
    site = make_site(tmp_path_factory.mktemp("mails"))
    yield site
    site.stop()


@pytest.fixture
def digest(own_site, mail):
    """Nobody has subscribed yet."""
    found = Digest(own_site.library, own_site.secret, "https://papers.example.org")
    found.listed()
    with own_site.library.connection() as connection:
        connection.execute("DELETE FROM digest_subscription")
        connection.execute("DELETE FROM digest_request")
    connection.close()
    mail.kept.clear()
    return found


def states(digest):
    return [one.state for one in digest.listed()[0]]


def test_subscribe_confirm_read_and_end_it_with_one_click(own_site, digest, mail):
    with serving(own_site) as address:
        form = {"address": READER, "every": "daily", "query": "", "family": "corpus"}
        status, text, _ = ask(address, "/subscribe", form)
        assert status == 200 and "mailbox" in text and READER not in text
        assert digest.deliver(mail.server, {}).sent == 1
        token = links(mail.to(READER)[0])["confirm"]
        path = f"/mail/confirm/{token}"
        status, text, headers = ask(address, path)
        assert status == 200 and '<form method="post">' in text and "corpus" in text
        assert headers["cache-control"] == "no-store" and READER not in text
        assert states(digest) == ["pending"], "looking changes nothing"
        assert ask(address, path, method="HEAD")[0] == 200 and states(digest) == ["pending"]
        # From the button of the page.
        status, text, _ = ask(address, path, {})
        assert status == 200 and "is confirmed" in text and states(digest) == ["active"]
        assert ask(address, path, {})[0] == 200 and "is confirmed" in ask(address, path)[1]

        now = datetime.now(UTC)
        paper = made_paper("A new paper of this family", family="corpus")
        own_site.library.add([paper], at=datetime.fromtimestamp(now.timestamp() + 60, UTC))
        tomorrow = date.fromordinal(now.date().toordinal() + 2)
        assert digest.collect({}, tomorrow) == 1 and digest.deliver(mail.server, {}).sent == 1
        message = mail.to(READER)[1]
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        path = message["List-Unsubscribe"].strip("<>").removeprefix("https://papers.example.org")
        status, text, _ = ask(address, path)
        assert status == 200 and '<form method="post">' in text and states(digest) == ["active"]
        # As RFC 8058 has it done by a mail program: no cookie, no origin, no redirect.
        body = b"List-Unsubscribe=One-Click"
        status, text, _ = ask(address, path, body, origin=None, accept="*/*")
        assert status == 200 and digest.listed() == ([], [])
        assert ask(address, path, body, origin=None)[0] == 200, "the second time changes nothing"
        status, text, _ = ask(address, path)
        assert status == 200 and "has ended" in text and "<form" not in text
        assert ask(address, f"/mail/confirm/{token}", {})[0] == 404, "nothing comes back"


def test_a_multipart_body_is_taken_as_well(own_site, digest, mail):
    digest.subscribe(READER, "daily")
    digest.deliver(mail.server, {})
    token = links(mail.to(READER)[0])["unsubscribe"]
    field = b'Content-Disposition: form-data; name="List-Unsubscribe"'
    body = b"--x\r\n" + field + b"\r\n\r\nOne-Click\r\n--x--\r\n"
    with serving(own_site, key=KEY, token="") as address:
        # Open without the server's key.
        status, _, _ = ask(address, f"/mail/unsubscribe/{token}", body, origin=None,
                           content_type="multipart/form-data; boundary=x")  # fmt: skip
        assert status == 200 and states(digest) == []


def test_every_token_that_is_not_good_gets_the_same_answer(own_site, digest):
    digest.subscribe(READER, "daily")
    name, now = digest.listed()[0][0].id, int(datetime.now(UTC).timestamp())
    secret = own_site.secret
    good = sign(secret, "confirm", name, now)
    bad = [
        sign(secret, "unsubscribe", name, now), sign(bytes(32), "confirm", name, now),
        sign(secret, "confirm", "0" * 32, now), sign(secret, "confirm", name, now - 3 * DAY),
        good[:-1], good + "0", good.upper(), "x", "%00", "%0d%0aSet-Cookie:a=b", "a" * 4000,
        "%F0%9F%8C%B1", "<script>",
    ]  # fmt: skip
    answers = set()
    with serving(own_site) as address:
        for token in bad:
            for form in (None, {}):
                answers.add(ask(address, f"/mail/confirm/{token}", form)[:2])
        status, text = answers.pop()
        assert not answers and status == 404 and "not good" in text
        for token in (good, "x"):
            answers.add(ask(address, f"/mail/unsubscribe/{token}", {})[:2])
        assert answers == {(404, text)} and states(digest) == ["pending"]


def test_the_answer_does_not_tell_whether_an_address_is_known(own_site, digest, mail):
    digest.subscribe(READER, "daily")
    digest.deliver(mail.server, {})
    mail.kept.clear()
    with serving(own_site) as address:
        answers = {
            ask(address, "/subscribe", {"address": whom, "every": "daily"})[:2]
            for whom in (READER, "new@example.org", READER, "new@example.org")
        }
        assert len(answers) == 1 and answers.pop()[0] == 200
        digest.deliver(mail.server, {})
        assert [message["To"] for message in mail.messages()] == ["new@example.org"]


@pytest.mark.parametrize(
    "form",
    [{}, {"address": READER}, {"address": READER, "every": "hourly"},
     {"address": f"{READER}\r\nBcc: other@example.org", "every": "daily"},
     {"address": f"{READER},other@example.org", "every": "daily"},
     {"address": READER, "every": "daily", "family": "none of ours"},
     {"address": READER, "every": "daily", "query": "http://evil.example"},
     {"address": "<script>alert(1)</script>@example.org", "every": "daily"},
     {"address": READER, "every": "daily", "query": "<script>alert(1)</script>"}],
)  # fmt: skip
def test_fields_that_are_refused(own_site, digest, form):
    with serving(own_site) as address:
        status, text, _ = ask(address, "/subscribe", form)
    assert status == 400 and "<script>alert" not in text and digest.listed() == ([], [])


def test_a_flood_is_told_to_wait(own_site, digest):
    with serving(own_site) as address:
        for number in range(5):
            form = {"address": f"a{number}@example.org", "every": "daily"}
            assert ask(address, "/subscribe", form)[0] == 200
        status, _, headers = ask(address, "/subscribe", form)
        assert status == 429 and headers["retry-after"] == "3600"
    assert len(digest.listed()[0]) == 5


def test_the_form_wants_the_key_and_its_own_page(own_site, digest):
    form = {"address": READER, "every": "daily"}
    with serving(own_site, key=KEY, token="") as address:
        assert ask(address, "/subscribe", form)[0] == 401
        assert ask(address, "/subscribe", form, authorization=f"Bearer {KEY}")[0] == 200
    with serving(own_site) as address:
        for origin in ("https://evil.example", "null", None):
            assert ask(address, "/subscribe", form, origin=origin)[0] == 403
        assert ask(address, "/subscribe", form, host="evil.example", origin=None)[0] == 403
        assert ask(address, "/subscribe")[0] in (404, 405)
    assert len(digest.listed()[0]) == 1


def test_a_server_that_can_send_asks_for_confirmation_at_once(own_site, digest, mail):
    taken = threading.Event()
    mail.taken = lambda envelope: taken.set()
    own_site.post = digest.poster(mail.server, dict)
    with serving(own_site) as address:
        assert ask(address, "/subscribe", {"address": READER, "every": "weekly"})[0] == 200
        assert taken.wait(30)
    mail.taken = own_site.post = None
    assert len(mail.to(READER)) == 1


def test_random_tokens_and_bodies_leave_the_server_whole(own_site, digest):
    chance = random.Random(0)
    with serving(own_site) as address:
        for _ in range(60):
            purpose, token = chance.choice(["confirm", "unsubscribe"]), chance.randbytes(30).hex()
            body = chance.randbytes(chance.randrange(200))
            assert ask(address, f"/mail/{purpose}/{token}", body)[0] == 404
            assert ask(address, "/subscribe", body)[0] == 400
        assert ask(address, "/health")[0] == 200
    assert digest.listed() == ([], [])


@pytest.mark.parametrize(
    "search, mailed",
    [
        ("q=low+rank", "low rank"),
        ("q=what+helps+against+long+texts", ""),
        ("q=what+helps+against+long+texts&how=words", "what helps against long texts"),
        ("q=what+helps%3F", ""),
        ("q=" + "a" * 81, ""),
        ("", ""),
    ],
)
def test_the_form_carries_only_a_query_that_a_mail_can_match(own_site, search, mailed):
    with serving(own_site) as address:
        _, text, _ = ask(address, f"/papers?{search}")
        assert f'name="query" value="{mailed}"' in text
        assert ("whatever you searched for" in text) == bool(search and not mailed)
        assert ("hold all words of" in text) == bool(mailed)
