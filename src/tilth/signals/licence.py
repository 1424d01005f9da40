"""Under which licence a document says that it stands (identifiers of SPDX, ISO/IEC 5962:2021).

Found in this order: lines `SPDX-License-Identifier:`; a field `License` of the metadata, or a line
`License:` near the beginning; words of the common licences and of the notices that point to them;
addresses of licences. What is found is what the document says of itself or of a part of it, not
whether that is true, nor what else applies; no legal advice.

When: to know what a corpus is made of, and to keep to what may be used. When not: as proof. A
document about licences names some, and one without a word of them is not free: its licence is null.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.signals.licence_table import (
    ADDRESSES,
    COPYLEFT,
    GRANT,
    NAMED,
    PUBLIC_DOMAIN,
    PUBLIC_DOMAIN_WORDS,
    SHORT,
    TEXTS,
    TITLES,
)

FIELDS = ("license", "licence", "license_expression", "rights")
HEAD = 4000  # characters in which a line `License:` may stand
# What is looked at around a word that licences have: most documents have none.
BEFORE, BEHIND = 400, 2500
# (letters to look for, what must begin there); a search for plain letters is fast.
TRIGGERS = (
    ("licen", r"licen[cs]e"),
    ("spdx", r"spdx"),
    ("public", r"public\W{1,6}domain"),
    ("creative", r"creative\W{0,6}commons"),
    ("gnu.org", r"gnu\.org"),
    ("gpl", r"gplv?[123]"),
    ("permission", r"permission\W{1,8}(?:is|to\W{1,8}use)\b"),
    ("redistribution", r"redistribution\W{1,8}and"),
    ("unencumbered", r"unencumbered"),
    ("cc0", r"cc0"),
    ("cc", r"cc[ -]by"),
    ("opensource.org", r"opensource\.org"),
)
_TRIGGERS = tuple((letters, re.compile(words)) for letters, words in TRIGGERS)
# The same for a whole column at once.
_ANY_TRIGGER = "(?i)" + "|".join(words for _, words in TRIGGERS)
_IDENTIFIER = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n\r]{1,200})")
_EXPRESSION = re.compile(r"\(*[A-Za-z0-9][A-Za-z0-9.+:\-]*\)*(?:\s+(?:AND|OR|WITH)\s+"
                         r"\(*[A-Za-z0-9][A-Za-z0-9.+:\-]*\)*)*")  # fmt: skip
_LINE = re.compile(
    r"(?im)^[ \t#*/;%.:\-]{0,6}(?:licen[sc]e|license-expression|classifier: licen[sc]e)"
    r"[ \t]*:+[ \t]*([^\n\r]{2,200})"
)
_WORDS = re.compile(r"[^\W_]+")
_GNU = re.compile(r"gnu (affero |lesser |library )?(general public|free documentation) licen[sc]e")
_GNU_SHORT = re.compile(
    r"(?i)\b(?:GNU[ -])?(A|L)?GPL[ -]?(?:v|version )?[ -]?([123](?:[. ][01])?)?"
    r"([ -]?only|\+|[ -]?or[ -]later)?"
)
_VERSION = re.compile(r"^(?: \w+){0,12}? (?:version|v) ?([123](?: [0123])?)\b|^ ([123](?: 0)?)\b")
_LATER = re.compile(r"any later version|or later|or newer")
_COMMONS = re.compile(
    r"(?:creative commons |\bcc )(?:attribution|by)((?: non ?commercial| nc| share ?alike| sa|"
    r" no ?deriv\w*| nd)*)(?: licen[sc]e)?(?: version| v)? ?([1-4] [05])?"
)
_GRANTED = re.compile(rf"\b{GRANT}\b(?: \w+){{0,12}}? *$")
_TITLES = re.compile(TITLES)
_PUBLIC_DOMAIN = re.compile(PUBLIC_DOMAIN_WORDS)
_NAMED = tuple((name, re.compile(rf"\b(?:{words})\b")) for name, words in NAMED)
_ADDRESSES = tuple((name, re.compile(words, re.IGNORECASE)) for name, words in ADDRESSES)
_KNOWN = {name.lower(): name for name in COPYLEFT}


class Said(NamedTuple):
    """An SPDX expression, and what says so: identifier, metadata, text or url."""

    licence: str
    evidence: str


class Licence:
    """Columns `licence` (an SPDX expression or null), `licence_evidence`, `copyleft`.

    `copyleft`: whether a changed work has to keep the licence, in whole (GPL, CC-BY-SA) or in part
    (LGPL, MPL); of alternatives the freer counts; null where the licence is null or not known.
    """

    name = "licence"
    version = 1
    columns: ClassVar[dict[str, int]] = {"licence": 0, "licence_evidence": 0, "copyleft": 0}

    def parameters(self) -> dict[str, Any]:
        return {}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Licence:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts, metadata = batch.column("text"), batch.column("metadata")
        triggered = pc.or_(
            pc.fill_null(pc.match_substring_regex(texts, _ANY_TRIGGER), False),
            pc.fill_null(pc.match_substring_regex(metadata, "(?i)licen[cs]e|rights"), False),
        )
        found: list[Said | None] = [None] * batch.num_rows
        for row in np.flatnonzero(np.asarray(triggered.to_numpy(zero_copy_only=False))).tolist():
            found[row] = licence_of(texts[row].as_py() or "", metadata[row].as_py() or "{}")
        columns = [
            pa.array([said and said.licence for said in found], pa.string()),
            pa.array([said and said.evidence for said in found], pa.string()),
            pa.array([said and copyleft(said.licence) for said in found], pa.bool_()),
        ]
        return pa.RecordBatch.from_arrays(columns, list(self.columns))


def licence_of(text: str, metadata: str = "{}") -> Said | None:
    """What a document says of its licence, by the surest evidence."""
    identifiers = [_expression(match) for match in _IDENTIFIER.findall(text)]
    if said := _joined(identifiers):
        return Said(said, "identifier")
    if said := _from_fields(metadata) or _joined(map(named, _LINE.findall(text[:HEAD]))):
        return Said(said, "metadata")
    windows = _windows(text)
    if said := next(filter(None, map(from_words, map(plain, windows))), None):
        return Said(said, "text")
    if said := next(filter(None, map(from_addresses, windows)), None):
        return Said(said, "url")
    return None


def copyleft(expression: str) -> bool | None:
    """Of an SPDX expression; null where a part that decides is not known."""
    tokens = re.findall(r"[()]|[^\s()]+", expression)

    def alternatives() -> bool | None:
        found = [together()]
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            found.append(together())
        return False if False in found else None if None in found else True

    def together() -> bool | None:
        found = [one()]
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            found.append(one())
        return True if True in found else None if None in found else False

    def one() -> bool | None:
        if not tokens:
            return None
        token = tokens.pop(0)
        if token == "(":
            inner = alternatives()
            del tokens[:1]
            return inner
        if tokens[:1] == ["WITH"]:
            del tokens[:2]
        return COPYLEFT.get(token)

    return alternatives()


def plain(text: str) -> str:
    """Words in lower case with single blanks: line breaks, comment marks and quotes fall out."""
    return " ".join(_WORDS.findall(text.lower()))


def named(value: str) -> str | None:
    """The licence that a field names, as an identifier or as people write it."""
    if expression := _expression(value, known=True):
        return expression
    words = plain(value.rpartition("::")[2])
    short = re.sub(r"^the | ?\blicen[sc]ed?\b|\bversion | v(?=\d)", " ", words)
    short = " ".join(short.split())
    if short in SHORT:
        return SHORT[short]
    if match := _GNU_SHORT.fullmatch(value.strip().removesuffix("License").strip()):
        return _gnu((match[1] or "").upper() + "GPL", match[2] or "", bool(match[3]), match[3])
    return from_words("licensed under " + words)


def from_words(words: str) -> str | None:
    """The licence whose text or notice this is; `words` as `plain` makes them."""
    places = [
        (words.index(phrases[0]), number)
        for number, (_, phrases) in enumerate(TEXTS)
        if all(phrase in words for phrase in phrases)
    ]
    if places:
        return TEXTS[min(places)[1]][0]
    found: list[tuple[int, str]] = []
    for match in _GNU.finditer(words):
        if _is_granted(words, match.start()) or match.start() == 0:
            found.append((match.start(), _gnu_named(words, match)))
            break
    for match in _COMMONS.finditer(words):
        if _is_granted(words, match.start()) or match[2]:
            found.append((match.start(), _commons(match[1], match[2])))
            break
    for name, pattern in _NAMED:
        if (match := pattern.search(words)) and _is_granted(words, match.start()):
            group = match[1].replace(" ", ".") if pattern.groups else ""
            found.append((match.start(), name.format(group)))
    if not found and (match := _TITLES.search(words)):
        return named_title(words[match.start() :])
    if not found and _PUBLIC_DOMAIN.search(words):
        return PUBLIC_DOMAIN
    return min(found)[1] if found else None


def named_title(words: str) -> str | None:
    """The licence that a title names."""
    for name, pattern in _NAMED:
        if match := pattern.search(words[:80]):
            return name.format(match[1].replace(" ", ".") if pattern.groups else "")
    return None


def from_addresses(text: str) -> str | None:
    """The licence that the first address points to."""
    found = []
    for name, pattern in _ADDRESSES:
        if match := pattern.search(text):
            group = match[1] if pattern.groups else ""
            said = name.format(group.upper().replace("/", "-") if name == "CC-{}" else group)
            said = _KNOWN.get(said.lower(), said)
            if said in COPYLEFT:
                found.append((match.start(), said))
    return min(found)[1] if found else None


def _windows(text: str) -> list[str]:
    """The parts around the words that licences have."""
    lower = text.lower()
    places: list[int] = []
    for letters, pattern in _TRIGGERS:
        at = lower.find(letters)
        while at >= 0:
            if pattern.match(lower, at):
                places.append(at)
            at = lower.find(letters, at + len(letters))
    parts: list[list[int]] = []
    for place in sorted(places):
        low, high = max(0, place - BEFORE), place + BEHIND
        if parts and low <= parts[-1][1]:
            parts[-1][1] = high
        else:
            parts.append([low, high])
    return [text[low:high] for low, high in parts]


def _expression(value: str, known: bool = False) -> str | None:
    """The SPDX expression at the beginning of a value; with `known` only of known identifiers."""
    match = _EXPRESSION.match(value.strip())
    if match is None or (known and match.end() < len(value.strip().rstrip(" .*/->"))):
        return None
    words = [_spelled(word) for word in match[0].split()]
    names = [word.strip("()") for word in words if word not in ("AND", "OR", "WITH")]
    if known and not any(name in COPYLEFT for name in names):
        return None
    text = " ".join(words)
    while text.startswith("(") and text.endswith(")") and _is_balanced(text[1:-1]):
        text = text[1:-1]
    # What is left open belongs to a comment around it.
    return text if _is_balanced(text) else text.replace("(", "").replace(")", "")


def _is_balanced(text: str) -> bool:
    depths = list(accumulate((letter == "(") - (letter == ")") for letter in text))
    return not depths or (min(depths) >= 0 and depths[-1] == 0)


def _spelled(word: str) -> str:
    bare = word.strip("()")
    return word.replace(bare, _KNOWN.get(bare.lower(), bare))


def _joined(expressions: Iterable[str | None]) -> str | None:
    """Several different ones hold together."""
    distinct = list(dict.fromkeys(filter(None, expressions)))
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    return " AND ".join(f"({part})" if " OR " in part else part for part in distinct[:5])


@functools.lru_cache(maxsize=4096)
def _from_fields(metadata: str) -> str | None:
    try:
        fields = json.loads(metadata)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    for key, value in fields.items():
        wanted = isinstance(value, str) and key.lower().replace("-", "_") in FIELDS
        if wanted and (said := named(value) or from_addresses(value)):
            return said
    return None


def _is_granted(words: str, start: int) -> bool:
    """Whether a grant stands before the name, in the same breath."""
    return _GRANTED.search(words[max(0, start - 160) : start]) is not None


def _gnu_named(words: str, match: re.Match[str]) -> str:
    kinds = {"affero": "AGPL", "lesser": "LGPL", "library": "LGPL", "": "GPL"}
    family = "GFDL" if match[2].startswith("free") else kinds[(match[1] or "").strip()]
    behind = words[match.end() : match.end() + 400]
    version = _VERSION.match(behind)
    number = (version[1] or version[2]).replace(" ", ".") if version else ""
    return _gnu(family, number, _LATER.search(behind[:200]) is not None)


def _gnu(family: str, number: str, later: bool, suffix: str | None = None) -> str:
    """Without a version any may be chosen that was ever published."""
    first = {"GPL": "1.0", "LGPL": "2.0", "AGPL": "3.0", "GFDL": "1.1"}[family]
    number = number.replace(" ", ".")
    if not number:
        return f"{family}-{first}-or-later"
    number = number if "." in number else f"{number}.0"
    later = later and "only" not in (suffix or "")
    name = f"{family}-{number}-{'or-later' if later else 'only'}"
    return name if name in COPYLEFT else f"{family}-{first}-or-later"


def _commons(words: str, version: str | None) -> str:
    kinds = "BY"
    for mark, forms in (("NC", r"non ?commercial| nc\b"), ("ND", r"no ?deriv| nd\b"),
                        ("SA", r"share ?alike| sa\b")):  # fmt: skip
        if re.search(forms, words):
            kinds += f"-{mark}"
    # SPDX has no name for one without a version.
    return f"CC-{kinds}-{version.replace(' ', '.')}" if version else f"LicenseRef-CC-{kinds}"
