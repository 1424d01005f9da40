"""The classes behind `models.recurrent`: configuration, mixers, blocks, the language model.

Import this module only where such a model is built or loaded: it needs torch and transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from tilth.models.quasi_lstm import scan

# Added to the forget gate's input: a new model remembers (Gers et al., 2000).
FORGET_BIAS = 1.0


class RecurrentConfig(PretrainedConfig):
    """`mixer`: `lstm` or `quasi_lstm`. `scan_block`: as in `quasi_lstm.scan`; speed only."""

    model_type = "tilth-recurrent"
    keys_to_ignore_at_inference = ("past_key_values",)

    def __init__(
        self,
        mixer: str = "quasi_lstm",
        vocab_size: int = 4096,
        hidden_size: int = 128,
        intermediate_size: int = 512,
        num_hidden_layers: int = 4,
        scan_block: int = 0,
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
        tie_word_embeddings: bool = True,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 0,
        **kwargs: Any,
    ) -> None:
        if mixer not in MIXERS:
            raise ValueError(f"mixer {mixer!r} is none of {', '.join(MIXERS)}")
        self.mixer, self.scan_block = mixer, scan_block
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.intermediate_size, self.num_hidden_layers = intermediate_size, num_hidden_layers
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        super().__init__(
            tie_word_embeddings=tie_word_embeddings,
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            **kwargs,
        )


@dataclass
class RecurrentState:
    """What is carried from text to text: a tuple of tensors (rows, width) a layer.

    It stands where attention has its cache (`past_key_values`); its size does not grow.
    """

    layers: tuple[tuple[torch.Tensor, ...], ...]
    tokens: int = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.tokens

    def detach(self) -> RecurrentState:
        """The same state without its history: gradients stop here."""
        layers = tuple(tuple(part.detach() for part in layer) for layer in self.layers)
        return RecurrentState(layers, self.tokens)


class QuasiLSTM(nn.Module):
    """Gates from the input alone: c = scan(f, i tanh(z)), h = o tanh(c)."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.block = config.scan_block
        self.gates = nn.Linear(config.hidden_size, 4 * config.hidden_size)

    def forward(
        self, hidden: torch.Tensor, state: tuple[torch.Tensor, ...] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        forget, take, give, new = self.gates(hidden).chunk(4, -1)
        before = hidden.new_zeros(hidden[:, 0].shape) if state is None else state[0]
        kept = torch.sigmoid(forget.float() + FORGET_BIAS)
        update = torch.sigmoid(take.float()) * torch.tanh(new.float())
        cells = scan(kept, update, before, self.block)
        return torch.sigmoid(give) * torch.tanh(cells).to(hidden.dtype), (cells[:, -1],)


class LSTM(nn.Module):
    """torch's own LSTM, a step at a time: gates look at the last output too."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.cell = nn.LSTM(config.hidden_size, config.hidden_size, batch_first=True)

    def forward(
        self, hidden: torch.Tensor, state: tuple[torch.Tensor, ...] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        given = None if state is None else tuple(part.unsqueeze(0) for part in state)
        found, left = self.cell(hidden, given)
        return found, tuple(part.squeeze(0) for part in left)


MIXERS: dict[str, type[nn.Module]] = {"lstm": LSTM, "quasi_lstm": QuasiLSTM}


class RecurrentBlock(nn.Module):
    """x + project(mixer(norm x)), then x + MLP(norm x), as in a pre-norm GPT."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.mixer_norm = nn.LayerNorm(width, eps=config.layer_norm_epsilon)
        self.mixer = MIXERS[config.mixer](config)
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_epsilon)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(
        self, hidden: torch.Tensor, state: tuple[torch.Tensor, ...] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        mixed, left = self.mixer(self.mixer_norm(hidden), state)
        hidden = hidden + self.project(mixed)
        return hidden + self.down(F.gelu(self.up(self.norm(hidden)))), left


class RecurrentPreTrainedModel(PreTrainedModel):
    config_class = RecurrentConfig
    base_model_prefix = "model"
    _is_stateful = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.LSTM):
            deviation = module.hidden_size**-0.5
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.uniform_(parameter, -deviation, deviation)
                else:
                    nn.init.zeros_(parameter)
            # Gates of torch's LSTM come as input, forget, cell, output.
            width = module.hidden_size
            with torch.no_grad():
                module.bias_ih_l0[width : 2 * width] = FORGET_BIAS


class RecurrentModel(RecurrentPreTrainedModel):
    """Token ids (rows, time) to hidden states (rows, time, width)."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(RecurrentBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        past_key_values: RecurrentState | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        carried = past_key_values
        states = [None] * len(self.layers) if carried is None else carried.layers
        left = []
        for layer, state in zip(self.layers, states):
            hidden, after = layer(hidden, state)
            left.append(after)
        made = None
        if use_cache:
            seen = hidden.shape[1] + (0 if carried is None else carried.tokens)
            made = RecurrentState(tuple(left), seen)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden), past_key_values=made)


class RecurrentForCausalLM(RecurrentPreTrainedModel, GenerationMixin):
    """A recurrent language model. Rows may be padded at their end only: nothing looks ahead."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.model = RecurrentModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RecurrentState | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        if attention_mask is not None and (attention_mask.diff(dim=-1) > 0).any():
            raise ValueError("a recurrent model takes rows that are padded at their end only")
        found = self.model(input_ids, past_key_values, inputs_embeds, use_cache)
        logits = self.lm_head(found.last_hidden_state[:, -logits_to_keep:])
        return CausalLMOutputWithPast(logits=logits, past_key_values=found.past_key_values)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        # The cache of attention is of no use here; `generate` starts without any.
        return False

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: RecurrentState | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if past_key_values is not None:
            input_ids = input_ids[:, past_key_values.tokens :]
        return {
            "input_ids": input_ids,
            "attention_mask": kwargs.get("attention_mask"),
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }
