"""The digest as a whole: a library's file, its key, and the address under which its pages are seen.

    digest = Digest(library, secret(library.path), "https://papers.example.org")
    digest.subscribe("reader@example.org", "weekly", family="pretrain")
    digest.collect(measured)                     # messages for what is new, into the outbox
    digest.deliver(server, measured)             # what waits is sent, each message once

Nothing here runs by itself: `tilth papers digest --send` collects and delivers, from cron.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tilth.errors import LockedError, TilthError, UsageError
from tilth.papers.digest import choose, messages, outbox, periods, subscriptions, tables, tokens
from tilth.papers.digest.addresses import address as checked
from tilth.papers.digest.delivery import Delivered, deliver
from tilth.papers.digest.messages import Envelope
from tilth.papers.digest.smtp import MailServer
from tilth.papers.digest.subscriptions import Subscription, wanted
from tilth.papers.measured import Measured

# Seconds that a period stays open after its end: an import that began before midnight has then been
# written, and none of its papers falls between two digests.
GRACE = 15 * 60
log = logging.getLogger("tilth.papers")


class Digest:
    """`library`: a papers.library.Library. `key`: from `tokens.secret`. `public_url`: where readers
    reach the mail routes; only what makes messages needs it. `clock`: seconds since 1970."""

    def __init__(
        self, library: Any, key: bytes, public_url: str = "",
        *, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._library, self._key, self._clock = library, key, clock
        self.public_url = web_root(public_url) if public_url else ""
        self._prepared = False

    # Who wants what.

    def subscribe(
        self, address: str, every: str, *, query: str = "", family: str = "", visitor: str = ""
    ) -> None:
        """Write down a wish; a mail that asks to confirm it waits. See subscriptions.subscribe.

        Raises UsageError for an address, rhythm, query or family that cannot be, and LimitError.
        """
        what = wanted(every, query, family, set(self._library.families()) - {""})
        to = checked(address)
        with self._connected() as connection:
            subscriptions.subscribe(connection, self._key, to, what, visitor, self._now())

    def look(self, purpose: str, token: str) -> tuple[bool, Subscription | None]:
        """Whether a token is good, and its subscription, None where that has ended. Changes
        nothing."""
        name = tokens.read(self._key, purpose, token, self._now())
        if name is None:
            return False, None
        with self._connected() as connection:
            return True, subscriptions.find(connection, name)

    def confirm(self, token: str) -> Subscription | None:
        """Make the subscription of a token active; None where the token is not good, or it is gone.
        The second time changes nothing."""
        name = tokens.read(self._key, "confirm", token, self._now())
        if name is None:
            return None
        with self._connected() as connection:
            return subscriptions.confirm(connection, name, self._now())

    def unsubscribe(self, token: str) -> bool:
        """End the subscription of a token and remove its address; whether the token is good. The
        second time changes nothing."""
        name = tokens.read(self._key, "unsubscribe", token, self._now())
        if name is None:
            return False
        with self._connected() as connection:
            subscriptions.end(connection, name)
        return True

    def remove(self, address: str) -> int:
        """End all subscriptions of an address, as its owner asked for; how many there were."""
        with self._connected() as connection:
            return subscriptions.remove(connection, checked(address))

    def listed(self) -> tuple[list[Subscription], list[outbox.Entry]]:
        """All subscriptions, and all messages that are not sent."""
        with self._connected() as connection:
            return subscriptions.listed(connection), outbox.listed(
                connection, "waiting", "claimed", "handing over", "in doubt", "given up"
            )

    # What is sent.

    def collect(self, measured: Mapping[str, Measured], today: date | None = None) -> int:
        """Put a digest into the outbox for everybody for whom there is something new; how many.

        It holds what came after the last one and before `today` (UTC) or this week began. Nothing
        new: no message. While an older digest waits no other is made, and what is new comes later.
        """
        now, made = self._now(), 0
        today = today or self._today()
        with self._connected() as connection:
            with tables.writing(connection):
                subscriptions.forget_unconfirmed(connection, now)
            for one in subscriptions.listed(connection, "active"):
                period = periods.last_closed(one.every, today)
                if period.end <= one.since or outbox.under_way(connection, one.id, "digest"):
                    continue
                new, more, trending = choose.news(self._library, one, period.end, measured)
                if not new:
                    continue
                with tables.writing(connection):
                    made += outbox.put(
                        connection, self._key, one.id, "digest", period.name, papers=new,
                        more=more, trending=trending, now=now,
                    )  # fmt: skip
                    subscriptions.seen(connection, one.id, min(period.end, now))
        return made

    def compose(
        self, entry: outbox.Entry, sender: tuple[str, str], measured: Mapping[str, Measured]
    ) -> tuple[str, EmailMessage] | None:
        """Recipient and message of an entry; None where nothing of it is left. `sender`: name and
        address."""
        with self._connected() as connection:
            to = subscriptions.find(connection, entry.subscription)
        if to is None:
            return None
        signed = {
            purpose: tokens.sign(self._key, purpose, to.id, self._now())
            for purpose in tokens.PURPOSES
        }
        message = self._message(to, entry, sender, signed, measured)
        return (to.address, message) if message else None

    def preview(
        self, to: Subscription, measured: Mapping[str, Measured], today: date | None = None
    ) -> EmailMessage | None:
        """The digest that `collect` would make for a subscription now, with links that lead
        nowhere; None where there is nothing new. Changes nothing."""
        period = periods.last_closed(to.every, today or self._today())
        new, more, trending = choose.news(self._library, to, period.end, measured)
        if not new:
            return None
        entry = outbox.Entry(
            "preview", to.id, "digest", period.name, tuple(new), more, tuple(trending),
            "waiting", 0, 0, 0, "",
        )  # fmt: skip
        signed = dict.fromkeys(tokens.PURPOSES, "TOKEN")
        return self._message(to, entry, ("", "sender@tilth.invalid"), signed, measured)

    def _message(
        self, to: Subscription, entry: outbox.Entry, sender: tuple[str, str],
        signed: Mapping[str, str], measured: Mapping[str, Measured],
    ) -> EmailMessage | None:  # fmt: skip
        root = self.public_url or "http://tilth.invalid"
        envelope = Envelope(
            sender=sender[1], sender_name=sender[0], message=entry.message,
            host=(urlsplit(root).hostname or "").replace(":", "-"), home=f"{root}/papers",
            links={purpose: f"{root}/mail/{purpose}/{token}" for purpose, token in signed.items()},
        )  # fmt: skip
        now = datetime.fromtimestamp(self._now(), UTC)
        if entry.kind == "confirm":
            return messages.confirmation(to, envelope, now)
        new, trending = (
            [choose.shown(paper, measured, root) for paper in self._library.many(ids).values()]
            for ids in (entry.papers, entry.trending)
        )
        if not new:
            return None
        return messages.digest(to, envelope, entry.period, new, entry.more, trending, now)

    def deliver(self, server: MailServer, measured: Mapping[str, Measured]) -> Delivered:
        """Send what waits and is due. See delivery.deliver; raises UsageError without a public URL:
        a mail whose links lead nowhere could not be ended."""
        if not self.public_url:
            raise UsageError("sending needs the address under which readers reach the pages",
                             hint="--public-url https://HOST")  # fmt: skip
        sender = (server.name, server.sender)
        with self._connected() as connection:
            return deliver(
                connection, Path(self._library.path), server,
                lambda entry: self.compose(entry, sender, measured), self._clock,
            )  # fmt: skip

    def poster(
        self, server: MailServer, measured: Callable[[], Mapping[str, Measured]]
    ) -> Callable[[], None]:
        """What a server calls after a subscription was asked for, so that its confirmation leaves
        at once. It waits for the mail server, so call it in a thread; it raises nothing: what could
        not be sent waits for the next run. `measured` is asked each time: a digest that waited
        leaves too, and is to say what is known then."""
        alone = threading.Lock()

        def post() -> None:
            try:
                # Threads of this process wait for each other; another process that is sending takes
                # this one too, or the next run does.
                with alone, contextlib.suppress(LockedError):
                    self.deliver(server, measured())
            except TilthError as error:
                log.warning("mail waits: %s", error)
            except Exception:
                log.exception("mail waits")

        return post

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now() - GRACE, UTC).date()

    def _now(self) -> int:
        return int(self._clock())

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection with the digest's tables. Raises LockedError where the file stays busy."""
        connection = self._library.connection()
        try:
            if not self._prepared:
                tables.prepare(connection)
                self._prepared = True
            yield connection
        except sqlite3.OperationalError as error:
            where = str(self._library.path)
            raise LockedError(
                f"cannot be written: {error}", where=where, hint="try again"
            ) from error
        finally:
            connection.close()


def web_root(url: str) -> str:
    """A public URL without a slash at its end. Raises UsageError where it is none: links in mails
    are made from it."""
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    plain = url.isascii() and url.isprintable() and not set(url) & set(" <>\"'\\@?#")
    if not host or not plain or parts.scheme not in ("http", "https") or len(url) > 200:
        raise UsageError(f"{url[:60]!r} is no address of a server", where="--public-url",
                         hint="https://papers.example.org")  # fmt: skip
    return url
