"""KV prediction: a small model reads the prompt, the large one writes (Horton et al., 2024).

    predictor = Predictor(base, auxiliary, maps)           # runners, and what was learned
    reading = predictor.read(cache, ids)
    answer(base, cache, reading, tokens=20)

    reader = Reader(engine, "auxiliary", "maps.safetensors")
    print(reader.write(prompt, tokens=20, temperature=0))

The auxiliary model reads all tokens but the last; a linear map a layer makes the large model's keys
and values of its own; the last token, and all that is written, goes through the large model. With
the identity for maps and the large model for auxiliary it is a full reading.

The first token comes sooner by about the ratio of the two models' sizes; what is written is worse
than behind a full reading, by how much training decides (`objectives.kv_prediction`). Use it where
the time to the first token counts and a pair was trained; not where the same prompts come again
(prefix sharing), nor where the small model alone is good enough: compare the three. Keys are mapped
as the cache keeps them, after the norm of heads; the paper maps them before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError
from tilth.serving.cache import KVCache, Rows
from tilth.serving.edits.reading import Desk, Reading, read
from tilth.serving.model_runner import ModelRunner, Segment

if TYPE_CHECKING:
    from tilth.models.kv_maps import KVMaps
    from tilth.serving.engine import Engine


class Predictor:
    """Reads for `base` with `auxiliary`, one text at a time.

    Raises DataError where maps or vocabularies do not fit.
    """

    def __init__(self, base: ModelRunner, auxiliary: ModelRunner, maps: KVMaps) -> None:
        ours, theirs = base.shape, auxiliary.shape
        if ours.vocabulary != theirs.vocabulary:
            raise DataError(f"the base has {ours.vocabulary:,} token ids, the auxiliary "
                            f"{theirs.vocabulary:,}")  # fmt: skip
        widths = (theirs.key_heads * theirs.head, ours.key_heads * ours.head)
        if maps.sizes != widths or len(maps.layers) != ours.layers or (
            max(maps.layers) >= theirs.layers
        ):  # fmt: skip
            raise DataError("the maps were not learned for these two models")
        self.base, self.auxiliary, self.layers = base, auxiliary, maps.layers
        self._maps = [
            [(one.weight.detach().to(base.device, base.dtype),
              one.bias.detach().to(base.device, base.dtype)) for one in side]
            for side in (maps.keys, maps.values)
        ]  # fmt: skip
        context = min(ours.context, theirs.context)
        self.context = context
        self._cache = auxiliary.cache(-(-context // 16) + 1, share=False)

    def predict(self, ids: Sequence[int]) -> Rows:
        """The base's rows of these tokens, as the auxiliary model's say."""
        import torch

        if len(ids) > self.context:
            raise UsageError(f"{len(ids):,} tokens, and the shorter context is {self.context:,}")
        own = read(self.auxiliary, self._cache, ids)
        seen = self._cache.slice(own.chain)
        self._cache.free(own.chain)
        shape = self.base.shape
        with torch.inference_mode():
            keys, values = (
                torch.stack([
                    torch.nn.functional.linear(
                        side[layer].flatten(1).to(self.base.device, self.base.dtype), *linear
                    )
                    for layer, linear in zip(self.layers, maps)
                ]).view(shape.layers, len(ids), shape.key_heads, shape.head)
                for side, maps in zip((seen.keys, seen.values), self._maps)
            )  # fmt: skip
        return Rows(keys, values)

    def read(self, cache: KVCache, ids: Sequence[int]) -> Reading:
        """A reading in a cache of the base; all but the last token are predicted.

        `run` counts the tokens that went through the base.
        """
        if not ids:
            raise UsageError("a text without tokens cannot be read")
        chain = cache.chain()
        if len(ids) > 1:
            cache.fill(chain, self.predict(ids[:-1]))
        logits = self.base.forward(cache, [Segment(chain, [ids[-1]])])[-1]
        return Reading(chain, list(ids), logits, 1)


class Reader:
    """Prompts for an engine's model, read by an auxiliary one. Errors as for `Desk`.

    `auxiliary`: the folder of a model with the engine's tokenizer, or the model; `maps`: a file of
    `KVMaps.save`, or the maps.
    """

    def __init__(self, engine: Engine, auxiliary: Any, maps: Any) -> None:
        from tilth.models.folder import load_model
        from tilth.models.kv_maps import KVMaps

        self.desk = Desk(engine)
        if isinstance(auxiliary, (str, Path)):
            auxiliary = load_model(auxiliary, "causal")
        if isinstance(maps, (str, Path)):
            maps = KVMaps.load(maps)
        base = self.desk.runner
        small = ModelRunner(auxiliary, base.dtype, str(base.device))
        self.predictor = Predictor(base, small, maps)

    def write(self, prompt: str, tokens: int = 64, **settings: Any) -> str:
        """What the model writes behind a prompt. `settings`: those of `Sampling`."""
        ids = self.desk.engine.encode(prompt)
        self.desk.fits(len(ids))
        reading = self.predictor.read(self.desk.cache, ids)
        try:
            return self.desk.write(reading, tokens, settings)
        finally:
            self.desk.cache.free(reading.chain)
