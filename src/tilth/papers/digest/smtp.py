"""A mail server as the outbox needs it: one session, one message a recipient, one clear outcome.

    smtp://HOST:PORT    STARTTLS; to this machine openly, as to the relay on its port 25; port 587
    smtps://HOST:PORT   TLS from the first byte; port 465

Certificates and names are checked by Python's default context ($SSL_CERT_FILE adds an authority).
A login goes over TLS, or to this machine, never else. The password is taken from the environment:
an argument would be seen by everybody who lists processes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Literal
from urllib.parse import urlsplit

from tilth.errors import TilthError, UsageError
from tilth.papers.digest.addresses import address

PORTS = {"smtp": 587, "smtps": 465}
# Seconds for one answer of the server. RFC 5321 asks for minutes at the end of the data.
TIMEOUT = 60.0
SERVER, SENDER = "TILTH_SMTP", "TILTH_SMTP_FROM"
USER, PASSWORD = "TILTH_SMTP_USER", "TILTH_SMTP_PASSWORD"

# accepted; later: not taken now; refused: not taken ever; doubtful: unknown; stopped: not wanted.
Outcome = Literal["accepted", "later", "refused", "doubtful", "stopped"]


class Unreachable(TilthError):
    """No mail can be sent there now. That says nothing about any one message."""


@dataclass
class MailServer:
    """Where mail goes and from whom. `open`, `send` as often as wanted, and `close` at the end."""

    host: str
    port: int
    tls: bool
    sender: str
    name: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    context: ssl.SSLContext | None = None
    timeout: float = TIMEOUT
    _session: smtplib.SMTP | None = field(default=None, repr=False)

    def open(self) -> None:
        """A session, unless there is one. Raises Unreachable."""
        if self._session is not None:
            return
        try:
            if self.tls:
                session: smtplib.SMTP = smtplib.SMTP_SSL(
                    self.host, self.port, timeout=self.timeout, context=self._trusted()
                )
            else:
                session = smtplib.SMTP(self.host, self.port, timeout=self.timeout)
        except (OSError, smtplib.SMTPException) as error:
            raise self._unreachable(error) from None
        try:
            self._secured(session)
        except (OSError, smtplib.SMTPException) as error:
            session.close()
            raise self._unreachable(error) from None
        except BaseException:
            session.close()
            raise
        self._session = session

    def _trusted(self) -> ssl.SSLContext:
        return self.context or ssl.create_default_context()

    def _secured(self, session: smtplib.SMTP) -> None:
        session.ehlo()
        if not self.tls and not loopback(self.host):
            # A man in the middle can take the offer of STARTTLS away: without it nothing is sent.
            if not session.has_extn("starttls"):
                raise Unreachable("the mail server offers no STARTTLS", where=self.host,
                                  hint="smtps://HOST, or a relay on this machine")  # fmt: skip
            session.starttls(context=self._trusted())
            session.ehlo()
        if self.user:
            session.login(self.user, self.password)

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"the mail server cannot be used: {_words(error)}",
                           where=f"{self.host}:{self.port}")  # fmt: skip

    def send(
        self, message: EmailMessage, recipient: str, before: Callable[[], bool]
    ) -> tuple[Outcome, str]:
        """Hand one message over; the outcome and the server's words.

        `before` is called when sender and recipient are accepted and no byte of the message has
        left; where it returns False nothing is sent. Raises Unreachable, before anything was sent.
        """
        data = message.as_bytes()
        try:
            refused = self._addressed(recipient)
        except (smtplib.SMTPException, OSError):
            # A server may end a session that waited: once more, in a new one.
            self._drop()
            try:
                refused = self._addressed(recipient)
            except (smtplib.SMTPException, OSError) as error:
                self._drop()
                return "later", _words(error)
        if refused is not None:
            self._reset()
            return refused
        if not before():
            self._reset()
            return "stopped", ""
        assert self._session is not None
        try:
            code, words = self._session.data(data)
        except smtplib.SMTPDataError as error:
            return self._answered(error.smtp_code, error.smtp_error)  # Before the first byte.
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            return "doubtful", _words(error)
        return self._answered(code, words)

    def _answered(self, code: int, words: bytes | str) -> tuple[Outcome, str]:
        if code == 250:
            return "accepted", _text(words)
        self._reset()
        return _refusal(code, words)

    def _addressed(self, recipient: str) -> tuple[Outcome, str] | None:
        """Name sender and recipient; what the server has against the recipient. Raises Unreachable
        for what it has against the sender: that is the same for every message."""
        self.open()
        assert self._session is not None
        code, words = self._session.mail(self.sender)
        if code != 250:
            raise Unreachable("the mail server does not take mail from this sender: "
                              f"{code} {_text(words)}", where=self.sender)  # fmt: skip
        code, words = self._session.rcpt(recipient)
        if code in (250, 251):
            return None
        return _refusal(code, words)

    def _reset(self) -> None:
        try:
            assert self._session is not None
            self._session.rset()
        except (smtplib.SMTPException, OSError):
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def close(self) -> None:
        """Say goodbye, where there is a session."""
        if self._session is not None:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._session.quit()
            self._drop()


def _refusal(code: int, words: bytes | str) -> tuple[Outcome, str]:
    """For good where the mailbox or the message is refused. What a server says of itself or of us
    (5.7.x of RFC 3463: relaying denied, a list of senders) can be put right, and is tried again."""
    text = _text(words)
    for_good = code >= 500 and not text.startswith("5.7.")
    return ("refused" if for_good else "later"), f"{code} {text}"


def mail_server(given: str, environment: Mapping[str, str]) -> MailServer:
    """The server from its URL, or else from $TILTH_SMTP; sender and login from the environment.

    Raises UsageError for what is missing or cannot be meant.
    """
    where = "--smtp" if given else f"${SERVER}"
    given = given or environment.get(SERVER, "")
    if not given:
        raise UsageError("no mail server is named",
                         hint=f"--smtp smtp://HOST:PORT, or ${SERVER}")  # fmt: skip
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise UsageError("the port is no number", where=where) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/"):
        raise UsageError("is no mail server", where=where,
                         hint="smtp://HOST:PORT or smtps://HOST:PORT")  # fmt: skip
    if parts.username or parts.password:
        raise UsageError("a login has no place in a URL", where=where,
                         hint=f"${USER} and ${PASSWORD}")  # fmt: skip
    written = environment.get(SENDER, "")
    name, sender = parseaddr(written) if written.isprintable() else ("", "")
    if not sender:
        raise UsageError("the sender's address is not set",
                         hint=f"{SENDER}='Papers <papers@example.org>'")  # fmt: skip
    try:
        sender = address(sender)
    except UsageError as error:
        raise UsageError(error.what, where=f"${SENDER}", hint=error.hint) from None
    return MailServer(
        parts.hostname, port or PORTS[parts.scheme], parts.scheme == "smtps", sender,
        name=" ".join(word for word in name.split() if word.isprintable()),
        user=environment.get(USER, ""), password=environment.get(PASSWORD, ""),
    )  # fmt: skip


def loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(error: Exception) -> str:
    """An error in one line, without a server's login challenge or an address."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return " ".join(str(error).split()) or type(error).__name__


def _text(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]
