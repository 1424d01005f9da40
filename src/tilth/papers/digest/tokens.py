"""Signed tokens of the links in a mail: SUBSCRIPTION.EXPIRES.SIGNATURE.

The signature (HMAC-SHA256, RFC 2104) covers purpose, subscription and expiry, so a token of one
purpose is none of another, and nothing in it can be changed. It is compared as text with the one
text that is right: no second spelling of a signature is taken. A token holds no address and no
secret, only a random name of the subscription. What it allows happens once: a subscription that
was confirmed is confirmed, one that was ended is gone and its name never comes again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from tilth.errors import DataError

DAY = 24 * 3600
# Seconds for which a token is good, by purpose. RFC 8058 wants the link of an old mail to work.
PURPOSES = {"confirm": 3 * DAY, "unsubscribe": 400 * DAY}
_FORM = re.compile(r"([0-9a-f]{32})\.([0-9]{1,12})\.[A-Za-z0-9_-]{43}", re.ASCII)


def sign(key: bytes, purpose: str, subscription: str, now: int) -> str:
    """A token for a purpose of PURPOSES that is good from `now` (seconds since 1970)."""
    return _signed(key, purpose, subscription, now + PURPOSES[purpose])


def read(key: bytes, purpose: str, token: str, now: int) -> str | None:
    """The subscription that a token names; None for one that is not ours, of another purpose, or
    too old. Whoever holds it learns nothing more."""
    form = _FORM.fullmatch(token)
    if form is None:
        return None
    subscription, expires = form[1], int(form[2])
    right = _signed(key, purpose, subscription, expires)
    if not hmac.compare_digest(token, right) or now >= expires:
        return None
    return subscription


def _signed(key: bytes, purpose: str, subscription: str, expires: int) -> str:
    what = f"tilth digest token\n{purpose}\n{subscription}\n{expires}"
    digest = hmac.digest(key, what.encode("utf-8"), hashlib.sha256)
    return f"{subscription}.{expires}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def nameless(key: bytes, what: str, value: str) -> str:
    """A value in a form that can be compared and not read, as long as the key is secret."""
    return hmac.digest(key, f"tilth digest {what}\n{value}".encode(), hashlib.sha256).hex()[:32]


def new_name() -> str:
    """A random name of 128 bits for a subscription."""
    return secrets.token_hex(16)


def secret(library: str | Path) -> bytes:
    """The key beside a library's file, made at the first call with mode 0600: 32 random bytes.

    Raises DataError for one that others may read, or that is damaged.
    """
    path = Path(library).with_suffix(".key")
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its name comes last, and only where nobody was faster: two processes get one key.
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    with open(path, encoding="ascii", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = file.read(1024).strip()
    if mode & 0o077:
        raise DataError("the key can be read by others", where=str(path), hint="chmod 600")
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise DataError("holds no key of 32 bytes", where=str(path),
                        hint="remove it and a new one is made; old links then end")  # fmt: skip
    return bytes.fromhex(text)
