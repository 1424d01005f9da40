"""English strings whose words are not where the general rules would cut them.

Contractions are made from groups of words and their endings, with both apostrophes, and as many
people type them, without any. Then abbreviations that keep their full stop, clock times, words with
an apostrophe of their own, and faces made of marks. Each string maps to its words.

Used by `tilth.signals.words`; other languages would bring a table of the same form.
"""

from __future__ import annotations

from collections.abc import Iterator

_PERSONS = "i you he she it we they".split()
_ASKING = "who what when where why how".split()
_POINTING = "there that this these those".split()
_WILL_AND_WOULD = ["'ll", "'ll 've", "'d", "'d 've"]
# Endings, and the words that take them.
_ENDINGS = [
    (_WILL_AND_WOULD, [*_PERSONS, *_ASKING, *_POINTING]),
    (["'m", "'m a"], ["i"]),
    (["'ve"], ["i", "you", "we", "they", *_ASKING, "there", "these", "those"]),
    (["'re"], ["you", "we", "they", *_ASKING, "there", "these", "those"]),
    (["'s"], ["he", "she", "it", *_ASKING, "there", "that", "this"]),
    (["'ve"], "could might must should would not".split()),
    (
        ["n't", "n't 've"],
        "ca could do does did had may might must need ought sha should wo would".split(),
    ),
    (["n't"], "ai are is was were have has dare".split()),
]
# Typed without the apostrophe these are other words.
_OTHER_WORDS = frozenset("ill its hell shell shed were well whore".split())

_TOGETHER = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "let's": "let 's",
    "c'mon": "c'm on",
    "y'all": "y' all",
    "yall": "y all",
    "how'd'y": "how 'd 'y",
}
# Kept whole, in lower case and with a capital.
_WHOLE = (
    "o'clock ma'am 'cause 'cos 'coz 'cuz doin' goin' havin' lovin' nothin' nuthin' ol' somethin'"
)
# Kept whole as they stand.
_WHOLE_AS_IS = "'em 'll 'nuff 'bout 're 'd 's 'S '' and/or w/o C++ \\\") \\n \\t"

_TITLES = "Mr. Mrs. Ms. Dr. Prof. Rev. Gen. Gov. Sen. Rep. Adm. Messrs. Jr. St. Mt. Ph.D."
_FIRMS = "Co. co. Corp. Inc. Ltd. Bros."
_LATIN = "e.g. E.g. E.G. i.e. I.e. I.E. a.m. p.m. vs. v.s."
_MONTHS = "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec."
_STATES = """Ak. Ala. Ariz. Ark. Calif. Colo. Conn. D.C. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans.
Ky. La. Mass. Md. Mich. Minn. Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla.
Ore. Pa. S.C. Tenn. Va. Wash. Wis."""
_INITIALS = "abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00fc"

# Faces: eyes, perhaps a nose, a mouth; and those that look the other way.
_FACES = [
    (":", ["", "-"], ") )) ))) ( (( ((( ] [ } { / | * 0 3 > D O P X o p x".split()),
    (":", ["'", "'-"], [")", "("]),
    (":", ["o"], [")"]),
    (";", ["", "-"], [")", "D"]),
    ("=", ["", "-"], ["3"]),
    ("=", [""], ") ( ] [ D / |".split()),
    ("8", ["", "-"], [")", "D"]),
    ("<", [""], ["3", "33", "333", "/3"]),
]
_OTHER_FACES = """(: (-: (= (; (-; (-8 (o: [: [-: [= ): )-: ]= >:( >:o :() :1 xD XD xDD XDD
^_^ ^__^ ^___^ -_- -__- >.< >.> <.< ._. ;_; @_@ v.v V.V v_v V_V o_o O_o o_O O_O 0_0 0_o o_0 o.o O.o
o.O O.O 0.0 0.o o.0 (^_^) (-_-) (._.) (>_<) (*_*)"""


def exceptions() -> dict[str, list[str]]:
    """Each string and its words, in order, joined the string again."""
    found = {word: [word] for word in (*_whole(), *_faces())}
    for words in (*_contractions(), *_clock_times(), *_degrees()):
        found["".join(words)] = words
    for word, parts in _TOGETHER.items():
        found[word] = parts.split()
        found[word.capitalize()] = parts.capitalize().split()
    curly = {
        word.replace("'", "\u2019"): [part.replace("'", "\u2019") for part in parts]
        for word, parts in found.items()
    }
    return {**found, **curly}


def _contractions() -> Iterator[list[str]]:
    for endings, group in _ENDINGS:
        for word in group:
            for start in (word, word.capitalize()):
                for ending in endings:
                    yield [start, *ending.split()]
                    joined = (start + ending).replace("'", "").replace(" ", "")
                    if joined.lower() not in _OTHER_WORDS:
                        yield [start, *ending.replace("'", "").split()]


def _clock_times() -> Iterator[list[str]]:
    for hour in range(1, 13):
        for half in ("am", "pm", "a.m.", "p.m."):
            yield [str(hour), half]


def _degrees() -> Iterator[list[str]]:
    for scale in "CFKcfk":
        yield ["\u00b0", scale, "."]


def _whole() -> Iterator[str]:
    for word in _WHOLE.split():
        yield from (word, word.capitalize(), word[0] + word[1:].capitalize())
    for words in (_WHOLE_AS_IS, _TITLES, _FIRMS, _LATIN, _MONTHS, _STATES):
        yield from words.split()
    for letter in _INITIALS:
        yield letter + "."
    yield from ("\u2018s", "\u2018S")


def _faces() -> Iterator[str]:
    for eyes, noses, mouths in _FACES:
        for nose in noses:
            for mouth in mouths:
                yield eyes + nose + mouth
    yield from _OTHER_FACES.split()
