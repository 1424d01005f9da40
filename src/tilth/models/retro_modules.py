"""The classes behind `models.retro`: configuration, state, the decoder with retrieval.

Import this module only where such a model is built or loaded: it needs torch and transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from tilth.models.chunked_attention import (
    ChunkedCrossAttention,
    NeighbourEncoder,
    groups,
)

# Decoders that can be changed: (the list of layers, the attention inside a layer). In these the
# attention's answer is added to the layer's input as it is.
DECODERS = {
    "gpt2": ("transformer.h", "attn"),
    "llama": ("model.layers", "self_attn"),
    "mistral": ("model.layers", "self_attn"),
    "qwen2": ("model.layers", "self_attn"),
    "qwen3": ("model.layers", "self_attn"),
}


class RetroConfig(PretrainedConfig):
    """`decoder`: the configuration of the decoder, with its model_type, as a dictionary.

    `chunk`: tokens of a chunk. `retrieval_layers`: numbers of the layers that attend to neighbours,
    from 0. `encoder_layers`, `longest_neighbour`: of the neighbour encoder, in layers and tokens.
    """

    model_type = "tilth-retro"
    keys_to_ignore_at_inference = ("past_key_values",)

    def __init__(
        self,
        decoder: dict[str, Any] | None = None,
        chunk: int = 64,
        retrieval_layers: tuple[int, ...] = (),
        encoder_layers: int = 2,
        longest_neighbour: int = 128,
        initializer_range: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.decoder = dict(decoder or {"model_type": "llama"})
        self.chunk, self.encoder_layers = chunk, encoder_layers
        self.retrieval_layers = list(retrieval_layers)
        self.longest_neighbour = longest_neighbour
        inner = self.decoder_config()
        # 0.02 is of use at widths of about a thousand; below it attention stays flat for long.
        self.initializer_range = initializer_range or inner.hidden_size**-0.5
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                     "max_position_embeddings"):  # fmt: skip
            kwargs[name] = getattr(inner, name)
        kwargs["tie_word_embeddings"] = False
        for name in ("bos_token_id", "eos_token_id"):
            kwargs.setdefault(name, getattr(inner, name, None))
        super().__init__(**kwargs)

    def decoder_config(self) -> PretrainedConfig:
        given = dict(self.decoder)
        return AutoConfig.for_model(given.pop("model_type"), **given)


@dataclass
class RetroState:
    """What decoding carries on: the decoder's cache, and the chunk that is not complete yet.

    `tokens` were read so far; `pending` (rows, fewer than a chunk, width) are states of the first
    retrieval layer; `memory` and `valid` are the encoded neighbours of the last complete chunk.
    """

    cache: Any
    tokens: int
    pending: torch.Tensor | None
    memory: torch.Tensor | None
    valid: torch.Tensor | None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.tokens


@dataclass
class _Pass:
    """One call: what came in, and what the first retrieval layer made for the others."""

    neighbours: torch.Tensor | None
    state: RetroState | None
    start: int
    memory: torch.Tensor | None = None
    valid: torch.Tensor | None = None
    left: RetroState | None = None


class _Insertion:
    """Adds the chunked attention of layer `number` behind its self-attention, by hooks.

    The decoder's own modules and names stay as they are. A plain object with bound methods, so that
    a deep copy of the model hooks into the copy.
    """

    def __init__(self, model: RetroForCausalLM, number: int) -> None:
        self.model, self.number, self.entered = model, number, None

    def enter(self, layer: nn.Module, args: tuple, kwargs: dict) -> None:
        self.entered = args[0] if args else kwargs["hidden_states"]

    def leave(self, attention: nn.Module, args: tuple, output: Any) -> Any:
        entered, self.entered = self.entered, None
        found = output[0] if isinstance(output, tuple) else output
        added = self.model.attend(self.number, entered + found)
        if added is None:
            return output
        found = found + added
        return (found, *output[1:]) if isinstance(output, tuple) else found


class RetroForCausalLM(PreTrainedModel):
    """A decoder whose later layers attend to neighbours of its earlier chunks."""

    config_class = RetroConfig
    base_model_prefix = "decoder"
    _supports_sdpa = True

    def __init__(self, config: RetroConfig) -> None:
        super().__init__(config)
        inner = config.decoder_config()
        self.decoder = AutoModelForCausalLM.from_config(inner)
        width, heads = config.hidden_size, config.num_attention_heads
        self.encoder = NeighbourEncoder(
            width, heads, config.encoder_layers, config.longest_neighbour
        )
        self.retrieval = nn.ModuleDict({
            str(number): ChunkedCrossAttention(
                width, heads, config.chunk, config.longest_neighbour
            )
            for number in config.retrieval_layers
        })  # fmt: skip
        layers, attention = DECODERS[inner.model_type]
        for number in config.retrieval_layers:
            layer = self.decoder.get_submodule(f"{layers}.{number}")
            insertion = _Insertion(self, number)
            layer.register_forward_pre_hook(insertion.enter, with_kwargs=True)
            layer.get_submodule(attention).register_forward_hook(insertion.leave)
        self._pass: _Pass | None = None
        self._tied_weights_keys = {
            f"decoder.{name}": f"decoder.{source}"
            for name, source in (self.decoder._tied_weights_keys or {}).items()
            if inner.tie_word_embeddings
        }
        self.post_init()

    def silence(self) -> None:
        """Set the projection of what comes from neighbours to 0: the decoder alone speaks."""
        for layer in self.retrieval.values():
            nn.init.zeros_(layer.attention.output.weight)

    def runs_a_token(self, objective: Any) -> tuple[dict[str, float], float]:
        """For counting operations: module -> how often it runs for a token of the text, and the
        operations forward, a token, of queries with keys and values where neighbours take part.

        `objective` gives each chunk `most` neighbours, encoded at full length; without that
        nothing is encoded.
        """
        config, most = self.config, getattr(objective, "most", 0)
        keys = most * config.longest_neighbour
        # Neighbours' tokens for each token of the text.
        often = keys / config.chunk
        runs = {"encoder": often}
        for layer in range(config.encoder_layers):
            # The chunk that asks is read once.
            runs |= {f"encoder.layers.{layer}.chunk.{name}": min(1.0, often)
                     for name in ("key", "value")}  # fmt: skip
        for number in config.retrieval_layers:
            # A table of scores is looked up; the text asks once a token.
            runs[f"retrieval.{number}"] = 0.0
            runs |= {f"retrieval.{number}.attention.{name}": often for name in ("key", "value")}
            runs |= {f"retrieval.{number}.attention.{name}": min(1.0, often)
                     for name in ("query", "output")}  # fmt: skip
        seen = config.encoder_layers * often * (config.longest_neighbour + config.chunk)
        seen += len(config.retrieval_layers) * keys
        return runs, 4.0 * config.hidden_size * seen

    @property
    def base_model(self) -> nn.Module:
        """What gives the last hidden states."""
        return self.decoder.base_model

    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.decoder.get_output_embeddings()

    def forward(
        self,
        input_ids: torch.Tensor,
        neighbours: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RetroState | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (rows, length, vocabulary).

        neighbours (rows, chunks, k, r): token ids, -1 where there is none; one entry for each chunk
        that these tokens complete, in order. Without them this is the decoder alone, bit for bit.
        """
        state = past_key_values
        start = state.tokens if state is not None else 0
        length, chunk = input_ids.shape[1], self.config.chunk
        complete = (start + length) // chunk - start // chunk
        if neighbours is not None and neighbours.shape[1] != complete:
            raise ValueError(
                f"neighbours for {neighbours.shape[1]} chunks; these tokens complete {complete}"
            )
        if neighbours is not None:
            missing = self.config.longest_neighbour - neighbours.shape[3]
            if missing < 0:
                raise ValueError(
                    f"neighbours of {neighbours.shape[3]} tokens; the longest has "
                    f"{self.config.longest_neighbour}"
                )
            neighbours = F.pad(neighbours, (0, missing), value=-1)
        now = _Pass(neighbours, state, start)
        self._pass = now
        try:
            found = self.decoder(
                input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache,
                past_key_values=None if state is None else state.cache,
                logits_to_keep=logits_to_keep,
            )  # fmt: skip
        finally:
            self._pass = None
        left = None
        if use_cache:
            left = now.left or RetroState(None, 0, None, None, None)
            left.cache, left.tokens = found.past_key_values, start + length
        return CausalLMOutputWithPast(logits=found.logits, past_key_values=left)

    def attend(self, number: int, hidden: torch.Tensor) -> torch.Tensor | None:
        """What layer `number` gets from neighbours; None where there are none in this call."""
        now = self._pass
        if now is None:
            return None
        if number == min(self.config.retrieval_layers):
            self._encode(now, hidden)
        if now.memory is None:
            return None
        return self.retrieval[str(number)](hidden, now.memory, now.valid, now.start)

    def _encode(self, now: _Pass, hidden: torch.Tensor) -> None:
        """Encode the neighbours of the chunks completed now; put them beside the one before."""
        chunk, state = self.config.chunk, now.state
        known = hidden
        if state is not None and state.pending is not None:
            known = torch.cat([state.pending, hidden], 1)
        complete = known.shape[1] // chunk
        pending = known[:, complete * chunk :].detach()
        memory = None if state is None else state.memory
        valid = None if state is None else state.valid
        if now.neighbours is not None and complete:
            fresh, seen = self._encoded(now.neighbours, known[:, : complete * chunk])
            if memory is None:
                memory, valid = torch.zeros_like(fresh[:, :1]), torch.zeros_like(seen[:, :1])
            memory, valid = torch.cat([memory, fresh], 1), torch.cat([valid, seen], 1)
        elif memory is not None and complete:
            # Chunks for which nothing was looked up: nothing is seen from them.
            memory = torch.cat([memory, *[torch.zeros_like(memory)] * complete], 1)
            valid = torch.cat([valid, *[torch.zeros_like(valid)] * complete], 1)
        last = (None, None) if memory is None else (memory[:, -1:].detach(), valid[:, -1:])
        now.left = RetroState(None, 0, pending, *last)
        if memory is not None:
            # The table begins with the chunk before the first one completed now.
            first, final, _ = groups(now.start, hidden.shape[1], chunk)
            base = now.start // chunk - 1
            now.memory = memory[:, first - base : final - base + 1]
            now.valid = valid[:, first - base : final - base + 1]

    def _encoded(
        self, neighbours: torch.Tensor, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, chunks, keys, width) and which keys may be seen, from neighbours and states."""
        rows, chunks, _, _ = neighbours.shape
        flat = neighbours.flatten(0, 1)
        valid = flat >= 0
        embedded = self.get_input_embeddings()(flat.clamp(min=0))
        asking = hidden.reshape(rows * chunks, self.config.chunk, -1)
        memory = self.encoder(embedded, valid, asking)
        return memory.unflatten(0, (rows, chunks)), valid.flatten(1).unflatten(0, (rows, chunks))
