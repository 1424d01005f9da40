"""Near-duplicates with known truth: planted variants of texts, and every pair by brute force.

    texts, kinds = planted(originals, seed=0)
    sets = [shingle_set(text) for text in texts]
    truth = similar_pairs(sets, lowest=0.7)

Words are found here by regular expressions over Python strings and sets are sets of tuples, so a
search for near-duplicates can be held against it: nothing is shared with `tilth.corpus`.
"""

from __future__ import annotations

import functools
import random
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

UNSPACED = (
    "THAI", "LAO", "MYANMAR", "KHMER", "TAI", "NEW TAI", "HIRAGANA", "KATAKANA", "BOPOMOFO",
    "HALFWIDTH KATAKANA", "CJK", "YI", "IDEOGRAPHIC", "HENTAIGANA", "VERTICAL KANA",
    "VERTICAL IDEOGRAPHIC", "MASU",
)  # fmt: skip


def planted(originals: Sequence[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """(texts, kinds): each original, and after it one variant whose kind goes in turn.

    Kinds: `exact`, `upper` case, `punctuation`, `edits` (1-8 % of the words changed), `cut` (5-30 %
    off the end), `wrapped` in one of ten boilerplates, `spliced` with the text before.
    """
    chance = random.Random(seed)
    vocabulary = sorted({word for text in originals[:200] for word in text.split()})
    boilerplates = [
        " ".join(chance.choice(vocabulary) for _ in range(chance.randint(10, 40)))
        for _ in range(10)
    ]
    texts: list[str] = []
    kinds: list[str] = []
    for number, text in enumerate(originals):
        before = originals[number - 1]
        variant, kind = _variant(text, before, number, chance, vocabulary, boilerplates)
        texts += [text, variant]
        kinds += ["original", kind]
    return texts, kinds


def _variant(
    text: str, before: str, number: int, chance: random.Random, vocabulary: list[str],
    boilerplates: list[str],
) -> tuple[str, str]:  # fmt: skip
    words = text.split()
    kind = ("exact", "upper", "punctuation", "edits", "edits", "cut", "wrapped", "spliced")[
        number % 8
    ]
    makers: dict[str, Callable[[], str]] = {
        "exact": lambda: text,
        "upper": text.upper,
        "punctuation": lambda: " -- ".join(" ".join(words[at : at + 9]) for at in _every(words, 9)),
        "edits": lambda: _edited(words, chance.uniform(0.01, 0.08), chance, vocabulary),
        "cut": lambda: " ".join(words[: int(len(words) * chance.uniform(0.7, 0.95)) + 1]),
        "wrapped": lambda: "\n".join(
            [chance.choice(boilerplates), text, chance.choice(boilerplates)]
        ),
        "spliced": lambda: text + "\n" + before[: int(len(before) * chance.uniform(0.05, 0.5))],
    }
    return makers[kind](), kind


def _every(words: Sequence[str], step: int) -> range:
    return range(0, len(words), step)


def _edited(words: list[str], share: float, chance: random.Random, vocabulary: list[str]) -> str:
    changed = list(words)
    for _ in range(max(1, round(share * len(words)))):
        place = chance.randrange(len(changed)) if changed else 0
        kind = chance.randrange(3)
        if kind == 0 and len(changed) > 1:
            del changed[place]
        elif kind == 1 or not changed:
            changed.insert(place, chance.choice(vocabulary))
        else:
            changed[place] = chance.choice(vocabulary)
    return " ".join(changed)


def word_list(text: str) -> list[str]:
    """Runs of letters, marks and numbers in lower case; in scripts without blanks, letters."""
    return [_lower(word) for word in _word().findall(text)]


def shingle_set(text: str, shingle: int = 5) -> frozenset[tuple[str, ...]]:
    words = word_list(text)
    return frozenset(zip(*(words[start:] for start in range(shingle)), strict=False))


def similar_pairs(
    sets: Sequence[frozenset[tuple[str, ...]]], lowest: float
) -> dict[tuple[int, int], float]:
    """Jaccard of every pair (i < j) that has at least `lowest`, above 0."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    result: dict[tuple[int, int], float] = {}
    for number, items in enumerate(sets):
        common = Counter(other for item in items for other in holders[item])
        for other, count in common.items():
            jaccard = count / (len(items) + len(sets[other]) - count)
            if jaccard >= lowest:
                result[other, number] = jaccard
        for item in items:
            holders[item].append(number)
    return result


def _lower(word: str) -> str:
    lower = word.lower()
    if len(lower) == len(word) and "\u03a3" not in word:
        return lower
    return "".join(two if len(two := one.lower()) == 1 else one for one in word)


@functools.cache
def _word() -> re.Pattern[str]:
    alone, joined, marks = [], [], []
    for code in range(0x33480):
        letter = chr(code)
        major = unicodedata.category(letter)[0]
        if major == "M":
            marks.append(code)
        elif major == "L" and unicodedata.name(letter, "").startswith(UNSPACED):
            alone.append(code)
        elif major in "LN":
            joined.append(code)
    one, many, mark = _ranges(alone), _ranges(joined), _ranges(marks)
    return re.compile(f"[{one}][{mark}]*|[{many}][{many}{mark}]*")


def _ranges(codes: Sequence[int]) -> str:
    """The inside of a character class."""
    parts, start = [], None
    for place, code in enumerate(codes):
        start = code if start is None else start
        if place + 1 == len(codes) or codes[place + 1] != code + 1:
            parts.append(f"{_escape(start)}-{_escape(code)}")
            start = None
    return "".join(parts)


def _escape(code: int) -> str:
    assert code <= sys.maxunicode
    return f"\\U{code:08x}"
