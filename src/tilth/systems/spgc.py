"""SPGC: Project Gutenberg's books without headers, in three levels of granularity.

Gerlach & Font-Clos (2018; Entropy 2020). The paper describes a corpus and claims no victory, so the
claims here are ours: the line scan keeps the body better than the plain two-marker expression; the
guard that we add loses less of it; and, as the paper's own example of use, books whose word counts
are nearest by Jensen-Shannon divergence are by the same author.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tilth.corpus.divergence import nearest
from tilth.corpus.levels import tokens
from tilth.corpus.transforms.headers import StripHeaders
from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _spgc_books
from tilth.systems._spgc_books import Inputs, kept_lines, visible_lines

CARD = Card(
    slug="spgc",
    title="A standardized Project Gutenberg corpus for statistical analysis of natural language "
    "and quantitative linguistics",
    year=2018,
    family="corpus",
    claim="A line scan with lists of header and footer phrases leaves the book and nothing else, "
    "so that tokens and counts of any number of books can be compared.",
    part="[transforms.headers] in a plan; tilth corpus export RUN FOLDER --format spgc",
    modules=(
        "tilth.corpus.divergence",
        "tilth.corpus.levels",
        "tilth.corpus.sentences",
        "tilth.corpus.transforms.header_markers",
        "tilth.corpus.transforms.headers",
        "tilth.systems._planted_headers",
        "tilth.systems._spgc_books",
    ),
    data_kind="corpus",
    arxiv="1812.08092",
    simulated="headers and footers of four eras around excerpts of novels",
)

F1, LOST, LEFT = "body line F1", "body lines lost", "header lines left in real books"
SAME = "nearest book has the same author"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=F1, method="spgc", baseline="markers", margin=0.002, kind="counted", primary=True),
    Claim(metric=F1, method="markers", baseline="none", margin=0.002, kind="counted"),
    Claim(metric=LOST, method="spgc", baseline="markers", margin=-0.001, direction=-1,
          kind="counted"),
    Claim(metric=LOST, method="spgc", baseline="unguarded", margin=0.0, direction=-1,
          kind="counted"),
    Claim(metric=LEFT, method="spgc", baseline="markers", margin=0.0, direction=-1, unit="lines",
          kind="counted"),
    Claim(metric=SAME, method="word counts", baseline="letter counts", margin=0.1, kind="counted"),
)  # fmt: skip
SEEDS = 5

# What only a header or footer says; for files whose true body is not known.
LEGALESE = re.compile(
    r"(?i)project gutenberg|gutenberg-tm|gutenberg\.(org|net)|small print|distributed proofread"
    r"|\bpgdp\b|\be-?text\b|\be-?book\b"
)


def prepare(scale: str, data: Any, model: str | None, seed: int, *, books: int = 77) -> Prepared:
    """Excerpts of 200 to 4,000 lines get headers in turn of the eras; 1,000 lines for authors."""
    return _spgc_books.prepare(scale, data, seed, books)


def strip(**options: Any) -> Callable[[Inputs, int], Measured]:
    """The arm that strips headers with these options."""

    def arm(inputs: Inputs, seed: int) -> Measured:
        transform = StripHeaders(**options)
        scores, lost, kept_texts = [], [], []
        for book in inputs.planted:
            (result,) = transform.edit(book.text)
            kept_texts.append(result.text)
            visible = visible_lines(book.text)
            truth = {number for number in book.body if number in visible}
            kept = kept_lines(book.text, result.spans) & visible.keys()
            scores.append(2 * len(kept & truth) / (len(kept) + len(truth)))
            lost.append(len(truth - kept) / len(truth))
        left = []
        for text in inputs.real:
            (result,) = transform.edit(text)
            left.append(sum(bool(LEGALESE.search(line)) for line in result.text.split("\n")))
        return Measured({F1: scores, LOST: lost, LEFT: left}, products={"kept": kept_texts})

    return arm


def neighbours(kind: str) -> Callable[[Inputs, int], Measured]:
    """The arm that looks for each book's nearest other one by counts of words or of letters."""

    def arm(inputs: Inputs, seed: int) -> Measured:
        if kind == "random":
            rng, size = random.Random(f"random {seed}"), len(inputs.authors)
            found = [rng.choice([m for m in range(size) if m != n]) for n in range(size)]
        elif kind == "words":
            found = nearest([Counter(tokens(text, "en")) for text in inputs.excerpts])
        else:
            letters = (filter(str.isalpha, text.lower()) for text in inputs.excerpts)
            found = nearest([Counter(text) for text in letters])
        pairs = zip(inputs.authors, found)
        return Measured({SAME: [float(author == inputs.authors[n]) for author, n in pairs]})

    return arm


ARMS = {
    "none": strip(method="none"),
    "markers": strip(method="markers"),
    "unguarded": strip(method="spgc", guard=False),
    "spgc": strip(method="spgc"),
    "word counts": neighbours("words"),
    "letter counts": neighbours("letters"),
    "random book": neighbours("random"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the three levels, on the first books that the scan left."""
    yield from _spgc_books.level_invariants(measured["spgc"].products["kept"][:3])
    plain = [book for book in inputs.planted if len(book.body) == book.text.count("\n")]
    untouched = all(StripHeaders().edit(b.text)[0].text == b.text for b in plain)
    yield Invariant("books without a header stay as they are", bool(plain) and untouched)
