"""A sentence task beside masked tokens: do two pieces belong together, and in which order?

- `next` (NSP; Devlin et al., 2019): is the second piece what follows the first, or a piece of
  another document? Half of each. Easily solved by the topic alone.
- `order` (SOP; Lan et al., 2020): the two pieces follow one another; are they swapped? Half of
  each. Needs more than the topic.

A pair is a stretch of one document, cut in two at a place drawn between a quarter and three
quarters of it; end token, first piece, end token, second piece, with segment types 0 and 1. Pairs
are packed whole into rows (`tokens.packing`). A linear head of the objective's own reads the state
of a pair's first token. Without such a task encoders of the same size often do as well or better
(Liu et al., 2019): `masked` is the baseline to beat.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError, nearest
from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.causal import cross_entropy_sum
from tilth.objectives.corruption import corrupt
from tilth.objectives.masked import NO_TARGET, Masked, check_ids, ordinary
from tilth.tokens.packing import best_fit

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

RELATIONS = ("order", "next")
SHORTEST = 8  # tokens that a pair needs


class Sentences:
    """Masked tokens and the relation of pairs, on rows of `length`; owns the head.

    `width`: of the model's hidden states. `pair`: tokens of a pair at most, end tokens included; by
    default a whole row. `weight`: of the sentence task. Other options: those of `masked`.

    Arrays (rows, length): `ids`, `targets`, `segments` (-1: room left), `types`, and `labels`: at
    the first token of a pair 1 where the pair is as it was, 0 where not, elsewhere -1. With `next`
    the other document is drawn from those that are prepared together.
    """

    name = "sentences"
    version = 1
    model_kind = "bert"

    def __init__(
        self,
        *,
        width: int,
        relation: str = "order",
        pair: int | None = None,
        weight: float = 1.0,
        length: int = 128,
        seed: int = 0,
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
        if relation not in RELATIONS:
            raise UsageError(f"no relation {relation!r}", hint=nearest(relation, RELATIONS))
        self._masked = Masked(
            length=length, rate=rate, mask=mask, special=special, unit=unit, split=split,
            replacement=replacement, words=words, informative=informative, window=window,
        )  # fmt: skip
        self.length, self.segment = length, length if pair is None else pair
        if not SHORTEST <= self.segment <= length:
            raise UsageError(f"pairs have from {SHORTEST} to {length} tokens, not {self.segment}")
        self.width, self.relation, self.weight, self.seed = width, relation, weight, seed
        self.window = window

    def parameters(self) -> dict[str, Any]:
        return {
            **self._masked.parameters(), "width": self.width, "relation": self.relation,
            "pair": self.segment, "weight": self.weight, "seed": self.seed,
        }  # fmt: skip

    @cached_property
    def head(self) -> torch.nn.Module:
        """(width,) -> two logits: not as it was, as it was."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return torch.nn.Linear(self.width, 2)

    @property
    def modules(self) -> Mapping[str, torch.nn.Module]:
        return {"head": self.head}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of whole pairs, in the order of the documents."""
        mask = documents.vocabulary if self._masked.mask is None else self._masked.mask
        allowed = ordinary(documents, mask, self._masked.special)
        kind = np.uint16 if max(documents.vocabulary, mask + 1) <= 1 << 16 else np.uint32
        pieces, dropped = self._pieces(documents)
        pairs, chances = [], {}
        for name, number, part in pieces:
            # One generator a document for the pairs, one for the masks, used piece by piece.
            if name not in chances:
                chances = {name: (rng.at(name, 0), rng.at(name, 1))}
            cutting, masking = chances[name]
            text, middle, label = self._pair(pieces, number, part, cutting)
            text = text.astype(kind)
            hidden, chosen = corrupt(text, self._masked.how, masking, mask, allowed)
            pairs.append((text, chosen, hidden, middle, label))
        rows = best_fit([2 + len(pair[0]) for pair in pairs], self.length)
        shape = (len(rows), self.length)
        arrays = {
            "ids": np.full(shape, documents.end, kind),
            "targets": np.full(shape, NO_TARGET, np.int32),
            "segments": np.full(shape, -1, np.int32),
            "types": np.zeros(shape, np.int8),
            "labels": np.full(shape, -1, np.int8),
        }
        for row, members in enumerate(rows):
            start = 0
            for number, member in enumerate(members):
                text, chosen, hidden, middle, label = pairs[member]
                first, second = start + 1, start + 2 + middle
                for place, part in (
                    (slice(first, first + middle), slice(0, middle)),
                    (slice(second, start + 2 + len(text)), slice(middle, None)),
                ):
                    arrays["ids"][row, place] = hidden[part]
                    arrays["targets"][row, place][chosen[part]] = text[part][chosen[part]]
                stop = start + 2 + len(text)
                arrays["segments"][row, start:stop] = number
                arrays["types"][row, second - 1 : stop] = 1
                arrays["labels"][row, start] = label
                start = stop
        return Batch(arrays, dropped)

    def _pieces(self, documents: TokenDocuments) -> tuple[list[tuple], int]:
        """(document id, its number, tokens) of all stretches; tokens of documents too short."""
        room, pieces, dropped = self.segment - 2, [], 0
        for number, (name, tokens) in enumerate(zip(documents.ids, documents.tokens)):
            if len(tokens) < SHORTEST - 2:
                dropped += len(tokens)
                continue
            count = -(-len(tokens) // room)
            ends = [len(tokens) * place // count for place in range(count + 1)]
            pieces += [
                (name, number, tokens[start:stop]) for start, stop in itertools.pairwise(ends)
            ]
        return pieces, dropped

    def _pair(
        self, pieces: list[tuple], number: int, part: np.ndarray, chance: np.random.Generator
    ) -> tuple[np.ndarray, int, int]:
        """(both pieces joined, where the second begins, label) of one stretch."""
        share, label = chance.uniform(0.25, 0.75), int(chance.integers(2))
        middle = min(max(1, round(share * len(part))), len(part) - 1)
        if label:
            return part, middle, label
        if self.relation == "order":
            return np.concatenate([part[middle:], part[:middle]]), len(part) - middle, label
        other = _of_another(pieces, number, len(part) - middle, chance)
        return np.concatenate([part[:middle], other]), middle, label

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Masked tokens, and `weight` times the pairs; n_targets counts the masked tokens.

        Both parts are means in the papers. Here each pair counts as many times as it has masked
        tokens on average, so that losses of parts of a batch add up.
        """
        import torch
        import torch.nn.functional as F

        ids, targets, segments, types, labels = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "segments", "types", "labels")
        )
        check_ids(model, ids)
        types = types if getattr(model.config, "type_vocab_size", 1) > 1 else None  # type: ignore[assignment]
        at, states = targets != NO_TARGET, []  # type: ignore[var-annotated]
        logits = forward(model, ids, segments, token_types=types, at=at, states=states,
                         window=self._masked.window)  # fmt: skip
        firsts = labels >= 0
        answers = self.head.to(model.device)(states[0][firsts].float())
        masked = cross_entropy_sum(logits, targets[at])
        # Tokens of each pair, its two end tokens left out.
        member = firsts.flatten().cumsum(0)[(segments >= 0).flatten()] - 1
        sizes = torch.bincount(member, minlength=len(answers)) - 2
        each = F.cross_entropy(answers, labels[firsts], reduction="none")
        pairs = self._masked.how.rate * (sizes * each).sum()
        right = float((answers.detach().argmax(-1) == labels[firsts]).sum())
        parts = {
            "masked": masked.item(), "pairs": pairs.item(), "right": right,
            "counted": float(firsts.sum()),
        }  # fmt: skip
        return Loss(masked + self.weight * pairs, parts, int(at.sum()))


def _of_another(
    pieces: Sequence[tuple], number: int, size: int, chance: np.random.Generator
) -> np.ndarray:
    """The last `size` tokens at most of a stretch of another document, all stretches alike."""
    first = bisect.bisect_left(pieces, number, key=lambda piece: piece[1])
    last = bisect.bisect_right(pieces, number, key=lambda piece: piece[1])
    others = len(pieces) - (last - first)
    if others < 1:
        raise UsageError("next sentences need at least two documents of some length")
    drawn = int(chance.integers(others))
    return pieces[drawn if drawn < first else drawn + last - first][2][-size:]
