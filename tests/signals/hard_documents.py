"""Hard documents for the rules of web text, made by code: they sit close to every threshold.

Sentences of our own words with what word and line rules stumble over: abbreviations, initials,
contractions with both apostrophes, addresses, citations, units, dashes, quotes, ellipses, other
line ends, no-break blanks. The same for every Python: only `Random.random` is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

COUNT = 320

_WORDS = """the be to of and that have with a in river winter engine garden letter music window
market stone paper north valley island history teacher student picture evening morning traveller
harbour village question answer reason machine forest silver copper station journey writer painter
doctor captain quiet small large early late green heavy narrow distant gentle bright ordinary
sudden familiar walks turned carried opened followed reached remembered described measured built
painted answered crossed waited slowly often never again perhaps together nearby between under over
through against about without before after since because while although""".split()
_HARD = """don't can't won't I'm you're she'd they'll we've it's that's who'd couldn't've o'clock
don\u2019t it\u2019s they\u2019re cannot gonna dont youre U.S. U.K. e.g. i.e. Mr. Mrs. Dr. St.
Jan. Sept. Calif. vs. etc. Ph.D. J.R. A.B. N.Y. a.m. 10am 11p.m. 12:30 1,234.56 3.14 10km 25kg
100% $5 \u00a35.20 5\u20ac #tag C++ and/or w/o well-known twenty-one co-operate 1990-95 1914\u201318
here\u2014there then--now yes/no he/she http://example.org/a-b/c.html www.example.com
mail@example.net example.org (see above) [note] "quoted" 'single' \u201ccurly\u201d \u2018in\u2019
... \u2026 wait...what end.Begin one,two key:value x=y <b> a*b 2*3 2^8 _under_ rock'n'roll
(a) b) [1] [23] [citation needed] :) :-( ;) <3 ^_^ 20\u00b0C 5' 6" caf\u00e9 na\u00efve
\u041c\u043e\u0441\u043a\u0432\u0430 \u6771\u4eac
\u00bfqu\u00e9? & + = % ~ / @ | * - \u2013 \u2014""".split()
_ENDS = [
    ".",
    ".",
    ".",
    "?",
    "!",
    '."',
    ".'",
    "...",
    ";",
    "",
    " .",
    "?!",
    ".)",
    " [4]",
    ".[5]",
    "\u3002",
]
_LINES = [
    "- a point of the list", "\u2022 another point", "Read more...", "* star", "Share this page",
    "Copyright 2020. All rights kept.", "This site uses cookies to remember you.",
    "Please enable JavaScript to see this page.", "Our privacy policy has been changed.",
    "Lorem ipsum dolor sit amet.", "function f() { return 1; }", "One { brace in a sentence.",
    "Home | About | Contact", "1", "###", "   ", "Chapter 4", "Two words.", "\u2026",
]  # fmt: skip
_BREAKS = [
    "\n",
    "\n",
    "\n",
    "\n\n",
    "\n\n",
    " ",
    " ",
    " ",
    "\r\n",
    "\n \n",
    "\n\n\n",
    "\u2028",
    "\t",
]
_BLANKS = [" ", " ", " ", " ", " ", " ", "  ", "\u00a0", "\t"]


def hard_documents() -> list[str]:
    """All of them; the first ones are short and odd."""
    odd = [
        "",
        " ",
        "\n",
        "\n\n",
        "a",
        ".",
        "...",
        "\u2026",
        "\r\n\r\n",
        "#",
        "a" * 1200 + " b c d.",
    ]
    odd += ["one two three. " * 60, "x\n" * 80, "line one is here.\nline two is here.\n" * 20]
    return [*odd, *(_document(number) for number in range(len(odd), COUNT))]


def _document(number: int) -> str:
    random = Random(number)
    # How much is hard, how many marks stand alone, how long sentences and the whole are.
    hard, marks = 0.2 * random.random(), 0.16 * random.random()
    sentences = 4 + _below(random, 6 if number % 3 else 40)
    shortest = 2 if number % 5 == 0 else 9
    breaks = _BREAKS if number % 2 else _BREAKS[5:8]
    repeated = 0.3 * random.random() if number % 4 == 0 else 0.0
    pieces: list[str] = []
    for _ in range(sentences):
        if pieces and random.random() < repeated:
            pieces.append(pieces[_below(random, len(pieces))])
        elif number % 4 == 1 and random.random() < 0.12:
            pieces.append(_pick(random, _LINES) + "\n")
        else:
            size = shortest + _below(random, 16)
            pieces.append(_sentence(random, size, hard, marks) + _pick(random, breaks))
    return "".join(pieces)


def _sentence(random: Random, size: int, hard: float, marks: float) -> str:
    words = []
    for _ in range(size):
        word = _pick(random, _HARD if random.random() < hard else _WORDS)
        if random.random() < marks:
            word = _pick(random, ["", "(", '"', "'", "\u201c"]) + word
            word += _pick(random, [",", ";", ",", ":", ")", '"', ",\u201d", ".)", "'s", "\u2019s"])
        words.append(word + _pick(random, _BLANKS if hard > 0.1 else [" "]))
    text = "".join(words).rstrip()
    return text[:1].upper() + text[1:] + _pick(random, _ENDS)


def _pick(random: Random, items: Sequence[str]) -> str:
    return items[_below(random, len(items))]


def _below(random: Random, limit: int) -> int:
    return int(random.random() * limit)
