"""Runs of characters, weighted and projected: an encoder fitted to the texts it will search.

Latent semantic indexing (Deerwester, Dumais, Furnas, Landauer and Harshman, 1990) over character
n-grams inside words (McNamee and Mayfield, 2004). A text becomes

    x_g = (1 + ln f_g) * (1 + ln((1 + N) / (1 + n_g)))      f_g: how often n-gram g stands in it
    v   = V' x / |V' x|                                     n_g: how many of the N texts hold g

where V holds the right singular vectors of the matrix of the fitted texts. N-grams of `rarify`,
`rarified` and `rarefaction` overlap where words do not match; with fewer dimensions than texts,
n-grams that stand in the same texts come to lie together.

When: a few dozen to some ten thousand short texts of one field, no encoder at hand, no GPU, no
torch: fitting is one eigenvalue problem, a query takes a millisecond. When not: synonyms that share
no letters and no texts; a good encoder that someone trained for search; millions of texts.
Not covered: scripts without blanks beyond the pairs of characters that the analyzer makes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DamagedError, DataError
from tilth.retrieval.analyzer import Words
from tilth.store.digest import digest, digest_value
from tilth.store.manifest import write_manifest
from tilth.store.write import write_bytes, write_json, write_text

if TYPE_CHECKING:
    from scipy import sparse

FILE, GRAMS, WEIGHTS = "encoder.json", "grams.txt", "model.safetensors"
SHORTEST, LONGEST = 3, 5
# At most so many texts are fitted (their eigenvalue problem has that number squared), n-grams kept.
TEXTS, KEPT = 1024, 1 << 16
FEWEST = 4
# Texts that are encoded at a time.
TOGETHER = 1000


class Latent:
    """The encoder of this module; `fit` makes one.

    `grams`: n-grams in an order of their own; `rarity` (grams,) their weights; `projection`
    (grams, dimensions), both float32.
    """

    name = "latent"
    version = 1
    cut_tokens = 0

    def __init__(self, grams: Sequence[str], rarity: np.ndarray, projection: np.ndarray) -> None:
        self.rarity = np.ascontiguousarray(rarity, np.float32)
        self.projection = np.ascontiguousarray(projection, np.float32)
        self.dimensions = self.projection.shape[1]
        self._places = {gram: place for place, gram in enumerate(grams)}
        if not len(self._places) == len(grams) == len(self.rarity) == len(self.projection):
            raise DamagedError("n-grams and weights of this encoder do not fit each other")
        self._analyzer = Words()

    def parameters(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions, "shortest": SHORTEST, "longest": LONGEST}

    @property
    def fingerprint(self) -> str:
        """Names the space: n-grams, weights, analyzer."""
        if not hasattr(self, "_fingerprint"):
            weights = digest(self.rarity.tobytes(), self.projection.tobytes())
            parts = [self.name, self.version, self.parameters(), list(self._places), weights]
            self._fingerprint = digest_value([*parts, self._analyzer.digest])
        return self._fingerprint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (texts, dimensions); zeros for a text without a known n-gram."""
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), TOGETHER):
            counts = _counted(self._analyzer, texts[start : start + TOGETHER], self._places)
            made = _weighted(counts, self.rarity) @ self.projection
            lengths = np.sqrt(np.einsum("ij,ij->i", made, made))
            made /= np.where(lengths > 0, lengths, 1)[:, None]
            found[start : start + len(made)] = made
        return found

    encode_queries = encode

    def save(self, folder: str | Path) -> list[str]:
        """Write the folder; the names of its files, the manifest last."""
        from safetensors.numpy import save as to_bytes

        folder = Path(folder)
        write_json(folder / FILE, {"name": self.name, "version": self.version})
        write_text(folder / GRAMS, "".join(gram + "\n" for gram in self._places))
        tensors = {"rarity": self.rarity, "projection": self.projection}
        write_bytes(folder / WEIGHTS, to_bytes(tensors))
        names = [FILE, GRAMS, WEIGHTS]
        write_manifest(folder, names, kind="encoder", fingerprint=self.fingerprint)
        return [*names, "manifest.json"]

    @classmethod
    def load(cls, folder: str | Path) -> Latent:
        """The encoder of a folder. Raises DamagedError where its files do not fit each other."""
        from safetensors.numpy import load_file

        from tilth.models.safetensors_header import check_header
        from tilth.store.write import read_json

        folder = Path(folder)
        stored = read_json(folder / FILE)
        if stored.get("version") != cls.version:
            raise DataError("was made by another version of tilth", where=str(folder),
                            hint="fit it again")  # fmt: skip
        try:
            check_header(folder / WEIGHTS)
            tensors = load_file(str(folder / WEIGHTS))
            grams = (folder / GRAMS).read_text("utf-8").splitlines()
            return cls(grams, tensors["rarity"], tensors["projection"])
        except (OSError, KeyError, IndexError, UnicodeDecodeError) as error:
            raise DamagedError(f"is no whole encoder: {error}", where=str(folder)) from None


def grams_of(word: str) -> list[str]:
    """The n-grams of a word between blanks: `on` gives ` on`, `on ` and ` on `."""
    framed = f" {word} "
    return [
        framed[start : start + size]
        for size in range(SHORTEST, LONGEST + 1)
        for start in range(len(framed) - size + 1)
    ]


def fit(texts: Sequence[str], dimensions: int = 192) -> Latent:
    """An encoder for texts like these. Equal texts in any order give the same space.

    Of more than `TEXTS` texts those with the smallest digests are fitted, and of more than `KEPT`
    n-grams the most frequent. Fewer texts than dimensions give fewer dimensions. Raises DataError
    for fewer than `FEWEST` different texts that hold a word.
    """
    from scipy import sparse

    chosen = sorted({text for text in texts if text.strip()}, key=digest)[:TEXTS]
    places: dict[str, int] = {}
    counts = _counted(Words(), chosen, places, more=True)
    counts = counts[np.diff(counts.indptr) > 0]
    if counts.shape[0] < FEWEST:
        raise DataError(
            f"{counts.shape[0]} texts are too few to fit an encoder to", hint="import more"
        )
    spread = np.bincount(counts.indices, minlength=len(places))
    grams = sorted(sorted(places, key=lambda gram: (-spread[places[gram]], gram))[:KEPT])
    kept = np.array([places[gram] for gram in grams])
    rarity = 1 + np.log((1 + counts.shape[0]) / (1 + spread[kept]))
    matrix = _weighted(counts[:, kept], rarity)
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix = sparse.diags(1 / lengths) @ matrix
    found, vectors = np.linalg.eigh((matrix @ matrix.T).toarray())
    order = [n for n in np.argsort(-found)[:dimensions] if found[n] > 1e-6 * found.max()]
    # Singular vectors on the side of the n-grams, each with its largest entry above 0.
    right = np.asarray(matrix.T @ (vectors[:, order] / np.sqrt(found[order])))
    right *= np.sign(right[np.abs(right).argmax(axis=0), np.arange(len(order))])
    return Latent(grams, rarity, right)


def _counted(
    analyzer: Words, texts: Sequence[str], places: dict[str, int], more: bool = False
) -> sparse.csr_matrix:
    """How often each n-gram stands in each text, (texts, n-grams), sorted by place.

    `places` gives n-grams their columns; others are left out, or with `more` are given one.
    """
    from scipy import sparse

    found = analyzer.count(texts)
    words = sparse.csr_matrix(
        (found.count.astype(np.float64), (found.text, found.term)), (len(texts), len(found.terms))
    )
    starts, columns = [0], array("q")
    for word in found.terms:
        if more:
            columns.extend(places.setdefault(gram, len(places)) for gram in grams_of(word))
        else:
            columns.extend(places[gram] for gram in grams_of(word) if gram in places)
        starts.append(len(columns))
    grams = sparse.csr_matrix(
        (np.ones(len(columns)), np.asarray(columns), starts), (len(found.terms), len(places))
    )
    counts = (words @ grams).tocsr()
    counts.sort_indices()
    return counts


def _weighted(counts: sparse.csr_matrix, rarity: np.ndarray) -> sparse.csr_matrix:
    """The x of the formula, in the rarity's precision."""
    data = (1 + np.log(counts.data)).astype(rarity.dtype) * rarity[counts.indices]
    return type(counts)((data, counts.indices, counts.indptr), counts.shape)
