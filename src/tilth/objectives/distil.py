"""Distillation: learn what a teacher says, not only what is true (Hinton, Vinyals and Dean, 2015).

    L = (1 - share) L_hard + share T^2 KL(softmax(teacher / T) || softmax(student / T))

- `Distil`: a causal student on rows of text, token by token (Kim and Rush, 2016, word level). The
  teacher must have the student's vocabulary.
- `SoftLabels`: a student of a labelled task on the teacher's probabilities, labels not looked at
  (pre-trained distillation: Turc et al., 2019). For much text without labels beside few with.

No gradient goes to the teacher; it is not trained, not kept in checkpoints, and asked anew for each
batch. A student much smaller than its teacher gains most; on plenty of data it gains little.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss, own_modules, stated
from tilth.objectives.causal import Causal, cross_entropy_sum

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments


def divergence_sum(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """T^2 times the sum over positions of KL(teacher || student) in nats. Both (..., classes)."""
    import torch.nn.functional as F

    ours = F.log_softmax(_wide(logits) / temperature, dim=-1)
    theirs = F.log_softmax(_wide(teacher) / temperature, dim=-1)
    return F.kl_div(ours, theirs, log_target=True, reduction="sum") * temperature**2


def _wide(values: torch.Tensor) -> torch.Tensor:
    """At least 32 bits: half precision is too coarse for a sum, double is kept."""
    import torch

    return values.to(torch.promote_types(values.dtype, torch.float32))


class _Teacher:
    """A model at hand, or the folder of one, read when it is first asked."""

    def __init__(self, given: Any, kind: str) -> None:
        self.given, self.kind = given, kind
        self._model: Any = None if isinstance(given, (str, Path)) else given

    @property
    def name(self) -> str:
        return str(self.given) if isinstance(self.given, (str, Path)) else ""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Teacher:
        return copy.copy(self)  # shared: it does not change

    def model(self, like: PreTrainedModel) -> PreTrainedModel:
        """The teacher, for use, where the student is."""
        if self._model is None:
            from tilth.models.folder import load_model

            self._model = load_model(self.given, self.kind)
        return self._model.to(like.device).eval()


class Distil:
    """Causal rows of `length` targets, learned from a teacher and from the text.

    `teacher`: a model, or a model's folder. `share` of the loss is the teacher's. `temperature`
    above 1 shows more of what the teacher thinks of unlikely tokens.
    """

    name = "distil"
    version = 1

    def __init__(
        self,
        *,
        teacher: str | PreTrainedModel,
        length: int = 256,
        temperature: float = 2.0,
        share: float = 0.5,
        apart: bool = True,
    ) -> None:
        if not 0 < share <= 1 or temperature <= 0:
            raise UsageError("share must lie above 0 and at most at 1, temperature above 0")
        self._rows = Causal(length=length, apart=apart)
        self._teacher = _Teacher(teacher, "causal")
        self.length, self.temperature, self.share = length, temperature, share

    def parameters(self) -> dict[str, Any]:
        return {
            **self._rows.parameters(), "teacher": self._teacher.name,
            "temperature": self.temperature, "share": self.share,
        }  # fmt: skip

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows as those of `causal`."""
        return self._rows.prepare(documents, rng)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """The weighted sum; parts `hard` and `soft`, in nats."""
        import torch

        teacher = self._teacher.model(model)
        rows = torch.from_numpy(batch["tokens"].astype(np.int64)).to(model.device)
        segments = None
        if self._rows.apart:
            segments = torch.from_numpy(batch["segments"]).to(model.device)
        logits = forward(model, rows[:, :-1], segments)
        with torch.no_grad():
            theirs = forward(teacher, rows[:, :-1], segments)
        if theirs.shape[-1] != logits.shape[-1]:
            raise DataError(
                f"the teacher has {theirs.shape[-1]:,} token ids, the student {logits.shape[-1]:,}",
                hint="a teacher and a student of one tokenizer",
            )
        hard = cross_entropy_sum(logits, rows[:, 1:])
        soft = divergence_sum(logits, theirs, self.temperature)
        total = (1 - self.share) * hard + self.share * soft
        return Loss(total, {"hard": hard.item(), "soft": soft.item()}, rows[:, 1:].numel())


class SoftLabels:
    """The teacher's probabilities as targets of a labelled task's objective.

    `inner`: an objective with `logits(model, batch)`, such as `objectives.tasks.Classify`; its
    labels are not looked at. `teacher`: a model of the same task. An objective with a network of
    its own, such as `Bag`, is refused: teacher and student would share it.
    """

    name = "soft-labels"
    version = 1

    def __init__(self, inner: Any, teacher: PreTrainedModel, *, temperature: float = 1.0) -> None:
        if temperature <= 0:
            raise UsageError("temperature must lie above 0")
        if own_modules(inner):
            raise UsageError(f"{inner.name} has a network of its own, which a teacher would share")
        self.inner, self.temperature, self.length = inner, temperature, inner.length
        vars(self).update(stated(inner))
        self._teacher = _Teacher(teacher, "classify")

    def parameters(self) -> dict[str, Any]:
        return {"inner": self.inner.parameters(), "temperature": self.temperature}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows as those of the inner objective."""
        return self.inner.prepare(documents, rng)

    def logits(self, model: PreTrainedModel, batch: Batch) -> Any:
        """As the inner objective asks the model."""
        return self.inner.logits(model, batch)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """T^2 KL(teacher || student), one target a row."""
        import torch

        teacher = self._teacher.model(model)
        with torch.no_grad():
            theirs = self.inner.logits(teacher, batch)
        # A few classes cost nothing in 64 bits, and a student who agrees then has no gradient.
        ours = self.inner.logits(model, batch).double()
        total = divergence_sum(ours, theirs.double(), self.temperature)
        return Loss(total, {}, len(batch))
