"""The routes that mails lead to, and the form that begins a subscription.

A link in a mail is opened by people and, before them, by programs that look for danger: GET changes
nothing and shows a button. POST does it, from that button or from a mail program's own (RFC 8058,
one click: no cookie, no page before it, no redirect). The signed token in the path is all that they
need, so these routes are open without the server's key; whatever is wrong with a token, the answer
is the same. `/subscribe` is open only where all pages are.
"""

from __future__ import annotations

import logging
import threading

from starlette.requests import Request
from starlette.responses import Response

from tilth.errors import LimitError
from tilth.papers.digest import Digest
from tilth.serving.refusal import Refused
from tilth.web import page
from tilth.web.limiter import visitor_of
from tilth.web.site import Site

log = logging.getLogger("tilth.web")


def confirm_page(site: Site, request: Request) -> Response:
    """Says what would be confirmed, with a button."""
    good, found = _digest(site).look("confirm", request.path_params["token"])
    if not good or found is None:
        raise _unknown()
    if found.state == "active":
        return _said("This subscription is confirmed", _comes(found.every, found.wants()))
    text = f"A {found.every} mail: {found.wants()}."
    return page.render_bare("mail/button.html", title="Confirm the subscription", text=text,
                            button="Confirm")  # fmt: skip


def confirm(site: Site, request: Request) -> Response:
    """Makes the subscription active; the second time says the same."""
    found = _digest(site).confirm(request.path_params["token"])
    if found is None:
        raise _unknown()
    return _said("This subscription is confirmed", _comes(found.every, found.wants()))


def unsubscribe_page(site: Site, request: Request) -> Response:
    """Says what would end, with a button."""
    good, found = _digest(site).look("unsubscribe", request.path_params["token"])
    if not good:
        raise _unknown()
    if found is None:
        return _ended()
    text = f"The {found.every} mail: {found.wants()}."
    return page.render_bare("mail/button.html", title="End the subscription", text=text,
                            button="End it")  # fmt: skip


def unsubscribe(site: Site, request: Request) -> Response:
    """Ends the subscription and removes its address; the second time says the same."""
    if not _digest(site).unsubscribe(request.path_params["token"]):
        raise _unknown()
    return _ended()


def subscribe(site: Site, request: Request) -> Response:
    """Takes the form. What it answers does not depend on whether the address is known."""
    given = page.form(request)
    try:
        _digest(site).subscribe(
            given.get("address", ""), given.get("every", ""), query=given.get("query", ""),
            family=given.get("family", ""), visitor=visitor_of(request),
        )  # fmt: skip
    except LimitError as error:
        raise Refused(429, str(error), headers={"retry-after": "3600"}) from None
    if site.post is not None:
        # The answer does not wait for the mail server: its time would tell what was done.
        threading.Thread(target=site.post, name="tilth-mail", daemon=True).start()
    return page.render("mail/asked.html", site=site, run=site.run, here="papers")


def _digest(site: Site) -> Digest:
    return Digest(site.library, site.secret)


def _comes(every: str, wants: str) -> str:
    return (
        f"A {every} mail comes whenever there is something new: {wants}. Each has a link to end it."
    )


def _said(title: str, text: str) -> Response:
    return page.render_bare("mail/said.html", title=title, text=text)


def _ended() -> Response:
    return _said(
        "This subscription has ended", "The address has been removed. No further mail comes."
    )


def _unknown() -> Refused:
    return Refused(404, "this link is not good, or no longer", code="not_found")
