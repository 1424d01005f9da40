"""Texts, the pooled classifier and the arms' parts of the system `budgetlongformer`."""

from __future__ import annotations

import copy
import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.data.sets import Source, open_set
from tilth.data.task import Task
from tilth.models.encoders import build_shape
from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.replaced import Replaced
from tilth.store.digest import digest
from tilth.systems._encoder_study import pretrain
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.training.epochs import tokens_for_epochs

if TYPE_CHECKING:
    import torch

SPECIAL = (bpe.PAD, bpe.MASK)
PAD, MASK = 1, 2
TYPES, PLANTED = "document types", "planted"
LABELS = 4  # the most frequent kinds of documents
CHARACTERS = 40_000
# What decides, planted behind the first half of a stretch; the rest of a stretch says nothing.
DECISIONS = (" The claim is allowed. ", " The claim is dismissed. ")


@dataclass(frozen=True)
class Inputs:
    """`tasks`: name -> (train, test), documents of `length` tokens with `extra["label"]`."""

    corpus: TokenDocuments
    tokenizer: Any
    tasks: dict[str, tuple[TokenDocuments, TokenDocuments]]
    width: int
    layers: int
    length: int
    window: int
    tokens: int
    batch_tokens: int
    rate: float
    epochs: float
    tuning_rate: float
    timed: tuple[int, int]


class Pooled:
    """Classes of long texts: a linear head on the mean of the last hidden states (2023).

    Arrays: `ids` (rows, length), -1 behind the end of a text, and `label`.
    """

    name = "pooled"
    version = 1

    def __init__(self, *, width: int, classes: int, length: int, window: int | None, seed: int):
        import torch

        self.length, self.window = length, window
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = torch.nn.Linear(width, classes)

    @property
    def modules(self) -> Mapping[str, torch.nn.Module]:
        return {"head": self.head}

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length, "window": self.window}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """One row a document, its first `length` tokens; the rest is counted."""
        ids = np.full((len(documents), self.length), -1, np.int32)
        for row, tokens in enumerate(documents.tokens):
            ids[row, : min(len(tokens), self.length)] = tokens[: self.length]
        lost = int(np.maximum(documents.lengths - self.length, 0).sum())
        return Batch({"ids": ids, "label": np.array(documents.extra["label"], np.int64)}, lost)

    def logits(self, model: Any, batch: Batch) -> torch.Tensor:
        """(rows, classes)."""
        import torch

        ids = torch.from_numpy(batch["ids"].astype(np.int64))
        real = ids >= 0
        states = forward(
            model, ids.clamp(min=0), torch.where(real, 0, -1), hidden=True, window=self.window
        )
        return self.head((states * real[..., None]).sum(1) / real.sum(1, keepdim=True))

    def loss(self, model: Any, batch: Batch) -> Loss:
        """Cross-entropy, one target a row."""
        import torch

        labels = torch.from_numpy(batch["label"])
        total = torch.nn.functional.cross_entropy(
            self.logits(model, batch), labels, reduction="sum"
        )
        return Loss(total, {}, len(batch))


def accuracy(model: Any, objective: Pooled, test: TokenDocuments) -> float:
    """The share of right classes."""
    import torch

    batch = objective.prepare(test, Draws())
    model.eval()
    with torch.inference_mode():
        found = [
            objective.logits(model, batch.take(slice(start, start + 16))).argmax(-1).numpy()
            for start in range(0, len(batch), 16)
        ]
    return float((np.concatenate(found) == batch["label"]).mean())


def build(inputs: Inputs, kind: str, context: int, seed: int) -> Any:
    """A model of the size of the arms."""
    return build_shape(
        inputs.width, inputs.layers, vocabulary=inputs.tokenizer.get_vocab_size(), context=context,
        kind=kind, pad=PAD, seed=seed,
    )  # fmt: skip


def detection(inputs: Inputs, length: int, window: int | None, seed: int) -> Replaced:
    """The objective of the method."""
    return Replaced(
        vocabulary=inputs.tokenizer.get_vocab_size(), length=length, mask=MASK, special=(PAD,),
        width=32, layers=1, window=window, seed=seed,
    )  # fmt: skip


def tuned(
    inputs: Inputs, base: Any, task: str, length: int, window: int | None, seed: int
) -> float:
    """Accuracy of a copy of the encoder after fine-tuning."""
    train, test = inputs.tasks[task]
    classes = 1 + max(train.extra["label"] + test.extra["label"])
    model = copy.deepcopy(base)
    objective = Pooled(width=inputs.width, classes=classes, length=length, window=window, seed=seed)
    budget = tokens_for_epochs(objective, train, inputs.epochs, 8 * length, seed)
    pretrain(model, objective, train, tokens=budget, batch_tokens=8 * length,
             rate=inputs.tuning_rate, seed=seed)  # fmt: skip
    return accuracy(model, objective, test)


def growth(inputs: Inputs, window: int | None) -> Callable[[], float]:
    """A function that times a forward pass at two lengths and gives their ratio."""
    import torch

    model = build(inputs, "electra", inputs.timed[1], 0)
    ids = torch.randint(3, 200, (1, inputs.timed[1]), generator=torch.Generator().manual_seed(0))

    def ratio() -> float:
        seconds = []
        for length in inputs.timed:
            began = time.process_time()
            with torch.inference_mode():
                forward(model, ids[:, :length], hidden=True, window=window)
            seconds.append(time.process_time() - began)
        return seconds[1] / seconds[0]

    return ratio


@functools.lru_cache(maxsize=1)
def _legal(vocabulary: int) -> tuple[Any, list[str], list[str], tuple[Source, ...]]:
    """(tokenizer, texts, their kinds, sources): once a process."""
    terms = open_set("legal_terms")
    assert isinstance(terms, Task)
    texts = [text[:CHARACTERS] for text in terms.table["text"].to_pylist()]
    tokenizer = bpe.train(texts, vocabulary, special=SPECIAL)
    return tokenizer, texts, terms.table["label"].to_pylist(), terms.sources


def real(
    seed: int, vocabulary: int, train: int, test: int, shape: dict[str, Any]
) -> tuple[Inputs, tuple[Source, ...]]:
    """Inputs of a seed. A third of the documents, drawn by the seed, is in tests alone: no text of
    a test was pre-trained on, nor fine-tuned on."""
    tokenizer, texts, kinds, sources = _legal(vocabulary)
    return _inputs(tokenizer, texts, kinds, seed, train, test, shape), sources


def smoke(seed: int, shape: dict[str, Any]) -> Inputs:
    """Docstrings, by the first letter of their name."""
    from tilth.zoo import tiny
    from tilth.zoo.micro import docstrings

    _, tokenizer, _ = tiny("masked")
    named = docstrings()[:80]
    return _inputs(tokenizer, [text for _, text in named], [name[:1] for name, _ in named], seed,
                   24, 24, shape)  # fmt: skip


def _inputs(
    tokenizer: Any, texts: Sequence[str], kinds: Sequence[str], seed: int, train: int, test: int,
    shape: dict[str, Any],
) -> Inputs:  # fmt: skip
    length = shape["length"]
    order = sorted(range(len(texts)), key=lambda n: digest("long", seed, n))
    sides = {"test": order[: len(order) // 3], "train": order[len(order) // 3 :]}
    names = [name for name, _ in Counter(kinds).most_common(LABELS)]
    corpus = TokenDocuments.of(
        [str(n) for n in sides["train"]], [texts[n] for n in sides["train"]], tokenizer
    )
    rng = np.random.default_rng([seed, 11])
    made: dict[str, list[TokenDocuments]] = {TYPES: [], PLANTED: []}
    for side, most in (("train", train), ("test", test)):
        found = [(n, piece) for n in sides[side]
                 for piece in _stretches(tokenizer, texts[n], length)]  # fmt: skip
        found = [found[place] for place in rng.permutation(len(found))]
        typed = [(piece, names.index(kinds[n])) for n, piece in found if kinds[n] in names]
        made[TYPES].append(_documents(side, typed[:most], tokenizer))
        planted = []
        for place, (_, piece) in enumerate(found[:most]):
            label = place % 2
            words = np.array(bpe.encode(tokenizer, [DECISIONS[label]])[0])
            start = int(rng.integers(length // 2, length - len(words)))
            piece = piece.copy()
            piece[start : start + len(words)] = words
            planted.append((piece, label))
        made[PLANTED].append(_documents(side, planted, tokenizer))
    tasks = {name: (pair[0], pair[1]) for name, pair in made.items()}
    return Inputs(corpus, tokenizer, tasks, **shape)


def _stretches(tokenizer: Any, text: str, length: int) -> list[np.ndarray]:
    """Whole stretches of a document; a short document that is one is filled up by itself."""
    ids = np.array(bpe.encode(tokenizer, [text])[0])
    if len(ids) < length:
        ids = np.resize(ids, length)
    return [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]


def _documents(side: str, rows: Sequence[tuple], tokenizer: Any) -> TokenDocuments:
    return TokenDocuments(
        [f"{side} {n}" for n in range(len(rows))], [piece for piece, _ in rows],
        tokenizer.get_vocab_size(), 0, [], {"label": [label for _, label in rows]},
    )  # fmt: skip
