"""Learn to predict the keys and values of a large model with a small one (Horton et al., 2024).

    objective = KVPrediction(base, auxiliary, length=256)
    fit(auxiliary, objective, data, tokens=2_000_000)
    objective.maps.save("maps.safetensors")

L = CE(base over predicted keys and values) + CE(auxiliary) + sum over layers of the mean absolute
distance of predicted keys and values from the base's own. The base is frozen; the auxiliary model
and the maps learn. Each batch costs the auxiliary model once and the base twice (its true keys and
values, without gradient, and its answer over the predicted ones), and memory for all of it.

For `serving.edits.kv_prediction`, where the base is slow to read prompts. Both models must share
their tokens. The paper's z-loss is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.models.packed import forward, packs
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.causal import Causal, cross_entropy_sum

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments


class KVPrediction:
    """Causal rows of `length` targets. `base` is frozen here; `auxiliary` is the model that `fit`
    trains. `layers`: the auxiliary layer of each base layer, `kv_maps.layer_map` by default.

    Raises DataError where the vocabularies differ, UsageError where keys and values cannot be set.
    """

    name = "kv-prediction"
    version = 1

    def __init__(
        self,
        base: PreTrainedModel,
        auxiliary: PreTrainedModel,
        *,
        length: int = 256,
        layers: Sequence[int] | None = None,
        distance: float = 1.0,
    ) -> None:
        from tilth.models.kv_maps import KVMaps

        sizes = [model.config.vocab_size for model in (base, auxiliary)]
        if sizes[0] != sizes[1]:
            raise DataError(f"the base has {sizes[0]:,} token ids, the auxiliary {sizes[1]:,}",
                            hint="two models of one tokenizer")  # fmt: skip
        if packs(base) != packs(auxiliary):
            raise UsageError("base and auxiliary lay rows out differently: take one family")
        if distance < 0:
            raise UsageError("distance is at least 0")
        self._rows, self.length, self.distance = Causal(length=length), length, distance
        self.maps = KVMaps.between(auxiliary, base, layers)
        self.modules = {"maps": self.maps}
        self.teacher = base.eval().requires_grad_(False)

    def parameters(self) -> dict[str, Any]:
        return {**self._rows.parameters(), "layers": self.maps.layers, "distance": self.distance}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows as those of `causal`."""
        return self._rows.prepare(documents, rng)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """The sum; parts `base`, `auxiliary` in nats and `distance`."""
        import torch

        from tilth.models.kv_maps import recorded, replaced

        rows = torch.from_numpy(batch["tokens"].astype(np.int64)).to(model.device)
        segments = torch.from_numpy(batch["segments"]).to(model.device)
        inputs, targets = rows[:, :-1], rows[:, 1:]
        with recorded(model) as seen:
            own = cross_entropy_sum(forward(model, inputs, segments), targets)
        predicted = self.maps(seen)
        with torch.no_grad(), recorded(self.teacher) as true:
            forward(self.teacher, inputs, segments)
        with replaced(self.teacher, predicted):
            theirs = cross_entropy_sum(forward(self.teacher, inputs, segments), targets)
        far = sum(
            (made - real).abs().mean()
            for pair, wanted in zip(predicted, true)
            for made, real in zip(pair, wanted)
        )
        # A mean over tokens, as many times as there are targets: the loop divides by them.
        apart = self.distance * targets.numel() * far
        parts = {"base": theirs.item(), "auxiliary": own.item(), "distance": apart.item()}
        return Loss(theirs + own + apart, parts, targets.numel())
