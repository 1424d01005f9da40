"""Terms that are added to any objective whose model gives logits: z-loss, and KL to a reference.

- z-loss, z log(Z)^2 with Z the sum of exp(logits): keeps logits from drifting away, which softmax
  alone does not see (Chowdhery et al., 2022; OLMo team, 2024: z = 1e-5). For long trainings and
  low precision; it does not change what is learned otherwise.
- KL(reference || model) over the vocabulary: keeps a model near one that it was made from (Kullback
  and Leibler, 1951). For adaptation that is to forget little; costs a forward pass more.

    Regularised(Causal(length=128), z=1e-5)

Both are means over the positions whose logits the head computes, times the targets: they compose
by sum with the loss of the objective. Where a row has padding that the head computes too, that
padding counts in the mean.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.objectives.batch import Batch, Draws, Loss, Objective, own_modules, stated

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

Z = 1e-5


def z_mean(logits: torch.Tensor) -> torch.Tensor:
    """Mean of log(sum exp logits)^2, in float32. logits (..., vocabulary)."""
    import torch

    return torch.logsumexp(logits.float(), dim=-1).square().mean()


def kl_mean(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean over positions of KL(reference || model) in nats. Both (..., vocabulary)."""
    import torch.nn.functional as F

    ours = F.log_softmax(logits.float(), dim=-1).flatten(0, -2)
    theirs = F.log_softmax(reference.float(), dim=-1).flatten(0, -2)
    return F.kl_div(ours, theirs, log_target=True, reduction="batchmean")


class Regularised:
    """`objective`, plus `z` times the z-loss, plus `kl` times the divergence from `reference`.

    The reference is a frozen model with the same vocabulary; it is not trained and not kept in
    checkpoints, so name it when you go on. `version` is that of the terms.
    """

    version = 1

    def __init__(
        self,
        objective: Objective,
        *,
        z: float = Z,
        kl: float = 0.0,
        reference: PreTrainedModel | None = None,
    ) -> None:
        if z < 0 or kl < 0 or (kl > 0) != (reference is not None):
            raise UsageError("z and kl are at least 0, and kl needs a reference, else none")
        self.objective, self.z, self.kl, self.reference = objective, z, kl, reference
        self.name, self.length = f"{objective.name}, regularised", objective.length
        vars(self).update(stated(objective))

    @property
    def modules(self) -> Mapping[str, Any]:
        return own_modules(self.objective)

    def parameters(self) -> dict[str, Any]:
        """Those of the objective, and the weights of the terms."""
        return {**self.objective.parameters(), "z": self.z, "kl": self.kl}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        return self.objective.prepare(documents, rng)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        import torch

        with _watched(model) as seen:
            made = self.objective.loss(model, batch)
        if not made.n_targets:
            return made
        parts = dict(made.parts)
        total = made.total
        if self.z:
            term = self.z * z_mean(_joined(seen)) * made.n_targets
            total, parts["z"] = total + term, term.item()
        if self.reference is not None:
            reference = self.reference.to(model.device).eval()
            with torch.no_grad(), _watched(reference) as theirs:
                self.objective.loss(reference, batch)
            term = self.kl * kl_mean(_joined(seen), _joined(theirs)) * made.n_targets
            total, parts["kl"] = total + term, term.item()
        return Loss(total, parts, made.n_targets)


@contextlib.contextmanager
def _watched(model: PreTrainedModel) -> Iterator[list[Any]]:
    """What the output head gives while this runs."""
    head = model.get_output_embeddings()
    if head is None:
        raise UsageError(f"{type(model).__name__} has no head over the vocabulary to regularise")
    seen: list[Any] = []
    handle = head.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def _joined(seen: list[Any]) -> torch.Tensor:
    import torch

    return torch.cat([logits.flatten(0, -2) for logits in seen])
