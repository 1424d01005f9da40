"""LSTM and quasi-LSTM language models from one size dial (Stanic et al., 2023).

A pre-norm GPT in which the attention is replaced by a recurrence: an LSTM (Hochreiter and
Schmidhuber, 1997), or the quasi-LSTM of the Languini Kitchen, which is solved in blocks
(`models.quasi_lstm`). Use one where memory must not grow with the text, or to ask whether attention
earns its cost at a budget. For quality at a given number of tokens, attention is the better guess.

The paper splits a layer into heads; where the recurrence is by channel, as in the quasi-LSTM, heads
change nothing and there are none here. Input and output embeddings are tied, as in
`models.decoder`, the baseline; the paper's are not.

A folder saved by `models.decoder.save` loads with `models.decoder.load`, or with transformers once
`register()` was called. No code lies in the folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import UsageError, nearest
from tilth.models.decoder import nearest_shape

if TYPE_CHECKING:
    from tilth.models.recurrent_modules import RecurrentConfig, RecurrentForCausalLM

MIXERS = ("quasi_lstm", "lstm")
INNER = 4


def register() -> None:
    """Make transformers' AutoConfig and AutoModelForCausalLM know `tilth-recurrent`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from tilth.models.recurrent_modules import RecurrentConfig, RecurrentForCausalLM

    AutoConfig.register(RecurrentConfig.model_type, RecurrentConfig, exist_ok=True)
    AutoModelForCausalLM.register(RecurrentConfig, RecurrentForCausalLM, exist_ok=True)


def parameters_of(mixer: str, width: int, layers: int, vocabulary: int) -> int:
    """V d + l (mixer + d^2 + 8 d^2 + 10 d) + 2 d; the mixer has 4 d^2 + 4 d, an LSTM twice that."""
    gates = (8 if mixer == "lstm" else 4) * (width**2 + width)
    layer = gates + (1 + 2 * INNER) * width**2 + (1 + INNER + 1 + 4) * width
    return vocabulary * width + layers * layer + 2 * width


def shape_of(mixer: str, size: str | int, vocabulary: int) -> tuple[int, int]:
    """(width, layers) for a size, by the rule of `models.decoder`."""
    return nearest_shape(
        size, lambda width, layers: parameters_of(mixer, width, layers, vocabulary), mixer,
        vocabulary,
    )  # fmt: skip


def config_for(
    mixer: str = "quasi_lstm", size: str | int = "1m", *, vocabulary: int, end: int = 0
) -> RecurrentConfig:
    """The configuration for a size; `end` is the id of the end-of-document token."""
    if mixer not in MIXERS:
        raise UsageError(f"there is no mixer {mixer!r}", hint=nearest(mixer, MIXERS))
    from tilth.models.recurrent_modules import RecurrentConfig

    width, layers = shape_of(mixer, size, vocabulary)
    return RecurrentConfig(
        mixer=mixer,
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=INNER * width,
        num_hidden_layers=layers,
        bos_token_id=end,
        eos_token_id=end,
    )


def build(
    mixer: str = "quasi_lstm", size: str | int = "1m", *, vocabulary: int, seed: int = 0,
    end: int = 0,
) -> RecurrentForCausalLM:  # fmt: skip
    """A model with random weights, in float32; the same seed gives the same weights."""
    import torch

    from tilth.models.recurrent_modules import RecurrentForCausalLM

    register()
    config = config_for(mixer, size, vocabulary=vocabulary, end=end)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RecurrentForCausalLM(config)
    model.generation_config.pad_token_id = end
    return model.eval()
