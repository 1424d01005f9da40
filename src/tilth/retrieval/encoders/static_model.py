"""The static encoder as a `transformers` model, so that the one training loop can train it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class StaticConfig(PreTrainedConfig):
    """`hidden_size`: dimensions of the vector of a token."""

    model_type = "tilth-static"

    def __init__(self, vocab_size: int = 1, hidden_size: int = 1, **settings: Any) -> None:
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, 0
        super().__init__(**{"tie_word_embeddings": True, **settings})


class StaticModel(PreTrainedModel):
    """One vector a token; the last hidden state of a token is its vector."""

    config_class = StaticConfig
    base_model_prefix = "static"

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: torch.Tensor, **_: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.embedding(input_ids))

    def means(self, flat: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The mean vector of each text, (texts, dimensions); their tokens one behind the other."""
        offsets = lengths.cumsum(0) - lengths
        return nn.functional.embedding_bag(flat, self.embedding.weight, offsets, mode="mean")


def build(vocabulary: int, dimensions: int, seed: int) -> StaticModel:
    """Random vectors, about of unit length; the same seed gives the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StaticModel(StaticConfig(vocab_size=vocabulary, hidden_size=dimensions)).eval()
