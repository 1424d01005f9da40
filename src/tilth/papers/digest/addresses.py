"""E-mail addresses: what is taken, what is refused, and when two are the same one.

Taken: `local@domain` in ASCII with a plain local part (letters, digits and !#$%&'*+-/=?^_`{|}~,
with dots between), as nearly every address is. A domain in other letters is taken in its ASCII form
(IDNA 2008: `müller.example` is `xn--mller-kva.example`). Refused: a local part in other letters,
since it arrives only where every server on the way knows SMTPUTF8 (RFC 6531), and a digest that is
lost without a word is worse than a clear refusal; quoted local parts, comments, display names,
groups, addresses of machines (`[127.0.0.1]`), domains without a dot. No control character, space,
comma or angle bracket is in what is taken, so no address adds a header or a second recipient.
"""

from __future__ import annotations

import re

from tilth.errors import UsageError

# RFC 5321: octets of an address and of its local part.
LONGEST, LONGEST_LOCAL = 254, 64
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def address(text: str) -> str:
    """The address as mail is sent to it: its domain in lower case and ASCII.

    White space around it is dropped. Raises UsageError where it is not taken; the message does not
    hold the text.
    """
    text = text.strip(" \t\r\n")
    if len(text) > LONGEST:
        raise UsageError(f"an address has at most {LONGEST} characters")
    local, at, domain = text.rpartition("@")
    if not at:
        raise UsageError("this is no e-mail address", hint="name@example.org")
    if not local.isascii():
        raise UsageError("the part before the @ has letters that are not ASCII",
                         hint="many mail servers would refuse it")  # fmt: skip
    if len(local) > LONGEST_LOCAL or not _LOCAL.fullmatch(local):
        raise UsageError("the part before the @ is not that of a plain address",
                         hint="name@example.org")  # fmt: skip
    found = f"{local}@{_domain(domain)}"
    if len(found) > LONGEST:
        raise UsageError(f"an address has at most {LONGEST} characters")
    return found


def _domain(domain: str) -> str:
    refused = UsageError("the part after the @ is no domain name", hint="name@example.org")
    if not domain.isascii():
        import idna

        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise refused from None
    domain = domain.lower()
    labels = domain.split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        raise refused
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise refused
    return domain


def same(taken: str) -> str:
    """What two spellings of one mailbox share: case is ignored, as nearly every server does."""
    return taken.lower()


def mailbox(taken: str) -> str:
    """What limits count by: case and what follows a `+` are ignored, since a `+tag` makes any
    number of addresses that reach one person."""
    local, _, domain = taken.lower().rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def masked(taken: str) -> str:
    """An address for lists on a screen: `a...@example.org`."""
    local, _, domain = taken.rpartition("@")
    return f"{local[:1]}...@{domain}"
