"""Masked language modelling: guess hidden tokens from both sides (Devlin et al., 2019).

Of each document `rate` of the tokens is chosen; of these 80 % become the mask token, 10 % another
token, 10 % stay, and all of them are to be predicted. Masks are drawn anew each epoch (dynamic
masking, full sentences, no sentence task: Liu et al., 2019), from (seed, epoch, document id) alone,
before documents are joined and cut in rows, so neither neighbours nor row ends change them. Rows
are those of `objectives.causal`, without the shift; documents are kept apart.

Use it for encoders that are to be fine-tuned. It learns from `rate` of the tokens of a row only
and gives no probability of a text: for generation, or to score texts, take `causal`.

A curriculum (easy to hard: words in place of tokens, higher rates, no replacement) is a list of
stages, each with an objective of its own: `objective.changed(unit="word", rate=0.2)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.models.packed import forward, row_segments
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.causal import cross_entropy_sum, joined
from tilth.objectives.corruption import Corruption, corrupt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

NO_TARGET = -1


class Masked:
    """Predict chosen tokens on rows of `length`.

    `mask`: the id of the mask token; None takes the first id after those of the documents, for
    which the model needs a row more. `special`: ids that are never chosen nor put in, beside the
    mask and the end of a document. `unit`: what is chosen whole: `token`, `word`, `span` (of
    words), `tfidf` (informative words first). `split`: shares masked, replaced, kept.
    `replacement`: `uniform` or `tfidf`. `words`, `informative`: what `tokens.words` makes, for all
    but tokens that are replaced uniformly. `window`: see `packed.forward`.

    Arrays: `ids` (rows, length), corrupted; `targets`, the original id or -1; `segments`.
    """

    name = "masked"
    version = 1
    model_kind = "bert"

    def __init__(
        self,
        *,
        length: int = 128,
        rate: float = 0.15,
        mask: int | None = None,
        special: Sequence[int] = (),
        unit: str = "token",
        split: Sequence[float] = (0.8, 0.1, 0.1),
        replacement: str = "uniform",
        words: str = "",
        informative: Sequence[Any] = (),
        window: int | None = None,
    ) -> None:
        if length < 2:
            raise UsageError(f"a row of {length} tokens teaches nothing", hint="length >= 2")
        self.length, self.mask, self.special = length, mask, tuple(special)
        self.window = window
        listed = [(tuple(word), float(weight)) for word, weight in informative]
        share = (float(split[0]), float(split[1]), float(split[2])) if len(split) == 3 else ()
        self.how = Corruption(rate, unit, share, replacement, words, listed)  # type: ignore[arg-type]

    def parameters(self) -> dict[str, Any]:
        how = self.how
        return {
            "length": self.length, "rate": how.rate, "mask": self.mask,
            "special": list(self.special), "unit": how.unit, "split": list(how.split),
            "replacement": how.replacement, "words": how.words,
            "informative": [[list(word), weight] for word, weight in how.informative],
            "window": self.window,
        }  # fmt: skip

    def changed(self, **options: Any) -> Masked:
        """The same objective with other options: a phase of a curriculum."""
        return type(self)(**{**self.parameters(), **options})

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of the joined, corrupted documents, in order."""
        made, chosen = corrupted(documents, self.how, rng, self.mask, self.special)
        whole = joined(documents)
        rows, dropped = divmod(len(whole), self.length)
        if not len(documents):
            rows = dropped = 0  # only the end token before the first document
        cut = slice(0, rows * self.length)
        before = whole[cut].reshape(rows, self.length)
        ids, places = (part[cut].reshape(rows, self.length) for part in (made, chosen))
        targets = np.where(places, before.astype(np.int32), NO_TARGET)
        segments = row_segments(before, documents.end).astype(np.int32)
        return Batch({"ids": ids, "targets": targets, "segments": segments}, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy over the chosen tokens; `masked accuracy` sums those that are named."""
        import torch

        ids, targets, segments = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "segments")
        )
        check_ids(model, ids)
        at = targets != NO_TARGET
        logits = forward(model, ids, segments, at=at, window=self.window)
        named = int((logits.detach().argmax(-1) == targets[at]).sum())
        total = cross_entropy_sum(logits, targets[at])
        return Loss(total, {"named": float(named)}, int(at.sum()))


def check_ids(model: PreTrainedModel, ids: Any) -> None:
    """Refuse ids that the model has no embedding for: the mask is one more than the tokens."""
    if ids.numel() and int(ids.max()) >= model.config.vocab_size:
        raise UsageError(
            f"the mask token has the id {int(ids.max()):,}, the model has "
            f"{model.config.vocab_size:,} ids",
            hint="mask=the id of your tokenizer's mask token, or a model with one id more",
        )


def corrupted(
    documents: TokenDocuments, how: Corruption, rng: Draws, mask: int | None, special: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """(ids, chosen) of the joined documents, end tokens between them, as `causal.joined`."""
    mask = documents.vocabulary if mask is None else mask
    allowed = ordinary(documents, mask, special)
    kind = np.uint16 if max(documents.vocabulary, mask + 1) <= 1 << 16 else np.uint32
    end, none = np.array([documents.end], dtype=kind), np.zeros(1, dtype=bool)
    ids, chosen = [end], [none]
    for name, row in zip(documents.ids, documents.tokens):
        made, places = corrupt(row.astype(kind), how, rng.at(name), mask, allowed)
        ids += [made, end]
        chosen += [places, none]
    return np.concatenate(ids), np.concatenate(chosen)


def ordinary(documents: TokenDocuments, mask: int, special: Sequence[int]) -> np.ndarray:
    """Of each id below the vocabulary whether it is no special token."""
    found = np.ones(documents.vocabulary, dtype=bool)
    found[[id for id in (mask, documents.end, *special) if id < documents.vocabulary]] = False
    return found
