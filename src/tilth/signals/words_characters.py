"""What each character is to the word and line rules for web text: one number of flags a code point.

The flags follow the conventions of the tools whose decisions the rules are to repeat: what is a
punctuation mark, an end of a sentence, a quote, a letter differs from rule to rule, so each
question has a flag of its own. Letters, spaces and categories are this Python's Unicode version.
"""

from __future__ import annotations

import functools
import sys
import unicodedata

import numpy as np

SPACE = 1 << 0  # str.isspace
CONTINUED = 1 << 1  # a byte that is not the first of its character; the others are as the first's
LETTER = 1 << 2  # str.isalpha
VISIBLE = 1 << 3  # outside the set of marks that do not make a token a word
PUNCTUATION = 1 << 4  # category P
SENTENCE_MARK = 1 << 5  # as a token alone it ends a sentence
LINE_MARK = 1 << 6  # a line that ends with it counts as ended (FineWeb)
PREFIX = 1 << 7  # cut off at the start of a chunk
SUFFIX = 1 << 8  # cut off at the end of a chunk
QUOTE = 1 << 9
ALPHABETIC = 1 << 10  # a letter of the scripts that the inner rules know
LOWER = 1 << 11  # ... in lower case, or without case
UPPER = 1 << 12  # ... in upper case, or without case
BREAK = 1 << 13  # str.splitlines ends a line here
SYMBOL = 1 << 14  # category So, cut out anywhere
DIGIT = 1 << 15  # 0 to 9
CURRENCY = 1 << 16
BEFORE_STOP = 1 << 17  # a full stop after it is cut off
HOST = 1 << 18  # may begin and end a label of a host name
INNER = 1 << 19  # may be cut out inside a chunk
ANCHOR = 1 << 20  # a letter at which one of C4's phrases is looked for, or a brace
CITATION = 1 << 21  # "["

# Chunks of characters without these are one token, if they are no exception.
AFFIXES = PREFIX | SUFFIX | DIGIT | INNER

# Above this code point there are only tags, variation selectors and private use.
TABLE_SIZE = 0x33480

_MARKS = "\u2026,:;!?\u00bf\u061f\u00a1()[]{}<>_#*&\u3002\uff1f\uff01\uff0c\u3001\uff1b\uff1a\uff5e"
_MARKS += "\u00b7\u0964\u060c\u06d4\u061b\u066a"
_QUOTES = "'\"\u201d\u201c`\u2018\u00b4\u2019\u201a,\u201e\u00bb\u00ab\u300c\u300d\u300e\u300f"
_QUOTES += "\uff08\uff09\u3014\u3015\u3010\u3011\u300a\u300b\u3008\u3009\u27e6\u27e7"
_CURRENCY = "$\u00a3\u20ac\u00a5\u0e3f\ufdfc" + "".join(map(chr, range(0x20A0, 0x20C0)))
_DASHES = "\u2014\u2013"
_FIRST_ONLY = "\u00a7%=+"
_INNER = ".\u2026,-~:<>=/+*^" + _DASHES

# Marks that are no words by themselves, a list that goes back to CCNet; with them go all control
# characters but tab and line feed, and the line marks.
_NO_WORD = "!/\u2014\u201d:\uff05\uff11\u3008&(\u3001\u2501\\\u3010#%\u300c\u300d\uff0c\u3011\uff1b"
_NO_WORD += "+^]~\u201c\u300a\u201e';\u2019{|\u2236\u00b4[=-`*\uff0e\uff08\u2013\uff1f\uff01\uff1a"
_NO_WORD += '$\uff5e\u00ab\u3009,><\u300b)?\uff09\u3002\u2026@_."}\u25ba\u00bb'

# Unicode's ends of sentences: those that make a sentence, and those that only end a line.
_SENTENCE_MARKS = """21 2E 3F 589 61F 6D4 700-702 7F9 964-965 104A-104B 1362 1367-1368 166E
1735-1736 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049
2E2E 2E3C 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB
FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD
111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642
1173C-1173E 11A42-11A43 11A9B-11A9C 11C41-11C42 16A6E-16A6F 16AF5 16B37-16B38 16B44 1BC9F 1DA88"""
_LINE_MARKS = """61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59
10F86-10F89 11944 11946 11EF7-11EF8 11F43-11F44 16E98"""

# Scripts without case, and those with case, that the inner rules take for letters, by their blocks.
_WITHOUT_CASE = """591-5F4 620-64A 66E-6D5 6E5-6FF 750-77F 8A0-8BD 900-9FF B80-CFF D80-DFF
1100-137F 2E80-2FDF 2FF0-30FF 31C0-31EF 3200-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FD3D FD50-FDFB
FE30-FE4F FE70-FEFC 1F200-1F2FF 20000-2EBEF 2F800-2FA1F"""
_WITH_CASE = """41-5A 61-7A C0-D6 D8-F6 F8-1BF 1C4-2AF 386-3CE 400-45F 490-491 4A2-4A3 4AE-4AF
4BA-4BB 4D8-4D9 4E8-4E9 1D00-1D25 1D6B-1D77 1D79-1D9A 1E00-1EFF 2C60-2C7F A722-A7FA AB30-AB64
FF21-FF3A FF41-FF5A"""


def _codes(text: str) -> list[int]:
    """Code points of ranges in hexadecimal, last ones included."""
    found: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        found.extend(range(int(first, 16), int(last or first, 16) + 1))
    return found


def _of(text: str) -> list[int]:
    return [ord(character) for character in text]


@functools.cache
def character_flags() -> np.ndarray:
    """Flags of each code point below `TABLE_SIZE`, as uint32, read-only."""
    size = min(TABLE_SIZE, sys.maxunicode)
    categories = [unicodedata.category(chr(code)) for code in range(size)]
    index = {name: number for number, name in enumerate(sorted(set(categories)))}
    numbers = np.array([index[name] for name in categories])
    flags = np.zeros(TABLE_SIZE, dtype=np.uint32)
    of_category = {"P": PUNCTUATION, "L": LETTER}
    shared = [of_category.get(name[0], 0) for name in index]
    for name, number in index.items():
        if name == "So":
            shared[number] |= SYMBOL | PREFIX | SUFFIX | INNER
    flags[:size] = np.array(shared, dtype=np.uint32)[numbers]
    flags |= np.uint32(VISIBLE)

    def add(codes: list[int], value: int) -> None:
        flags[[code for code in codes if code < TABLE_SIZE]] |= np.uint32(value)

    add([code for code in range(0x3001) if chr(code).isspace()], SPACE)
    add([10, 11, 12, 13, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029], BREAK)
    add(_codes(_SENTENCE_MARKS), SENTENCE_MARK | LINE_MARK)
    add(_codes(_LINE_MARKS), LINE_MARK)
    no_words = [*_of(_NO_WORD), *range(9), *range(11, 32), *range(127, 160)]
    no_words += [*_codes(_SENTENCE_MARKS), *_codes(_LINE_MARKS)]
    flags[no_words] &= np.uint32(~VISIBLE & 0xFFFFFFFF)
    add(_of(_MARKS + _QUOTES), PREFIX | SUFFIX)
    add(_of(_DASHES), PREFIX | SUFFIX)
    add(_of(_FIRST_ONLY), PREFIX)
    add(_of(_CURRENCY), PREFIX | CURRENCY)
    add(_of(_QUOTES), QUOTE)
    add(_of(_INNER), INNER)
    add(_codes("30-39"), DIGIT)
    add(_codes(_WITHOUT_CASE), ALPHABETIC | LOWER | UPPER)
    for code in _codes(_WITH_CASE):
        case = {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER}.get(categories[code], 0)
        flags[code] |= np.uint32(ALPHABETIC | case)
    flags[(flags & np.uint32(LOWER | DIGIT)) != 0] |= np.uint32(BEFORE_STOP)
    add(_of("%\u00b2-+|" + _MARKS + _QUOTES), BEFORE_STOP)
    flags[0xA1:0x10000] |= np.uint32(HOST)
    add(_codes("30-39 41-5A 61-7A"), HOST)
    add(_of("jkfvpJKFVP{"), ANCHOR)
    add(_of("["), CITATION)
    flags.flags.writeable = False
    return flags
