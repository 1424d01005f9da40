"""Replaced-token detection (ELECTRA): a small generator fills masks, the model finds its words.

    L = L_masked(generator) + 50 L_detect(model)                      (Clark et al., 2020)

The generator, a masked language model, is trained along; a token is drawn from what it says of each
masked place, and the model says of every token whether it is the original. A drawn token that
equals the original counts as original. No gradient goes through the draw. All tokens are targets,
not 15 %, which is why it learns faster per token than `masked`. For encoders; the model has no
language model's head, so compare it by probes and tasks, never by perplexity. A generator nearly
as large as the model makes the task too hard: a quarter to a half of its width is usual. Of some
hundred thousand tokens neither learns anything when both begin from nothing: let a generator of the
model's shape learn first with `masked`, then begin the model as it (`generator` may be set).

Here the generator has its own embeddings; the paper shares those of the model. L_masked is divided
by the rate in place of the count of masked tokens, so that losses of parts of a batch add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.causal import cross_entropy_sum
from tilth.objectives.masked import NO_TARGET, Masked, check_ids

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments


class Replaced:
    """Tell replaced tokens on rows of `length`; owns the generator.

    `vocabulary`: of the generator, mask included, as the model's. `width`, `layers`: of the
    generator. `weight`: of the detection. `mask`, `special`, `rate`, `window`: as in `masked`.
    The model gives one logit a token, as `ElectraForPreTraining` or a token classifier of one label
    does. `kind`, `settings`: architecture of the generator, see `encoders.build_shape`.

    Arrays: those of `masked` with every chosen token masked, and `draws` (rows, length), uniform in
    [0, 1): the token that is taken from the generator's distribution.
    """

    name = "replaced"
    version = 1
    model_kind = "electra"

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int = 128,
        rate: float = 0.15,
        mask: int | None = None,
        special: Sequence[int] = (),
        width: int = 32,
        layers: int = 1,
        weight: float = 50.0,
        window: int | None = None,
        seed: int = 0,
        kind: str = "electra-generator",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if weight <= 0:
            raise UsageError("a weight of 0 or less detects nothing", hint="weight=50")
        self._masked = Masked(
            length=length, rate=rate, mask=mask, special=special, split=(1, 0, 0), window=window
        )
        self.length, self.vocabulary, self.width, self.layers = length, vocabulary, width, layers
        self.weight, self.seed, self.window = weight, seed, window
        self.kind, self.settings = kind, dict(settings or {})

    def parameters(self) -> dict[str, Any]:
        inner = self._masked.parameters()
        names = ("length", "rate", "mask", "special", "window")
        return {
            **{name: inner[name] for name in names},
            "vocabulary": self.vocabulary, "width": self.width, "layers": self.layers,
            "weight": self.weight, "seed": self.seed, "kind": self.kind,
            "settings": self.settings,
        }  # fmt: skip

    @cached_property
    def generator(self) -> PreTrainedModel:
        """The masked language model that fills in; trained along."""
        from tilth.models.encoders import build_shape

        return build_shape(
            self.width, self.layers, vocabulary=self.vocabulary, context=self.length,
            kind=self.kind, seed=self.seed, settings=self.settings,
        ).train()  # fmt: skip

    @property
    def modules(self) -> Mapping[str, torch.nn.Module]:
        return {"generator": self.generator}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of the joined, masked documents, and a draw for each place."""
        made = self._masked.prepare(documents, rng)
        parts = [np.zeros(1, np.float32)]
        for name, row in zip(documents.ids, documents.tokens):
            # Position 1: position 0 drew the masks.
            parts.append(rng.at(name, 1).random(len(row) + 1, dtype=np.float32))
        draws = np.concatenate(parts)[: made["ids"].size].reshape(made["ids"].shape)
        return Batch({**made.arrays, "draws": draws}, made.dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Detection over all tokens and the generator's loss; parts in nats, summed."""
        import torch.nn.functional as F

        fill, logits, changed = self._played(model, batch)
        detect = F.binary_cross_entropy_with_logits(
            logits.float(), changed.float(), reduction="sum"
        )
        total = fill / self._masked.how.rate + self.weight * detect
        right = ((logits.detach() > 0) == changed).sum()
        parts = {
            "generator": fill.item(), "detection": detect.item(),
            "replaced": float(changed.sum()), "right": float(right),
        }  # fmt: skip
        return Loss(total, parts, changed.numel())

    def answers(self, model: PreTrainedModel, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """(logit that a token is replaced, whether it is), each (rows, length); nothing learns."""
        import torch

        with torch.inference_mode():
            _, logits, changed = self._played(model, batch)
        return logits.float().cpu().numpy(), changed.cpu().numpy()

    def _played(
        self, model: PreTrainedModel, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(the generator's loss, the model's logits, what is replaced)."""
        import torch

        masked, targets, segments = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "segments")
        )
        check_ids(model, masked)
        check_ids(self.generator, masked)
        at = targets != NO_TARGET
        window = self._masked.window
        self.generator.to(model.device)  # type: ignore[arg-type]
        guesses = forward(self.generator, masked, segments, at=at, window=window)
        fill = cross_entropy_sum(guesses, targets[at])
        draws = torch.from_numpy(batch["draws"]).to(model.device)[at]
        ids = masked.masked_scatter(at, sample(guesses.detach(), draws))
        changed = ids != torch.where(at, targets, masked)
        logits = forward(model, ids, segments, window=window)
        return fill, _one_a_token(model, logits, ids), changed


def _one_a_token(model: PreTrainedModel, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(rows, length); of a token classifier the column of its only label."""
    if logits.shape == (*ids.shape, 1):
        logits = logits[..., 0]
    if logits.shape != ids.shape:
        raise UsageError(
            f"a {type(model).__name__} does not give one logit a token",
            hint="an ElectraForPreTraining does, or a token classifier with one label",
        )
    return logits


def sample(logits: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """A token for each row of logits (rows, vocabulary), by inverting its distribution at `draws`
    (rows,) in [0, 1). The same draws give the same tokens."""
    import torch

    mass = torch.softmax(logits.double(), dim=-1).cumsum(-1)
    place = draws.double()[:, None] * mass[:, -1:]
    found = torch.searchsorted(mass, place, right=True)[:, 0]
    return found.clamp_(max=logits.shape[-1] - 1)
