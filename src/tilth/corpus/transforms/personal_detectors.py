"""Personal data in texts: where, and of which kind. Precision comes before recall.

    found = find(texts)      # one list of `Found` for each text of an Arrow array

A number counts only where a check digit or a fixed form proves it, or where the word before it
says what it is. So what is found is nearly always right, and much is not looked for: names (but for
a list), addresses, dates of birth, numbers without a law. "Nothing found" is not "anonymous".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa

from tilth.corpus.shingle_kernels import text_buffers
from tilth.corpus.transforms import personal_checks as checks
from tilth.corpus.transforms.personal_kernels import AT, COLONS, DOTS, PLUS, byte_classes, places
from tilth.corpus.transforms.personal_places import country_or_generic, reserved_host

KINDS = ("email", "phone", "iban", "card", "ip", "credential", "national_id")

# What is looked at around a place: words before a number, the end of a letter code.
_BEFORE, _BEHIND = 48, 6
_SPACE = rb"(?:[ ]|\xc2\xa0|\xe2\x80\xaf)"
_SEPARATOR = rb"(?:[ .\-/]|\xc2\xa0|\xe2\x80[\x91\xaf\x93])"
# A number that is not the middle of a longer one, of a word, or of a decimal.
_START = rb"(?<![0-9A-Za-z_#$])(?<![0-9][.,\-/])"
_END = rb"(?![0-9A-Za-z_])(?![.,\-/][0-9])"

_LOCAL = re.compile(
    rb"(?:[A-Za-z0-9]|[\xc3-\xc9][\x80-\xbf])(?:[A-Za-z0-9._%+'\-]|[\xc3-\xc9][\x80-\xbf]){0,63}\Z"
)
_HOST = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}")
_LOGIN = re.compile(
    rb"[A-Za-z][A-Za-z0-9+.\-]{1,20}://"
    rb"(([^\s/:@<>\"'`{}$*\[\]|\\]{1,64}):([^\s/@<>\"'`{}$*\[\]|\\]{1,128}))\Z"
)
_NO_SECRETS = frozenset(b"pass password passwd pwd secret token xxx xxxx user username".split())
# Accounts of machines, not of people.
_NO_PEOPLE = frozenset((b"git", b"svn", b"hg"))

_IBAN = re.compile(_START + rb"[A-Z]{2}[0-9]{2}(?=[ \-]?[A-Z0-9]{4})")
_CARD = re.compile(
    _START + rb"(?:[0-9]{4}([ \-]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    rb"|3[0-9]{3}([ \-]?)[0-9]{6}\2[0-9]{4,5})" + _END
)
_INTERNATIONAL = re.compile(
    rb"(?<![0-9A-Za-z+)\-])\+[1-9](?:[0-9]|" + _SEPARATOR + rb"{0,2}\(?(?=[0-9(])"
    rb"|\)" + _SEPARATOR + rb"?(?=[0-9])){6,30}" + rb"(?![0-9A-Za-z_+])(?![.,][0-9])"
)
_AMERICAN = re.compile(
    rb"(?<![0-9A-Za-z_])(?<![0-9][.,\-/])(?:1[ .\-])?"
    rb"(?:\(([2-9][0-9]{2})\)[ \-]?([2-9][0-9]{2})[\-. ]"
    rb"|([2-9][0-9]{2})([\-.])([2-9][0-9]{2})\4)[0-9]{4}" + _END
)
_CALL_ME = re.compile(
    rb"(?i)(?:\b(?:tele|tel|tel(?:e|\xc3\xa9)fono|telefon|t(?:e|\xc3\xa9)l(?:e|\xc3\xa9)phone|phone|"
    rb"fon|fax|mob|mobile|mobil|handy|whatsapp|hotline|telefoon|telefono|puhelin|tlf)|\xe2\x98\x8e|\xf0\x9f\x93\x9e)"
    rb"(?:[ .\-]?(?:no|nr|number|nummer))?[.:)]{0,3}" + _SPACE + rb"{0,3}\Z"
)
_LOCAL_NUMBER = re.compile(
    rb"\(?[0-9](?:[0-9]|" + _SEPARATOR + rb"{1,3}\(?(?=[0-9(])|\)" + _SEPARATOR
    + rb"?(?=[0-9])){4,20}(?![0-9A-Za-z_])"
)  # fmt: skip
_DATE = re.compile(rb"(?:19|20)[0-9]{2}([\-./ ]?)[01]?[0-9]\1[0-3]?[0-9]|"
                   rb"[0-3]?[0-9]([\-./ ])[01]?[0-9]\2(?:19|20)[0-9]{2}")  # fmt: skip
_IP4 = re.compile(
    rb"(?<![0-9A-Za-z_.\-+=])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_\-+]|\.[0-9])"
)
_NO_ADDRESS = re.compile(
    rb"(?i)(?:\bv|ver|vers|version|release|build|firmware|update|rev|revision|section|chapter|"
    rb"clause|art|article|appendix|oid|[^/]/|\A/|\xc2\xa7)[.:]?" + _SPACE + rb"{0,2}\Z"
)

Check = Callable[[str], bool]
# (form, check) of national numbers that a check digit proves.
_PROVEN: tuple[tuple[re.Pattern[bytes], Check], ...] = tuple(
    (re.compile(_START + form + _END), check)
    for form, check in (
        (rb"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", checks.italy),
        (rb"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-HJ-NP-TV-Z]", checks.spain),
        (rb"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
         checks.france),
        (rb"[0-9]{6}[\-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", checks.finland),
        (rb"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", checks.sweden),
        (rb"[0-9]{6} ?[0-9]{5}", checks.norway),
        (rb"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checks.brazil),
    )
)  # fmt: skip
# (words before it, form, check) of numbers whose law is weak: too many others obey it.
_CALLED: tuple[tuple[re.Pattern[bytes], re.Pattern[bytes], Check], ...] = tuple(
    (re.compile(rb"(?i)\b(?:" + words + rb")[^0-9\n]{0,20}\Z"),
     re.compile(_START + form + _END), check)
    for words, form, check in (
        (rb"bsn|burgerservicenummer|sofinummer", rb"[0-9]{9}", checks.netherlands),
        (rb"steuer-?id|idnr|steuerliche|steueridentifikationsnummer",
         rb"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", checks.germany),
        (rb"pesel", rb"[0-9]{11}", checks.poland),
        (rb"cpf", rb"[0-9]{11}", checks.brazil),
        (rb"ssn|social security", rb"[0-9]{3}[ \-]?[0-9]{2}[ \-]?[0-9]{4}", checks.united_states),
        (rb"nhs", rb"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{4}", checks.national_health),
    )
)  # fmt: skip


class Found(NamedTuple):
    """Byte offsets in its text, and one of `KINDS`."""

    start: int
    stop: int
    kind: str


def find(texts: pa.Array, kinds: Sequence[str] = KINDS) -> dict[int, list[Found]]:
    """What stands in each text, by its row, sorted and without overlaps; rows without are left out.

    Where two kinds would overlap, the one that is surer wins. `kinds` that are not wanted are not
    reported, nor is any part of them taken for another kind.
    """
    offsets, data = text_buffers(texts)
    rows, sorts, flags, starts, stops = places(offsets, data, byte_classes())
    view = data.data
    result: dict[int, list[Found]] = {}
    for row, sort, flag, start, stop in zip(
        rows.tolist(), sorts.tolist(), flags.tolist(), starts.tolist(), stops.tolist()
    ):
        begin, end = int(offsets[row]), int(offsets[row + 1])
        low, high = max(begin, start - _BEFORE), min(end, stop + _BEHIND)
        if sort == AT:
            low, high = max(begin, start - 220), min(end, stop + 260)
            found = _at(bytes(view[low:high]), start - low)
        elif sort == COLONS:
            found = _colons(bytes(view[low:high]), start - low, stop - low)
        else:
            found = _numbers(bytes(view[low:high]), start - low, flag)
        for one in sorted(found):
            shifted = Found(one.start + low - begin, one.stop + low - begin, one.kind)
            before = result.setdefault(row, [])
            if not before or shifted.start >= before[-1].stop:
                before.append(shifted)
    wanted = frozenset(kinds)
    kept = {row: [one for one in found if one.kind in wanted] for row, found in result.items()}
    return {row: found for row, found in kept.items() if found}


def _at(window: bytes, at: int) -> list[Found]:
    """An address, or the user and password of a URL; `at` is the place of the "@"."""
    if login := _LOGIN.search(window, 0, at):
        name, secret = login[2].lower(), login[3].lower()
        plain = secret in _NO_SECRETS or name == secret or not secret.strip(b"x.-_")
        return [] if plain else [Found(login.start(1), login.end(1), "credential")]
    host, local = _HOST.match(window, at + 1), _LOCAL.search(window, max(0, at - 64), at)
    if host is None or local is None:
        return []
    name = local[0]
    labels = host[0].split(b".")
    # A sentence may go on behind a full stop without a blank.
    while len(labels) > 1 and not country_or_generic(labels[-1]):
        labels.pop()
    domain = b".".join(labels)
    stop = at + 1 + len(domain)
    whole = stop == len(window) or not (window[stop : stop + 1].isalnum() or window[stop] == 45)
    proper = len(labels) > 1 and len(labels[-2]) > 1 and b".." not in name and name[-1:] != b"."
    if not whole or not proper or reserved_host(domain) or name.lower() in _NO_PEOPLE:
        return []
    return [Found(local.start(), stop, "email")]


def _colons(window: bytes, start: int, stop: int) -> list[Found]:
    """An IPv6 address that is routed; those for documentation and local nets are nobody's."""
    text = window[start:stop].rstrip(b".:").decode()
    if start and (window[start - 1 : start].isalnum() or window[start - 1] in b"_-"):
        return []
    if stop < len(window) and (window[stop : stop + 1].isalnum() or window[stop] in b"_-"):
        return []
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return []
    parts = [part for part in text.split(":") if part]
    # All that is given out begins with 2 or 3.
    if not address.is_global or len(parts) < 4 or len(parts[0]) < 4 or text[0] not in "23":
        return []
    return [Found(start, start + len(text), "ip")]


def _numbers(window: bytes, start: int, flags: int) -> list[Found]:
    """All numbers of people in a run that begins at `start`; surer kinds first."""
    found: list[Found] = []
    taken = bytearray(len(window))

    def add(low: int, high: int, kind: str) -> None:
        if not any(taken[low:high]):
            found.append(Found(low, high, kind))
            taken[low:high] = b"\1" * (high - low)

    early = max(0, start - 8)
    for match in _IBAN.finditer(window, early):
        if (stop := _iban_stop(window, match.start())) is not None:
            add(match.start(), stop, "iban")
    for match in _CARD.finditer(window, early):
        text = _bare(match[0])
        if checks.card(text, grouped=len(text) < len(match[0])):
            add(match.start(), match.end(), "card")
    for form, check in _PROVEN:
        for match in form.finditer(window, early):
            if _holds(check, match[0]):
                add(match.start(), match.end(), "national_id")
    for words, form, check in _CALLED:
        for match in form.finditer(window, early):
            if _stands_before(words, window, match) and _holds(check, match[0]):
                add(match.start(), match.end(), "national_id")
    if flags & PLUS or (start and window[start - 1] == 43):
        for match in _INTERNATIONAL.finditer(window, early):
            if _is_international(match[0]):
                add(match.start(), match.end(), "phone")
    for match in _AMERICAN.finditer(window, early):
        area, exchange = match[1] or match[3], match[2] or match[5]
        if area[1:] != b"11" and exchange[1:] != b"11":
            add(match.start(), match.end(), "phone")
    for match in _LOCAL_NUMBER.finditer(window, max(0, start - 1)):
        if _stands_before(_CALL_ME, window, match) and _is_local(match[0]):
            add(match.start(), match.end(), "phone")
    if flags & DOTS:
        for match in _IP4.finditer(window, early):
            if _is_public(match[0]) and not _stands_before(_NO_ADDRESS, window, match):
                add(match.start(), match.end(), "ip")
    return found


def _stands_before(words: re.Pattern[bytes], window: bytes, match: re.Match[bytes]) -> bool:
    return words.search(window[max(0, match.start() - _BEFORE) : match.start()]) is not None


def _iban_stop(window: bytes, start: int) -> int | None:
    """Where the IBAN that begins here ends, as long as its country's are."""
    length = checks.IBAN_LENGTHS.get(window[start : start + 2].decode(), 0)
    letters = bytearray()
    at = start
    while len(letters) < length and at < len(window):
        byte = window[at : at + 1]
        if byte.isdigit() or byte.isupper():
            letters += byte
        elif byte not in (b" ", b"-") or not window[at - 1 : at].isalnum():
            return None
        at += 1
    if not length or window[at : at + 1].isalnum() or not checks.iban(letters.decode()):
        return None
    return at


def _holds(check: Check, number: bytes) -> bool:
    form = re.sub(rb"[ .]", b"", number).decode()
    if check in (checks.spain, checks.sweden, checks.brazil, checks.national_health,
                 checks.united_states):  # fmt: skip
        form = form.replace("-", "").replace("+", "")
    return check(form)


def _bare(number: bytes) -> str:
    return bytes(byte for byte in number if 48 <= byte <= 57).decode()


def _is_international(number: bytes) -> bool:
    digits = _bare(number)
    groups = [group for group in re.split(rb"[^0-9]+", number) if group]
    # One full stop alone makes a decimal, as in "+48.8566".
    decimal = len(groups) == 2 and b"." in number
    least = 9 if len(groups) == 1 else 8
    return (
        least <= len(digits) <= 15
        and not decimal
        and len(groups) <= 8
        and bool(checks.calling_code(digits))
        and len(set(digits[2:])) > 2
        and not digits.endswith("000000")
    )


def _is_local(number: bytes) -> bool:
    digits = _bare(number)
    groups = len(re.split(rb"[^0-9]+", number.strip(b"() ")))
    return 6 <= len(digits) <= 14 and not _DATE.fullmatch(number) and groups <= 6


def _is_public(number: bytes) -> bool:
    parts = number.decode().split(".")
    values = list(map(int, parts))
    if any(len(part) > 1 and part[0] == "0" for part in parts) or max(values) > 255:
        return False
    # Small numbers are those of a version or a section.
    large = sum(value >= 20 for value in values) >= 2
    address = ipaddress.IPv4Address(number.decode())
    return large and address.is_global and not address.is_multicast
