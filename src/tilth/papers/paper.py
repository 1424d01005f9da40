"""A paper as the library holds it, and how what strangers wrote is made fit to be stored."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from tilth.errors import DataError
from tilth.store.digest import digest

# Longer fields are refused, never cut. In characters.
LONGEST = {"title": 1_000, "summary": 20_000, "abstract": 50_000, "address": 2_000}
AUTHORS, LONGEST_NAME = 5_000, 300
YEARS = range(1600, 2200)
ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
# Marks that turn the direction of what stands behind them: a title could show as another one.
_TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROLS = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x9f{_TURNS}\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper. `id`: the slug of one that tilth brings, else a digest of the title.

    `summary` is in tilth's own words or the source's, `abstract` only what the user imported.
    `year` is None where it is not known for sure. `source` says where it came from (`built in`,
    `bibtex refs.bib`), `added` when (UTC, ISO 8601, to the second). `votes` is counted, not stored.
    """

    id: str
    title: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    summary: str = ""
    abstract: str = ""
    address: str = ""
    family: str = ""
    source: str = ""
    added: str = ""
    built_in: bool = False
    votes: int = 0

    @property
    def day(self) -> str:
        """The day it was added, `2026-05-09`, in UTC."""
        return self.added[:10]


def title_key(title: str) -> str:
    """What two spellings of one title share: its letters and digits, folded.

    `Well-Read Students: ...` and `well read students ...` give the same key. Empty where there are
    neither letters nor digits.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold())
    return "".join(c for c in folded if c.isalnum())


def id_of(title: str) -> str:
    """The id of a paper that tilth does not bring: 16 hexadecimal digits of its title's digest."""
    return digest("paper", title_key(title))[:16]


def clean_line(text: str) -> str:
    """One line: blanks run together; control characters and turning marks are left out."""
    return " ".join(_CONTROLS.sub("", text).split())


def clean_text(text: str) -> str:
    """Paragraphs as they are, blanks in them run together; otherwise as `clean_line`."""
    paragraphs = re.split(r"\n[ \t\r]*\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = (clean_line(paragraph) for paragraph in paragraphs)
    return "\n\n".join(line for line in lines if line)


def clean_address(address: str) -> str:
    """A web address, or nothing: only http and https with a host may become a link."""
    from urllib.parse import urlsplit

    address = clean_line(address)
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in address
    except ValueError:
        return ""
    return address if fits and not parts.username and not parts.password else ""


def made_paper(
    title: str,
    *,
    id: str = "",
    authors: tuple[str, ...] | list[str] = (),
    year: int | None = None,
    summary: str = "",
    abstract: str = "",
    address: str = "",
    family: str = "",
    source: str = "",
) -> Paper:
    """A paper from a stranger's fields. Raises DataError, for this paper alone, where one is bad.

    `id`: a slug that it claims to have; one of another form is not believed.
    """
    cleaned = {
        "title": clean_line(title),
        "summary": clean_text(summary),
        "abstract": clean_text(abstract),
        "address": clean_address(address),
    }
    for name, text in cleaned.items():
        if len(text) > LONGEST[name]:
            raise DataError(f"its {name} has {len(text):,} characters, {LONGEST[name]:,} are most")
    if not title_key(cleaned["title"]):
        raise DataError("has no title")
    names = tuple(name for name in map(clean_line, authors) if name)
    if len(names) > AUTHORS or any(len(name) > LONGEST_NAME for name in names):
        raise DataError(f"has more than {AUTHORS:,} authors, or one of over {LONGEST_NAME} letters")
    return Paper(
        id=id if ID.fullmatch(id) else id_of(cleaned["title"]),
        authors=names,
        year=year if year in YEARS else None,
        family=clean_line(family)[:60],
        source=clean_line(source)[:200],
        title=cleaned["title"],
        summary=cleaned["summary"],
        abstract=cleaned["abstract"],
        address=cleaned["address"],
    )
