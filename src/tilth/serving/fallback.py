"""Any other architecture: the model of `transformers` itself behind the interface of the model
runner.

Each sequence runs for itself, with the cache that `transformers` keeps for it; a model that keeps
none reads its whole sequence for every token. Blocks are only counted: nothing is shared, packed,
edited or saved. The engine says so in its `note`.

LongRoPE (Ding et al., 2024, arXiv 2402.13753) turns all positions by other frequencies once a
sequence is longer than the model was first trained for. What is kept of a shorter one is then read
anew, and prompts are read whole: half of a cache by either would be no model's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.serving.cache import BLOCK, KVCache
from tilth.serving.model_runner import Segment
from tilth.serving.weights import Shape

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Where a configuration states no longest sequence.
CONTEXT = 2**20


class FallbackRunner:
    """Any causal language model of `transformers`. `turn`: the longest sequence that is turned by
    the first frequencies, None where all are turned alike."""

    def __init__(self, model: PreTrainedModel) -> None:
        config: Any = model.config
        self.model = model
        model.train(False)
        context = getattr(config, "max_position_embeddings", None) or CONTEXT
        if context < 1:  # XLNet says -1
            context = CONTEXT
        self.shape = Shape(1, 1, 1, 1, 1, config.vocab_size, context)
        self.turn = _turn(config)
        self._takes = inspect.signature(model.forward).parameters

    def cache(self, blocks: int, block: int = BLOCK, **_others: Any) -> KVCache:
        """A cache that counts blocks and holds nothing."""
        return KVCache(replace(self.shape, layers=0), blocks=blocks, block=block, share=False)

    def bytes_per_token(self) -> int:
        """What a token's rows take at most, for keys and values of full width in float32."""
        config: Any = self.model.config
        layers = getattr(config, "num_hidden_layers", None) or 1
        return 8 * layers * (getattr(config, "hidden_size", None) or 1)

    def forward(self, cache: KVCache, segments: Sequence[Segment]) -> torch.Tensor:
        """Logits of the wanted tokens, segment by segment, (wanted, vocabulary), float32."""
        import torch

        found = [self._one(cache, segment) for segment in segments]
        return torch.cat([logits for logits in found if logits is not None] or [torch.empty(0, 1)])

    def _one(self, cache: KVCache, segment: Segment) -> torch.Tensor | None:
        import torch

        if segment.at is not None:
            raise UsageError("rows can be written anew only with the engine's own decoders")
        chain, ids, options = segment.chain, list(segment.ids), {}
        if self.turn is not None and chain.length <= self.turn < chain.length + len(ids):
            chain.past = None
        cache.reserve(chain, len(ids))
        fed = ids if chain.past is not None else [*chain.tokens, *ids]
        if "logits_to_keep" in self._takes:
            options["logits_to_keep"] = max(1, segment.want)
        with torch.no_grad():
            said = self.model(
                input_ids=torch.tensor([fed], device=self.model.device),
                past_key_values=chain.past, use_cache=True, **options,
            )  # fmt: skip
        chain.past = getattr(said, "past_key_values", None)
        cache.commit(chain, ids)
        return said.logits[0, -segment.want :].float() if segment.want else None


def _turn(config: Any) -> int | None:
    stated = getattr(config, "rope_parameters", None) or {}
    # Some have parameters for each kind of layer.
    each = [stated, *(one for one in stated.values() if isinstance(one, dict))]
    found = [one for one in each if one.get("rope_type") == "longrope"]
    lengths = [one.get("original_max_position_embeddings") for one in found]
    return min((int(one) for one in lengths if one), default=None)
