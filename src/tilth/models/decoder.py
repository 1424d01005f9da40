"""A decoder-only transformer from one size dial, and the model folder on disk.

The architecture is Llama's (Touvron et al., 2023): pre-norm with RMSNorm, rotary positions, SwiGLU,
no biases, input and output embeddings tied. The class is `transformers`' own, so that a folder
made here is read by everything that reads a Hugging Face folder, and a user's model of any other
architecture takes the same way through tilth.

One dial: `size`, about the number of parameters, embeddings counted once. Widths are multiples of
32, heads have 32 dimensions, the inner width is 8/3 of the width rounded up to a multiple of 16.
For each width the layers are chosen that come nearest to the size; the width is taken for which
|log(width / (32 layers))| + 4 |parameters / size - 1| is least.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import UsageError
from tilth.models.folder import load_model, save_model
from tilth.models.weight_files import WEIGHTS as WEIGHTS

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

HEAD = 32
WIDTH_PER_LAYER = 32
ERROR_WEIGHT = 4
# For `spread_out`: 10 per cent fewer nats a token than 0.02 throughout, on held-out text after
# 400,000 tokens at 0.4 M parameters (one seed); LOG.md has what else was tried.
SPREAD = 0.3
UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def parse_size(size: str | int) -> int:
    """`0.5m` -> 500000. Raises UsageError for what is no number with k, m or b."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmb]?)", str(size).strip().lower())
    if not match or float(match[1]) == 0:
        raise UsageError(f"{size!r} is not a size", hint="such as 500k, 1m or 2.5m")
    return round(float(match[1]) * UNITS[match[2]])


def parameters_of(width: int, layers: int, vocabulary: int) -> int:
    """V d + l (4 d^2 + 3 d f + 2 d) + d, with f the inner width."""
    layer = 4 * width**2 + 3 * width * inner_width(width) + 2 * width
    return vocabulary * width + layers * layer + width


def inner_width(width: int) -> int:
    """8/3 of the width, rounded up to a multiple of 16."""
    return -(-8 * width // 48) * 16


def shape_of(size: str | int, vocabulary: int) -> tuple[int, int]:
    """(width, layers) for a size; see the module for the rule.

    Raises UsageError where no shape comes within a quarter of the size.
    """
    return nearest_shape(
        size, lambda width, layers: parameters_of(width, layers, vocabulary), "decoder", vocabulary
    )


def nearest_shape(
    size: str | int, parameters: Callable[[int, int], int], called: str, vocabulary: int
) -> tuple[int, int]:
    """(width, layers) by the rule of the module, for any kind of model.

    `parameters` counts those of a width and a number of layers; `called` names the kind in the
    UsageError that is raised where no shape comes within a quarter of the size.
    """
    target = parse_size(size)
    shapes = []
    width = HEAD
    while width == HEAD or parameters(width, 1) <= 1.25 * target:
        layer = parameters(width, 2) - parameters(width, 1)
        layers = max(1, round((target - parameters(width, 0)) / layer))
        error = abs(parameters(width, layers) / target - 1)
        ratio = abs(math.log(width / (WIDTH_PER_LAYER * layers)))
        shapes.append((error > 0.25, ratio + ERROR_WEIGHT * error, width, layers))
        width += HEAD
    too_far, _, width, layers = min(shapes)
    if too_far:
        raise UsageError(
            f"no {called} with a vocabulary of {vocabulary:,} has about {target:,} parameters",
            hint=f"the nearest has {parameters(width, layers):,}",
        )
    return width, layers


def config_for(
    size: str | int = "1m", *, vocabulary: int, context: int = 256, end: int = 0
) -> LlamaConfig:
    """The configuration for a size; `end` is the id of the end-of-document token."""
    from transformers import LlamaConfig

    width, layers = shape_of(size, vocabulary)
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner_width(width),
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        attn_implementation="sdpa",
    )


def build(
    size: str | int = "1m", *, vocabulary: int, context: int = 256, seed: int = 0, end: int = 0,
    spread: float | None = None,
) -> LlamaForCausalLM:  # fmt: skip
    """A decoder with random weights, in float32; the same seed gives the same weights.

    `spread`: see `spread_out`; `SPREAD` is right for models from this dial. None leaves the
    deviation of 0.02 that `transformers` gives, as what was measured before had it.
    """
    import torch
    from transformers import LlamaForCausalLM

    config = config_for(size, vocabulary=vocabulary, context=context, end=end)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config.pad_token_id = end
    return (model if spread is None else spread_out(model, spread)).eval()


def spread_out(model: LlamaForCausalLM, spread: float) -> LlamaForCausalLM:
    """Bring all matrices, in place, to the deviation spread / sqrt(numbers that go in), and the
    embeddings to 1 / sqrt(width), so that first logits have a deviation of about 1.

    So what a matrix gives is `spread` times as large as what it takes, at any width (after LeCun
    et al., 1998). The usual 0.02 is that at widths of 200 (matrices) and 2,500 (embeddings); in
    models of 64 to 128 dimensions scores of attention are then nearly equal for a long time, and
    one million tokens teach little.
    """
    import torch

    with torch.no_grad():
        for name, matrix in model.named_parameters():
            if matrix.dim() == 2:
                size = 1.0 if "embed" in name else spread
                matrix.mul_(size * matrix.shape[1] ** -0.5 / matrix.std())
    return model


def count_parameters(model: PreTrainedModel, *, trainable: bool = False) -> int:
    """Numbers that the model holds, tied ones once; with `trainable` only those that learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def flops_per_token(model: PreTrainedModel, context: int) -> int:
    """Floating-point operations to train on one token, forward and backward (Kaplan et al., 2020).

    6 for each parameter, and 6 l d n for causal attention over rows of n tokens (n / 2 on average).
    An untied input embedding is a look-up and does not count. An estimate: norms, softmax and the
    optimiser are left out.
    """
    config = model.config
    parameters = count_parameters(model)
    if not config.tie_word_embeddings:
        parameters -= model.get_input_embeddings().weight.numel()
    return 6 * parameters + 6 * config.num_hidden_layers * config.hidden_size * context


def save(
    model: PreTrainedModel, folder: str | Path, tokenizer_folder: str | Path | None = None
) -> None:
    """A Hugging Face folder, its manifest last; see `folder.save_model`."""
    save_model(model, folder, tokenizer_folder)


def load(folder: str | Path) -> PreTrainedModel:
    """The causal language model in a folder, for use (not in training mode).

    Raises DataError where there is no such model, DamagedError where files do not agree; see
    `folder.load_model`.
    """
    return load_model(folder, "causal")
