"""The mails: text and HTML of the same, for one recipient each.

HTML is escaped by Jinja2; no picture is loaded, no link tells who opened it. Titles and summaries
come from papers that somebody imported: `choose.shown` lays them on one line, without control
characters, and only web addresses become links. What a stranger typed into the form (a query)
stands in no header.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from tilth.papers.digest.subscriptions import Subscription
from tilth.papers.digest.tokens import DAY, PURPOSES

# 7bit: every server takes it. With the default of 78 characters a long List-Unsubscribe would be
# cut into encoded words, which no mail program takes for a link.
POLICY = SMTP.clone(max_line_length=900, cte_type="7bit")


@dataclass(frozen=True)
class Shown:
    """A paper as a mail shows it: plain text, each on one line, and two web addresses or none."""

    title: str
    authors: str
    year: int | None
    summary: str
    measured: str
    page: str
    address: str


@dataclass(frozen=True)
class Envelope:
    """What the two mails share. `links`: the signed addresses by purpose; `home`: the feed."""

    sender: str
    sender_name: str
    message: str
    host: str
    home: str
    links: dict[str, str]


def confirmation(to: Subscription, envelope: Envelope, now: Any) -> EmailMessage:
    """Asks whoever reads the mailbox whether the subscription is wanted. `now`: aware datetime."""
    values = {
        "every": to.every,
        "what": to.wants(),
        "days": PURPOSES["confirm"] // DAY,
        "confirm": envelope.links["confirm"],
    }
    return _message(to, envelope, "Please confirm: papers by mail", "confirm", values, now)


def digest(
    to: Subscription,
    envelope: Envelope,
    period: str,
    new: Sequence[Shown],
    more: int,
    trending: Sequence[Shown],
    now: Any,
) -> EmailMessage:
    """The new papers of a period, each with what was measured here, how many more there are, and
    what trends."""
    count = f"{len(new) + more:,} new paper{'s' if len(new) + more != 1 else ''}"
    values = {
        "lead": f"{count}, up to the end of {period}",
        "new": new,
        "more": more,
        "trending": trending,
        "what": f"a {to.every} mail: {to.wants()}",
        "home": envelope.home,
    }
    return _message(to, envelope, f"{count}, {period}", "digest", values, now)


def _message(
    to: Subscription,
    envelope: Envelope,
    subject: str,
    template: str,
    values: dict[str, Any],
    now: Any,
) -> EmailMessage:
    unsubscribe = envelope.links["unsubscribe"]
    values = {**values, "subject": subject, "unsubscribe": unsubscribe}
    made = EmailMessage(policy=POLICY)
    made["From"] = Address(envelope.sender_name[:40], addr_spec=envelope.sender)
    made["To"] = Address(addr_spec=to.address)
    made["Subject"] = subject
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{envelope.message}@{envelope.host}>"
    made["List-Unsubscribe"] = f"<{unsubscribe}>"
    made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(_templates().get_template(f"{template}.txt").render(values))
    html = _templates().get_template(f"{template}.html").render(values)
    made.add_alternative(html, subtype="html")
    return made


@functools.cache
def _templates() -> Any:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tilth.papers.digest", "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["wrapped"] = lambda text: textwrap.fill(
        text, 76, break_long_words=False, break_on_hyphens=False, initial_indent="   ",
        subsequent_indent="   ",
    )  # fmt: skip
    return made
