"""Where sentences end, by rules: marks, abbreviations, initials, numbers, quotes, blank lines.

A splitter in the tradition of hand-written rules (Grefenstette & Tapanainen 1994, "What is a word,
what is a sentence?"), not of trained ones such as Punkt (Kiss & Strunk 2006), so that it needs no
data and behaves alike in every language. Use it on prose. Not on tables, verse or code, where only
blank lines end anything; nor for Thai and other scripts without a mark at a sentence's end.

In doubt it does not split: a full stop after an abbreviation that may end a sentence ("... of the
U.S. Then ...") is taken for the abbreviation's.
"""

from __future__ import annotations

import re

OPENING = (
    "\"'\u201c\u201e\u2018\u201a\u00ab\u00bb\u2039([{<\u00bf\u00a1\u300c\u300e\u3010\u300a\uff08*_"
)
CLOSING = "\"'\u201d\u201c\u2019\u2018\u00bb\u00ab\u203a)\\]}>」』】》）*_"

# Marks that end a sentence wherever they stand: Chinese and Japanese, Indic, Armenian, Ethiopic,
# Burmese, Khmer, Tibetan, Mongolian.
SURE = "\u3002\uff01\uff1f\uff61\u0964\u0965\u0589\u1362\u1367\u1368\u104b\u17d4\u17d5\u0f0d\u1803"
# Marks that also stand elsewhere, so a blank must follow: European and Arabic ones.
LIKELY = ".!?\u2026\u203c\u2047\u2048\u2049\u061f\u06d4"

# Possessive, and not begun inside a run of marks: long runs of anything cost linear time.
_END = re.compile(
    rf"(?<![{LIKELY}])(?P<mark>[{LIKELY}]++)"
    rf"(?:[{CLOSING}]|[ \u00a0\u202f]\u00bb(?!\w))*+(?P<gap>\s++)"
    rf"|(?<![{LIKELY}{SURE}])[{LIKELY}]*+[{SURE}][{SURE}{LIKELY}]*+[{CLOSING}]*+\s*+"
    r"|\n[^\S\n]*+\n\s*+"
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_LETTER_STOP = re.compile(r"[^\W\d_]\.")
_LAST_WORD = re.compile(r"\S*$")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}")
_NUMBERING = re.compile(r"[(\[]?(?:\d{1,3}(?:\.\d{1,3})*|[ivxlcdmIVXLCDM]{1,7}|[^\W\d_])")
# How far from a full stop the words beside it are looked for.
_REACH = 40

_TITLES = "mr mrs ms dr prof st jr sr rev hon gen col capt lt sgt no nos vol vols p pp fig ed eds"
_LATIN = "cf vs viz ca al op cit ibid"
ABBREVIATIONS = {
    "": frozenset(f"{_TITLES} {_LATIN}".split()),
    "en": frozenset(
        "messrs mt ft esq gov sen rep pres supt maj cmdr ch chap sec art dept univ est approx inc "
        "ltd co corp bros jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat "
        "sun ave blvd rd vide".split()
    ),
    "de": frozenset(
        "hr fr frl nr bd bde abb abs anm aufl bzw ca dgl ebd evtl ggf hrsg inkl kap lfd mio mrd "
        "phil rel s sog std str tel usf vgl wg zt zzgl jan feb mär apr jun jul aug sept okt "
        "nov dez mag dipl ing geb gest".split()
    ),
    "fr": frozenset(
        "m mm mme mmes mlle mlles mgr me chap t ch env ex n\u00b0 art av apr bd boul fig janv "
        "févr juill sept oct nov déc cie ste".split()
    ),
    "es": frozenset(
        "sr sra sras sres srta d dña dn ud uds vd vds núm pág págs cap art av avda".split()),
    "it": frozenset("sig sigg sigra dott dr prof avv ing on pag pagg cap art n s ecc es".split()),
    "pt": frozenset("sr sra srs dr dra prof profa d dna exmo exma nº n pág cap art av".split()),
    "nl": frozenset("dhr mevr mw drs ir ing blz bijv bv nl enz nr art jl ca dwz".split()),
    "ru": frozenset(
        "г гг р в вв и см стр "
        "т тт п ул д руб им проф".split()
    ),
}  # fmt: skip
# Abbreviations that end a sentence when a capital follows.
FINAL = frozenset("etc usw ecc enz a.m p.m".split())
# Languages that write ordinals with a full stop, as in "am 3. Mai".
ORDINALS = frozenset("de da nb nn no fi is cs sk hu pl hr sl sr et lv tr".split())


def sentence_spans(text: str, language: str = "") -> list[tuple[int, int]]:
    """(start, stop) of each sentence, in characters; together they cover the text.

    White space belongs to the sentence before it. `language` is an ISO 639-1 code; unknown ones
    get the rules that hold everywhere, with the English abbreviations where it is empty.
    """
    known = ABBREVIATIONS[""] | ABBREVIATIONS.get(language or "en", frozenset())
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if match.end() < len(text) and _ends(text, match, start, known, language):
            spans.append((start, match.end()))
            start = match.end()
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def sentences(text: str, language: str = "") -> list[str]:
    """The sentences without white space around them; blank ones are left out."""
    parts = (text[start:stop].strip() for start, stop in sentence_spans(text, language))
    return [part for part in parts if part]


def _ends(
    text: str, match: re.Match[str], start: int, known: frozenset[str], language: str
) -> bool:
    """Whether the sentence that began at `start` ends with this match."""
    mark, gap = match["mark"], match["gap"]
    if mark is None or _BLANK_LINE.search(gap):
        return True
    following = text[match.end() : match.end() + _REACH].lstrip(OPENING)
    # A lower-case letter goes on with the sentence: '"Stop!" he said'.
    if following and following[0].islower():
        return False
    if mark != ".":
        return True
    before = text[max(start, match.start() - _REACH) : match.start()]
    word = _LAST_WORD.search(before)[0].lstrip(OPENING + "-\u2014")  # type: ignore[index]
    if match.start() - start <= _REACH and _NUMBERING.fullmatch(before.strip()):
        return False
    if word.lower() in FINAL:
        return True
    if len(word) == 1 and word.isalpha() and _LETTER_STOP.match(following):
        return False
    if len(word) == 1 and word.isupper():
        # An initial, but for the English pronoun.
        return word == "I" and language in ("", "en")
    if word.isdecimal() and len(word) <= 2:
        return language not in ORDINALS
    return word.lower() not in known and _DOTTED.fullmatch(word) is None
