"""Text to search terms: Unicode words, folded; parts of identifiers; bigrams where no blanks are.

Words are maximal runs of letters, digits, underscores and the marks on them (near the word borders
of Unicode Standard Annex 29, but apostrophes, full stops and hyphens always part words). Text is
brought to NFKC first, characters that only guide layout are left out, and each term is casefolded
(the compatibility caseless match of the Unicode Standard, section 3.13).

- `snake_case`, `camelCase`, `HTTPServer`: the parts and the whole, so that each of them is found.
- Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese: pairs of neighbouring characters (with their
  marks), which need no dictionary and lose little (Nie, Gao, Zhang and Zhou 2000, "On the use of
  words and n-grams for Chinese information retrieval"); a character that stands alone is a term.

When: any mixture of languages and code. When not: one language whose endings matter, where a
stemmer finds more; and a query of one Chinese character finds it only where it stands alone.
Not covered: stemming, synonyms, compounds, misspellings. Which characters are letters is this
Python's Unicode version.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.store.digest import digest_value

# Invisible guides inside words: soft hyphen, joiners, word joiner, byte order mark, selectors.
GUIDES = (
    "\u00ad\u034f\u061c\u180b-\u180e\u200c-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff"
    "\U000e0100-\U000e01ef"
)

# Scripts that are written without blanks, and Korean, whose words carry endings.
DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007"
    "\u3040-\u30ff\u3100-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uac00-\ud7fb\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
# Marks by their use, although Unicode calls them letters: voicing of half-width kana.
_VOICING = "\uff9e\uff9f"

_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_GUIDE = re.compile(f"[{GUIDES}]")
# Borders inside an identifier's shape (A capital, a small letter, 0 digit): a|A, and A|Aaa and
# 0|Aaa; two small letters, so that URLs and 2D stay whole.
_BORDER = re.compile(r"(?<=a)(?=A)|(?<=[A0])(?=Aaa)")
_ASCII_SHAPE = str.maketrans(
    {chr(c): "0" if chr(c).isdigit() else "A" if chr(c).isupper() else "a" for c in range(128)}
    | {"_": "_"}
)

Piece = tuple[str, int, int]


@dataclass(frozen=True)
class TermCounts:
    """How often each term stands in each text, as parallel arrays sorted by (term, text).

    `terms` is sorted by code points; `term` holds indices into it, `text` the texts' numbers,
    `count` the frequencies (all int64). `lengths` (texts,) is each text's number of terms.
    """

    terms: list[str]
    term: np.ndarray
    text: np.ndarray
    count: np.ndarray
    lengths: np.ndarray


class Words:
    """The analyzer of this module. `stop_words` are left out; none by default.

    Each stop word must be one term when it is analyzed; UsageError says which one is not.
    """

    name = "words"
    version = 1

    def __init__(self, *, stop_words: Sequence[str] = ()) -> None:
        if isinstance(stop_words, str):
            raise UsageError("stop_words is one text", hint="give a list of words")
        self.stop_words: frozenset[str] = frozenset()
        found = set()
        for word in stop_words:
            terms = self.terms(word)
            if len(terms) != 1:
                raise UsageError(f"the stop word {word!r} is {len(terms)} terms", hint="give one")
            found.add(terms[0])
        self.stop_words = frozenset(found)

    def parameters(self) -> dict[str, Any]:
        return {"stop_words": sorted(self.stop_words)}

    @property
    def digest(self) -> str:
        """Names what makes terms: analyzers with equal digests give equal terms."""
        return digest_value([self.name, self.version, self.parameters()])

    def terms(self, text: str) -> list[str]:
        """The terms in the order of the text; an identifier gives its parts, then the whole."""
        text = normalized(text)
        pieces = (piece for word in _word(text).findall(text) for piece in pieces_of(word))
        return [term for term, _, _ in pieces if term not in self.stop_words]

    def spans(self, text: str, only: Collection[str] | None = None) -> list[Piece]:
        """(term, start, stop) as `terms` gives them, with where they stand in the text as it is.

        `only` leaves out all other terms, which is faster than to do so afterwards.
        Words are folded one by one here, so for text that is not in NFKC a term may differ from
        `terms` where normalization changes what belongs to a word.
        """
        known: dict[str, list[Piece]] = {}
        found: list[Piece] = []
        for match in _word(text).finditer(text):
            word = match[0]
            pieces = known.get(word)
            if pieces is None:
                # Most words are plain: one term, itself.
                plain = word.isascii() and word.islower() and "_" not in word
                pieces = known[word] = [
                    piece
                    for piece in ([(word, 0, len(word))] if plain else pieces_of(word))
                    if piece[0] not in self.stop_words and (only is None or piece[0] in only)
                ]
            if pieces:
                at = match.start()
                found += [(term, at + start, at + stop) for term, start, stop in pieces]
        return found

    def count(self, texts: Sequence[str]) -> TermCounts:
        """The frequencies of all terms of all texts, by arrays rather than a Counter a text.

        Raises DataError where something is not text; nothing is counted then.
        """
        # Words as written get numbers in the order of their appearance, with no Python code a word.
        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        stream, ends = array("i"), np.zeros(len(texts) + 1, np.int64)
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"text {place} is {type(text).__name__}", hint="give texts")
            text = normalized(text)
            stream.extend(map(numbers.__getitem__, _word(text).findall(text)))
            ends[place + 1] = len(stream)
        owner = np.repeat(np.arange(len(texts)), np.diff(ends))
        keys = np.asarray(stream) + owner * len(numbers)
        keys, counts = np.unique(keys, return_counts=True)
        text_number, word = np.divmod(keys, max(len(numbers), 1))
        # Each word as written becomes its terms; different ones may become the same term.
        terms, starts, flat = self._expand(numbers)
        sizes = (starts[1:] - starts[:-1])[word]
        first = np.repeat(starts[word] - np.cumsum(sizes) + sizes, sizes)
        term = flat[first + np.arange(len(first))]
        text_number, counts = np.repeat(text_number, sizes), np.repeat(counts, sizes)
        lengths = np.zeros(len(texts), np.int64)
        np.add.at(lengths, text_number, counts)
        keys = term * max(len(texts), 1) + text_number
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.add.reduceat(counts[order], begins) if len(begins) else counts[:0]
        term, text_number = np.divmod(keys[begins], max(len(texts), 1))
        return TermCounts(terms, term, text_number, counts, lengths)

    def _expand(self, words: dict[str, int]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The sorted terms of all words; word i has the terms `flat[starts[i] : starts[i + 1]]`."""
        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        starts, flat = np.zeros(len(words) + 1, np.int64), array("q")
        for place, word in enumerate(words, start=1):
            # Most words are plain; `islower` is true for letters with digits, false for digits.
            if word.isascii() and word.islower() and "_" not in word:
                if word not in self.stop_words:
                    flat.append(numbers[word])
            else:
                for term, _, _ in pieces_of(word):
                    if term not in self.stop_words:
                        flat.append(numbers[term])
            starts[place] = len(flat)
        terms = sorted(numbers)
        rank = np.empty(len(terms), np.int64)
        rank[[numbers[term] for term in terms]] = np.arange(len(terms))
        return terms, starts, rank[np.asarray(flat)]


def normalized(text: str) -> str:
    """NFKC without the characters that only guide layout. ASCII stays what it is."""
    if text.isascii():
        return text
    text = _GUIDE.sub("", text)
    return text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)


def fold(piece: str) -> str:
    """One term, from a piece of text: normalized, casefolded, normalized again."""
    if piece.isascii():
        return piece.lower()
    return unicodedata.normalize("NFKC", normalized(piece).casefold())


def pieces_of(word: str) -> list[Piece]:
    """(term, start, stop) of one word: its dense runs as bigrams, the rest as identifiers."""
    if word.isascii():
        return _identifier(word, 0)
    pieces, at = [], 0
    for number, part in enumerate(_dense_run().split(word)):
        # Splitting by a group gives other text and dense runs in turn.
        pieces += _bigrams(part, at) if number % 2 else _identifier(part, at)
        at += len(part)
    return pieces


def _identifier(word: str, at: int) -> list[Piece]:
    """The parts of an identifier and, where there are several, the whole."""
    borders = [0, len(word)]
    if "_" in word or not (word.islower() or word.isupper() or word[1:].islower()):
        shape = word.translate(_ASCII_SHAPE) if word.isascii() else _shape(word)
        inner = [match.start() for match in _BORDER.finditer(shape)]
        unders = [place + side for place, c in enumerate(word) if c == "_" for side in (0, 1)]
        borders = sorted({0, len(word), *inner, *unders})
    pieces = [
        (term, at + start, at + stop)
        for start, stop in pairwise(borders)
        if word[start] != "_" and (term := fold(word[start:stop]))
    ]
    if len(pieces) > 1:
        start, stop = pieces[0][1], pieces[-1][2]
        pieces.append((fold(word[start - at : stop - at]), start, stop))
    return pieces


def _shape(word: str) -> str:
    shape = ""
    for c in word:
        kind = "A" if c.isupper() else "a" if c.islower() else "0" if c.isdigit() else ""
        # Marks, and letters without case, go on with what stands before them.
        shape += "_" if c == "_" else kind or shape[-1:] or "0"
    return shape


def _bigrams(run: str, at: int) -> list[Piece]:
    """Neighbouring characters, each with its marks; a single one as it is."""
    ends = [match.end() for match in _cluster().finditer(run)]
    starts = [0, *ends[:-1]]
    if len(ends) > 1:
        starts, ends = starts[:-1], ends[1:]
    return [(fold(run[a:b]), at + a, at + b) for a, b in zip(starts, ends)]


def _word(text: str) -> re.Pattern[str]:
    return _ASCII_WORD if text.isascii() else _unicode_word()


@functools.cache
def _unicode_word() -> re.Pattern[str]:
    # Python's `\w` leaves marks out, which would cut most Indic words and decomposed letters.
    return re.compile(rf"\w[\w{_marks(with_letters=True)}{GUIDES}]*")


@functools.cache
def _dense_run() -> re.Pattern[str]:
    return re.compile(f"([{DENSE}][{DENSE}{_marks()}{GUIDES}]*)")


@functools.cache
def _cluster() -> re.Pattern[str]:
    return re.compile(f".[{_marks()}{GUIDES}{_VOICING}]*", re.DOTALL)


def _marks(with_letters: bool = False) -> str:
    """All combining marks as ranges of a character class.

    `with_letters` joins ranges that only letters, digits or unassigned points part: fewer, faster.
    """
    ranges: list[list[int]] = []
    broken = True
    for code in range(0x300, 0x1F000):
        category = unicodedata.category(chr(code))
        if category[0] == "M":
            if broken:
                ranges.append([code, code])
            ranges[-1][1] = code
            broken = False
        elif not (with_letters and (chr(code).isalnum() or category == "Cn")):
            broken = True
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
