"""Which language a text is in, by py3langid (Lui & Baldwin 2012, "langid.py"; Barbaresi's version).

A naive Bayes classifier over byte n-grams for about 140 languages, without a network. The trained
model is py3langid's (0.4); it is evaluated here, because its own sums depend on the number of
threads in their last bits, and to be fast. It sees a bounded sample of a text, so that a book costs
no more than a page. Use it on prose of a few sentences and more. Not for single words, nor for
source code, where it names some language anyway; a text in two languages gets the one that is
stronger in the sample.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numba
import numpy as np
import pyarrow as pa

from tilth.errors import UsageError
from tilth.signals.kernels import text_buffers

UNKNOWN = "unknown"
PIECES = 4


class Language:
    """Columns `language` (ISO 639 code or "unknown") and `language_confidence` (0 to 1).

    Texts of more than `sample_bytes` bytes are judged by four equal pieces, spread evenly from
    their first to their last byte. `languages` restricts the answers. A sample without a letter,
    or without an n-gram that the model knows, is "unknown" with confidence 0. Confidence is the
    model's normalised probability, eased for length; it is not a calibrated one.
    """

    name = "language"
    version = 1
    columns: ClassVar[dict[str, int]] = {"language": 0, "language_confidence": 0}

    def __init__(self, *, sample_bytes: int = 2048, languages: Sequence[str] = ()) -> None:
        if sample_bytes < PIECES:
            raise UsageError(f"sample_bytes must be at least {PIECES}, not {sample_bytes}")
        self.sample_bytes = sample_bytes
        self.languages = tuple(languages)

    def parameters(self) -> dict[str, Any]:
        return {"sample_bytes": self.sample_bytes, "languages": list(self.languages)}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Language:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets, data = text_buffers(batch)
        view = memoryview(data)
        found = [
            self._classify(sample(view[start:stop], self.sample_bytes))
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist())
        ]
        return pa.RecordBatch.from_arrays(
            [
                pa.array([language for language, _ in found], pa.string()),
                pa.array([confidence for _, confidence in found], pa.float64()),
            ],
            list(self.columns),
        )

    def _classify(self, text: str) -> tuple[str, float]:
        if not any(map(str.isalpha, text)):
            return UNKNOWN, 0.0
        model = load_model(self.languages)
        # The model learned on NFC, and on few texts in capitals only.
        normal = unicodedata.normalize("NFC", text.lower() if text.isupper() else text)
        data = np.frombuffer(normal.encode("utf-8"), dtype=np.uint8)
        scores = class_scores(data, model.next_state, model.row, model.feature, model.weights)
        if not scores.any():
            return UNKNOWN, 0.0
        found = probabilities(scores, model.priors, len(data))
        by_label = np.bincount(model.label_of, weights=found)
        best = int(by_label.argmax())
        return model.labels[best], min(float(by_label[best]), 1.0)


def sample(text: memoryview, size: int) -> str:
    """At most `size` bytes of a text, from `PIECES` places; characters cut in two are left out."""
    if len(text) <= size:
        return str(text, "utf-8", "ignore")
    piece = size // PIECES
    last = len(text) - piece
    starts = [last * number // (PIECES - 1) for number in range(PIECES)]
    return " ".join(str(text[start : start + piece], "utf-8", "ignore") for start in starts)


@numba.njit(cache=True, nogil=True)
def class_scores(
    data: np.ndarray,
    next_state: np.ndarray,
    row: np.ndarray,
    feature: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Sum over the byte n-grams found of log(1 + count) times their log-likelihood in each class.

    An automaton walks over the bytes: from a state, `next_state[row[state], byte]` is the next one,
    and `feature` names the n-gram that ends there, or -1. The sums run in the order in which
    n-grams are first met, so that they do not depend on a linear algebra library or its threads.
    """
    found = np.empty(len(data), dtype=np.int64)
    size = 4
    while size < 2 * len(data):
        size *= 2
    keys, counts = np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.int64)
    kinds = state = 0
    for byte in data:
        state = np.int64(next_state[np.int64(row[state]), byte])
        gram = np.int64(feature[state])
        if gram < 0:
            continue
        slot = (gram * 40503) & (size - 1)
        while keys[slot] != -1 and keys[slot] != gram:
            slot = (slot + 1) & (size - 1)
        if keys[slot] == -1:
            keys[slot] = gram
            found[kinds] = slot
            kinds += 1
        counts[slot] += 1
    scores = np.zeros(weights.shape[1], dtype=np.float64)
    for kind in range(kinds):
        slot = found[kind]
        factor = np.log1p(float(counts[slot]))
        for label in range(weights.shape[1]):
            scores[label] += factor * weights[keys[slot], label]
    return scores


def probabilities(scores: np.ndarray, priors: np.ndarray, size: int) -> np.ndarray:
    """Posterior probabilities; the exponent is divided by the square root of the bytes read.

    Without that, which is py3langid's own correction, every text of some length would get 1.
    """
    logits = (scores + priors) / np.sqrt(max(size, 1))
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


class Model(NamedTuple):
    """py3langid's trained model as arrays; several of its classes may share one label."""

    next_state: np.ndarray
    row: np.ndarray
    feature: np.ndarray
    weights: np.ndarray
    priors: np.ndarray
    labels: list[str]
    label_of: np.ndarray


@functools.cache
def load_model(languages: tuple[str, ...] = ()) -> Model:
    """The model with all languages, or with some. Raises UsageError for an unknown one."""
    return _restricted(_read_model(), languages) if languages else _read_model()


@functools.cache
def _read_model() -> Model:
    from py3langid.langid import MODEL_DIR, MODEL_FILE
    from py3langid.modelio import load_model as read

    weights, priors, classes, next_state, row, feature = read(MODEL_DIR / MODEL_FILE)
    labels = list(dict.fromkeys(classes))
    return Model(
        next_state=np.asarray(next_state).reshape(-1, 256),
        row=np.asarray(row),
        feature=np.asarray(feature, dtype=np.int32),
        weights=np.ascontiguousarray(weights, dtype=np.float32),
        priors=np.asarray(priors, dtype=np.float64),
        labels=labels,
        label_of=np.array([labels.index(label) for label in classes]),
    )


def _restricted(model: Model, languages: tuple[str, ...]) -> Model:
    if unknown := sorted(set(languages) - set(model.labels)):
        known = ", ".join(sorted(model.labels))
        raise UsageError(f"no language is called {unknown[0]!r}", hint=f"known: {known}")
    labels = [label for label in model.labels if label in languages]
    chosen = [n for n, label in enumerate(model.label_of) if model.labels[label] in languages]
    return model._replace(
        weights=np.ascontiguousarray(model.weights[:, chosen]),
        priors=model.priors[chosen],
        labels=labels,
        label_of=np.array([labels.index(model.labels[n]) for n in model.label_of[chosen]]),
    )
