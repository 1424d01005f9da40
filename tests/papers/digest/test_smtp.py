"""A real SMTP server and the outcomes that it can give; TLS, logins, what is never sent openly."""

import shutil
import ssl
import subprocess
from email.message import EmailMessage

import pytest

from tilth.errors import UsageError
from tilth.papers.digest import smtp
from tilth.papers.digest.messages import POLICY
from tilth.papers.digest.smtp import MailServer, Unreachable, mail_server

READER = "reader@example.org"


def message():
    made = EmailMessage(policy=POLICY)
    made["To"] = READER
    made.set_content(".a line that begins with a point\n..\n")
    return made


def send(server, before=lambda: True):
    try:
        return server.send(message(), READER, before)
    finally:
        server.close()


def test_accepted_with_every_line_as_it_was(server, postbox):
    asked = []
    assert send(server, lambda: asked.append(len(postbox.kept)) is None) == ("accepted", "kept")
    assert asked == [0], "asked before anything left"
    (found,) = postbox.to(READER)
    assert found.get_content().splitlines() == [".a line that begins with a point", ".."]
    assert postbox.kept[0].mail_from == "papers@example.org"


def test_not_wanted_any_more(server, postbox):
    assert send(server, lambda: False) == ("stopped", "")
    assert postbox.kept == []


@pytest.mark.parametrize("where", ["answers", "data_answers"])
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("450 greylisted", "later"),
        ("550 5.1.1 no such mailbox", "refused"),
        ("554 5.7.1 relaying denied", "later"),
    ],
)
def test_refusals(server, postbox, where, answer, outcome):
    getattr(postbox, where)[READER] = answer
    assert send(server) == (outcome, answer)
    assert postbox.kept == []
    getattr(postbox, where).clear()
    assert send(server)[0] == "accepted"


def test_one_that_is_refused_leaves_the_session_for_the_next(server, postbox):
    postbox.answers["nobody@example.org"] = "550 no such mailbox"
    assert server.send(message(), "nobody@example.org", lambda: True)[0] == "refused"
    session = server._session
    assert send(server)[0] == "accepted" and session is not None


def test_a_session_that_ends_while_the_message_is_taken_leaves_doubt(server, postbox):
    postbox.data_answers[READER] = "HANG UP"
    assert send(server)[0] == "doubtful"
    assert len(postbox.kept) == 1, "here the server had taken it, and we cannot know"


def test_a_session_that_ends_before_is_tried_once_more(server, postbox):
    postbox.answers[READER] = "HANG UP"
    assert send(server)[0] == "later"
    assert postbox.kept == []


def test_what_the_server_has_against_the_sender_is_about_no_message(server, postbox):
    postbox.sender_answer = "553 not from here"
    with pytest.raises(Unreachable, match="not from here"):
        send(server)


def test_nobody_is_there(server, run_server, postbox):
    gone = run_server(postbox)
    gone.server.close()
    with pytest.raises(Unreachable, match="cannot be used"):
        send(MailServer("127.0.0.1", gone.port, False, "a@example.org", timeout=5))


def test_a_login(server, run_server, postbox):
    from aiosmtpd.smtp import AuthResult

    seen = []

    def check(server, session, envelope, mechanism, data):
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    port = run_server(postbox, authenticator=check, auth_require_tls=False, auth_required=True).port
    one = MailServer("127.0.0.1", port, False, "a@example.org", user="me", password="right")
    assert send(one)[0] == "accepted" and seen[-1] == (b"me", b"right")
    one.password = "wrong-word"
    assert "wrong-word" not in repr(one)
    with pytest.raises(Unreachable) as refused:
        send(one)
    assert "wrong-word" not in str(refused.value)
    one.user = ""
    with pytest.raises(Unreachable, match="sender"):
        send(one)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that the returned folder alone vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("implicit", [False, True])
def test_tls_with_a_certificate_that_is_checked(
    certificate, run_server, postbox, implicit, monkeypatch
):
    monkeypatch.setattr(smtp, "loopback", lambda host: False)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    settings = {"implicit_tls": own} if implicit else {"tls_context": own, "require_starttls": True}
    port = run_server(postbox, **settings).port
    trusts = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    fine = MailServer("localhost", port, implicit, "a@example.org", context=trusts, timeout=10)
    assert send(fine)[0] == "accepted"
    doubts = MailServer("localhost", port, implicit, "a@example.org", timeout=10)
    with pytest.raises(Unreachable, match="certificate"):
        send(doubts)
    other_name = MailServer("127.0.0.1", port, implicit, "a@example.org", context=trusts)
    with pytest.raises(Unreachable, match="certificate"):
        send(other_name)
    assert len(postbox.kept) == 1


def test_beyond_this_machine_nothing_is_sent_without_tls(server, postbox, monkeypatch):
    monkeypatch.setattr(smtp, "loopback", lambda host: False)
    with pytest.raises(Unreachable, match="no STARTTLS"):
        send(server)
    assert postbox.kept == []
    monkeypatch.undo()
    assert smtp.loopback("127.0.0.1") and smtp.loopback("::1") and smtp.loopback("localhost")
    assert not smtp.loopback("192.0.2.1") and not smtp.loopback("localhost.example.org")


def test_settings():
    given = {"TILTH_SMTP_FROM": "Die Papiere <papers@müller.example>", "TILTH_SMTP_USER": "u",
             "TILTH_SMTP_PASSWORD": "p", "TILTH_SMTP": "smtps://mail.example.org"}  # fmt: skip
    found = mail_server("", given)
    assert (found.host, found.port, found.tls) == ("mail.example.org", 465, True)
    assert (found.sender, found.name) == ("papers@xn--mller-kva.example", "Die Papiere")
    assert (found.user, found.password) == ("u", "p")
    other = mail_server("smtp://[::1]:2525", given)
    assert (other.host, other.port, other.tls) == ("::1", 2525, False)


@pytest.mark.parametrize(
    ("url", "sender", "says"),
    [("", "a@example.org", "no mail server"), ("http://h", "a@example.org", "no mail server"),
     ("smtp://", "a@example.org", "no mail server"), ("smtp://h:x", "a@example.org", "port"),
     ("smtp://me:secret@h", "a@example.org", "login"), ("smtp://h", "", "not set"),
     ("smtp://h", "a@b", "domain"), ("smtp://h", "a@example.org\nBcc: b@example.org", "not set")],
)  # fmt: skip
def test_settings_that_cannot_be_meant(url, sender, says):
    with pytest.raises(UsageError, match=says) as refused:
        mail_server(url, {"TILTH_SMTP_FROM": sender})
    assert "secret" not in str(refused.value)
