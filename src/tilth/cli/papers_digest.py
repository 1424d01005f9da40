"""`tilth papers subscribe` and `tilth papers digest`: the feed by e-mail."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tilth.papers.digest import Digest
    from tilth.papers.library import Library
    from tilth.papers.measured import Measured

Every = Annotated[str, typer.Option(help="daily or weekly, by UTC; only when something is new.")]
Query = Annotated[str, typer.Option(help="Words that title, authors or summary must all hold.")]
Family = Annotated[str, typer.Option(help="A family of papers, as `corpus`.")]
LibraryFile = Annotated[str, typer.Option("--library", help="The library's file; else your own.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def subscribe(
    address: Annotated[str, typer.Argument(help="The e-mail address.")],
    every: Every = "weekly",
    query: Query = "",
    family: Family = "",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """Ask for new papers by e-mail. A mail that asks to confirm it waits for the next sending.

    The answer is the same whether the address is known or not. Nothing is sent by this command:
    `tilth papers digest` shows the line for cron that does.

    Examples:

        tilth papers subscribe reader@example.org --every weekly --family pretrain

        tilth papers subscribe reader@example.org --every daily --query "near duplicates"
    """
    from tilth.cli.output import emit, info

    digest, _ = _open(library)
    digest.subscribe(address, every, query=query, family=family)
    if emit({"asked": True, "every": every, "query": query, "family": family}, json):
        return
    info("where mail can go to this address, one that asks to confirm is sent by the next")
    info("tilth papers digest --send --public-url https://HOST")


def digest(
    send: Annotated[bool, typer.Option("--send", help="Make digests and send what waits.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would be sent; changes nothing.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Subscriptions, and messages that are not sent.")
    ] = False,
    remove: Annotated[str, typer.Option(help="An address whose subscriptions end now.")] = "",
    public_url: Annotated[
        str, typer.Option(help="Where readers reach the pages: https://papers.example.org.")
    ] = "",
    smtp: Annotated[
        str, typer.Option(help="smtp://HOST:PORT or smtps://HOST:PORT; else $TILTH_SMTP.")
    ] = "",
    day: Annotated[
        str, typer.Option(help="As if this day (2026-11-30, UTC) had begun; to try it out.")
    ] = "",
    every: Every = "weekly",
    query: Query = "",
    family: Family = "",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """Send new and trending papers to those who subscribed, or show what would be sent.

    Nothing runs by itself: without --send, --preview, --list or --remove this prints the line for
    cron. It may run often: a digest is made once a day or week, and no message goes out twice. The
    sender and the login are taken from $TILTH_SMTP_FROM, $TILTH_SMTP_USER, $TILTH_SMTP_PASSWORD.
    A preview with --query or --family is one for somebody who would have asked for that.

    Examples:

        tilth papers digest --preview --every weekly --family corpus

        tilth papers digest --list

        tilth papers digest --send --public-url https://papers.example.org
    """
    from tilth.errors import UsageError

    if sum([send, preview, listed, bool(remove)]) > 1:
        raise UsageError("one of --send, --preview, --list and --remove at a time")
    if send and not public_url:
        raise UsageError("sending needs the address under which readers reach the pages",
                         hint="--public-url https://HOST")  # fmt: skip
    today = _day(day)
    mails, papers = _open(library, public_url)
    if send:
        _send(mails, smtp, today, json)
    elif preview:
        _preview(mails, (every, query, family), papers, today, json)
    elif listed:
        _list(mails, json)
    elif remove:
        _removed(mails.remove(remove), json)
    else:
        _cron(public_url, library, json)


def _send(mails: Digest, smtp: str, today: date | None, json: bool) -> None:
    import os
    from dataclasses import asdict

    from tilth.cli.output import emit, info
    from tilth.papers.digest.smtp import mail_server

    server = mail_server(smtp, os.environ)
    measured = _measured()
    made = mails.collect(measured, today)
    done = asdict(mails.deliver(server, measured))
    if emit({"made": made, **done}, json) or not any(done.values()):
        return  # Cron mails whatever is printed: nothing happened, nothing is said.
    info(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in done.items() if count))
    if done["given_up"] or done["in_doubt"]:
        info("tilth papers digest --list shows them")


def _preview(
    mails: Digest, what: tuple[str, str, str], papers: Library, today: date | None, json: bool
) -> None:
    from datetime import UTC, datetime

    from tilth.cli.output import emit, info
    from tilth.papers.digest.subscriptions import Subscription, wanted

    every, query, family = wanted(*what, set(papers.families()) - {""})
    found = [] if query or family else mails.listed()[0]
    found = [one for one in found if one.state == "active"]
    if not found:
        # For nobody in particular: all that is new, so that there is something to look at.
        long_ago = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
        found = [
            Subscription("0" * 32, "reader@example.org", every, query, family, "active", long_ago)
        ]
    measured, shown = _measured(), []
    for one in found:
        message = mails.preview(one, measured, today)
        if message is not None:
            part = message.get_body(("plain",))
            text = part.get_content() if part is not None else ""
            shown.append({"to": _masked(one.address), "subject": message["Subject"], "text": text})
    if emit({"messages": shown}, json):
        return
    for entry in shown:
        info(f"To: {entry['to']}\nSubject: {entry['subject']}\n\n{entry['text']}")
    info(f"{len(shown):,} of {len(found):,} would get a mail; nothing new, no mail")


def _list(mails: Digest, json: bool) -> None:
    from tilth.cli.output import emit, table

    subscriptions, entries = mails.listed()
    addresses = {one.id: _masked(one.address) for one in subscriptions}
    people: list[dict[str, Any]] = [
        {"id": one.id[:8], "address": addresses[one.id], "every": one.every, "query": one.query,
         "family": one.family, "state": one.state}
        for one in subscriptions
    ]  # fmt: skip
    messages: list[dict[str, Any]] = [
        {"message": one.message, "to": addresses.get(one.subscription, ""), "kind": one.kind,
         "period": one.period, "state": one.state, "tries": one.attempts,
         "next": _time(one.due) if one.state == "waiting" else "", "why": one.error}
        for one in entries
    ]  # fmt: skip
    if emit({"subscriptions": people, "messages": messages}, json):
        return
    for title, rows in (("Subscriptions", people), ("Messages that are not sent", messages)):
        if rows:
            table(title, list(rows[0]), [list(row.values()) for row in rows])
    if not people and not messages:
        table("Subscriptions", ["none"], [])


def _removed(count: int, json: bool) -> None:
    from tilth.cli.output import emit, info

    if not emit({"removed": count}, json):
        info(f"{count:,} subscription{'s' if count != 1 else ''} ended, the address is removed")


def _cron(public_url: str, library: str, json: bool) -> None:
    import shlex
    import shutil
    import sys
    from pathlib import Path

    from tilth.cli.output import emit, info
    from tilth.papers.library import default_library

    program = shutil.which("tilth") or f"{sys.executable} -m tilth"
    words = f"papers digest --send --public-url {shlex.quote(public_url or 'https://HOST')}"
    # Always: a crontab knows nothing of $TILTH_LIBRARY.
    path = Path(library) if library else default_library()
    words += f" --library {shlex.quote(str(path.resolve()))}"
    # In a crontab a percent sign ends the command.
    line = f"*/15 * * * * cd {shlex.quote(str(Path.cwd()))} && {program} {words}".replace(
        "%", "\\%"
    )
    if emit({"cron": line}, json):
        return
    info("# crontab -e; confirmations leave within 15 minutes, digests when a day or week is over")
    info("TILTH_SMTP=smtp://HOST:587")
    info("TILTH_SMTP_FROM=Papers <papers@example.org>")
    info(line)


def _open(library: str, public_url: str = "") -> tuple[Digest, Library]:
    from tilth.papers.builtin import open_library
    from tilth.papers.digest import Digest
    from tilth.papers.digest.tokens import secret

    papers = open_library(library)
    return Digest(papers, secret(papers.path), public_url), papers


def _measured() -> Mapping[str, Measured]:
    """What was measured, from the folder `results` here; nothing where there is none."""
    from tilth.report.papers import measured_papers

    return measured_papers()


def _masked(address: str) -> str:
    from tilth.papers.digest.addresses import masked

    return masked(address)


def _time(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")


def _day(text: str) -> date | None:
    from tilth.errors import UsageError

    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no day", where="--day", hint="2026-11-30") from None
