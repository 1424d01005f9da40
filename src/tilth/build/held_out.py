"""How well a model does on held-out text, before and after: what a training brought and cost.

Causal models are scored in bits per byte of text, which tokenizers cannot change. Others are
scored in nats per target of their objective, on the same draws each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.objectives.batch import Objective
    from tilth.tokens.documents import TokenDocuments

ROWS = 16
# Objectives of models that give a probability of text.
BITS = ("causal", "distil")


class Scores:
    """Named sets of held-out documents under one model; a set may be None or empty."""

    def __init__(
        self, model: PreTrainedModel, objective: Objective,
        sets: Mapping[str, TokenDocuments | None],
    ) -> None:  # fmt: skip
        self.model, self.objective = model, objective
        self.sets = {name: data for name, data in sets.items() if data is not None and len(data)}
        self.unit = "bits per byte" if objective.name in BITS else "nats a masked token"

    def measure(self, progress: Progress = silent) -> dict[str, float]:
        """A number for each set; lower is better."""
        from tilth.evaluation.bits import bits_per_byte

        found = {}
        for name, data in self.sets.items():
            progress(f"score {name} text", 0, 0)
            if self.objective.name in BITS:
                value = bits_per_byte(self.model, data, self.objective.length)["bits_per_byte"]
            else:
                value = mean_loss(self.model, self.objective, data)
            if value is not None:
                found[name] = float(value)
        return found

    def lines(self, before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
        """What to say of it, for people."""
        named = {"held out": "held-out text", "old": "text of the old domain"}
        made = []
        for name, value in after.items():
            line = f"{named.get(name, name)}: {before[name]:.3f} -> {value:.3f} {self.unit}"
            if name == "old":
                change = value - before[name]
                line += f": {abs(change):.3f} {'forgotten' if change > 0 else 'gained'}"
            made.append(line)
        return made


def mean_loss(model: PreTrainedModel, objective: Objective, data: TokenDocuments) -> float | None:
    """Nats per target over all rows of `data`, with the draws of seed 0; None without a target."""
    import torch

    from tilth.objectives.batch import Draws

    batch: Any = objective.prepare(data, Draws(0, 0))
    total, targets = 0.0, 0
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(batch), ROWS):
                part = objective.loss(model, batch.take(slice(start, start + ROWS)))
                total += float(part.total)
                targets += part.n_targets
    finally:
        model.train(was_training)
    return total / targets if targets else None
