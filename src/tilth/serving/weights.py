"""A `transformers` decoder as the few matrices that the engine multiplies with.

    weights = take_weights(load_model(FOLDER))

Queries, keys and values of a layer become one matrix, gate and up another, so that a layer is four
products. `NAMES` says where each family keeps its parts; whatever stands in none of these places is
a reason to refuse (`refusal`), so that an adapter or a changed block is never left out unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.errors import DataError
from tilth.serving.products import Linear
from tilth.serving.rotary import KINDS, Rotary
from tilth.store.digest import digest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Parts of a layer end in the number of the layer at {}. Norms stand before a block or after it.
_LLAMA: dict[str, str | tuple[str, ...]] = {
    "embed": "model.embed_tokens", "final": "model.norm", "head": "lm_head",
    "before_attention": "model.layers.{}.input_layernorm",
    "before_inner": "model.layers.{}.post_attention_layernorm",
    "qkv": tuple(f"model.layers.{{}}.self_attn.{part}_proj" for part in "qkv"),
    "out": "model.layers.{}.self_attn.o_proj",
    "up": ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
    "down": "model.layers.{}.mlp.down_proj",
}  # fmt: skip
_NORMED = {
    "query_norm": "model.layers.{}.self_attn.q_norm",
    "key_norm": "model.layers.{}.self_attn.k_norm",
}
_OLMO2 = {
    name: part for name, part in (_LLAMA | _NORMED).items() if not name.startswith("before_")
} | {
    "after_attention": "model.layers.{}.post_attention_layernorm",
    "after_inner": "model.layers.{}.post_feedforward_layernorm",
}
_GPT2: dict[str, str | tuple[str, ...]] = {
    "embed": "transformer.wte", "positions": "transformer.wpe", "final": "transformer.ln_f",
    "head": "lm_head",
    "before_attention": "transformer.h.{}.ln_1", "before_inner": "transformer.h.{}.ln_2",
    "qkv": "transformer.h.{}.attn.c_attn", "out": "transformer.h.{}.attn.c_proj",
    "up": "transformer.h.{}.mlp.c_fc", "down": "transformer.h.{}.mlp.c_proj",
}  # fmt: skip
NAMES = {
    "llama": _LLAMA, "mistral": _LLAMA, "qwen2": _LLAMA, "qwen3": _LLAMA | _NORMED,
    "olmo2": _OLMO2, "gpt2": _GPT2,
}  # fmt: skip
# Families whose matrices lie input first, and whose norms subtract the mean.
INPUT_FIRST = CENTRED = frozenset({"gpt2"})
ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu": "gelu", "relu": "relu",
               "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}  # fmt: skip


class Norm(NamedTuple):
    """`weight` and, for norms that subtract the mean, `bias`, of the width that is normalised."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass
class Layer:
    """One layer. `window`: how many positions a token sees, itself among them; None for all."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear
    scale: float
    window: int | None = None
    before_attention: Norm | None = None
    after_attention: Norm | None = None
    before_inner: Norm | None = None
    after_inner: Norm | None = None
    query_norm: Norm | None = None
    key_norm: Norm | None = None


@dataclass(frozen=True)
class Shape:
    """Sizes. `head`: dimensions of a head; `context`: the longest sequence."""

    layers: int
    width: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    context: int


@dataclass
class Weights:
    """All of a decoder. `gated`: the inner layer's first half goes through the activation and is
    multiplied with the second. `positions`: learned ones, where `rotary` is None."""

    family: str
    shape: Shape
    embed: torch.Tensor
    positions: torch.Tensor | None
    layers: list[Layer]
    final: Norm
    head: Linear
    rotary: Rotary | None
    activation: str
    gated: bool
    centred: bool
    epsilon: float

    def fingerprint(self) -> str:
        """Names these weights by their shapes and a sample of their numbers."""
        parts = [self.family, repr(self.shape)]
        for layer in self.layers:
            for linear in (layer.qkv, layer.down):
                flat = linear.weight.reshape(-1)
                sample = flat[:: max(1, len(flat) // 256)].float().cpu().numpy()
                parts.append(sample.tobytes().hex())
        return digest(*parts)


def refusal(model: PreTrainedModel) -> str:
    """Why the engine's own decoder does not run this model; empty where it does."""
    config: Any = model.config
    family = config.model_type
    if family not in NAMES:
        return f"the engine has no decoder of its own for {family} models"
    name = getattr(config, "hidden_act", None) or getattr(config, "activation_function", None)
    if name not in ACTIVATIONS:
        return f"the engine does not know the activation {name!r}"
    rotary = getattr(config, "rope_parameters", None) or {}
    if family != "gpt2" and rotary.get("rope_type", "default") not in KINDS:
        return f"the engine does not know rotary positions of type {rotary.get('rope_type')!r}"
    if getattr(config, "quantization_config", None) is not None:
        return "the engine does not run quantised weights"
    known = {"lm_head.weight"}
    for part in NAMES[family].values():
        for place in (part,) if isinstance(part, str) else part:
            for number in range(config.num_hidden_layers):
                known |= {f"{place.format(number)}.{end}" for end in ("weight", "bias")}
    strange = sorted(set(model.state_dict()) - known)
    if strange:
        return f"the engine does not know the tensor {strange[0]}"
    if not hasattr(model, "lm_head"):
        return f"{type(model).__name__} has no head over the vocabulary"
    return ""


def take_weights(
    model: PreTrainedModel, dtype: torch.dtype | None = None, device: str | None = None
) -> Weights:
    """The weights of a model that `refusal` has nothing against, fused; the model stays as it is.

    `dtype` and `device` as the model's by default. Raises DataError where `refusal` has a reason.
    """
    import torch

    if reason := refusal(model):
        raise DataError(reason)
    config: Any = model.config
    family, names = config.model_type, NAMES[config.model_type]
    state = model.state_dict()
    dtype, target = dtype or model.dtype, device or model.device

    def tensor(name: str) -> Any:
        # Copied, since the model may learn on: what is shared is only the tied head.
        return state[name].detach().to(target, dtype, copy=True).contiguous()

    def linear(part: str, number: int = 0) -> Linear:
        stated = names[part]
        places = [
            place.format(number) for place in ((stated,) if isinstance(stated, str) else stated)
        ]
        matrices = [tensor(f"{place}.weight") for place in places]
        if family in INPUT_FIRST and part != "head":
            matrices = [matrix.t().contiguous() for matrix in matrices]
        biases = [tensor(f"{place}.bias") for place in places if f"{place}.bias" in state]
        matrix = _joined(matrices)
        if matrix.dtype == torch.float32 and matrix.device.type == "cpu":
            # Input first in memory: the product with one row is then a third faster (MKL).
            matrix = matrix.t().contiguous().t()
        return Linear(matrix, _joined(biases) if biases else None)

    def norm(part: str, number: int = 0) -> Norm | None:
        if part not in names:
            return None
        place = str(names[part]).format(number)
        bias = f"{place}.bias"
        return Norm(tensor(f"{place}.weight"), tensor(bias) if bias in state else None)

    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = Shape(
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
        getattr(config, "num_key_value_heads", None) or config.num_attention_heads, head,
        config.vocab_size, config.max_position_embeddings,
    )  # fmt: skip
    # In the order in which a layer has them.
    norms = ("before_attention", "after_attention", "before_inner", "after_inner", "query_norm",
             "key_norm")  # fmt: skip
    layers = [
        Layer(
            linear("qkv", number), linear("out", number), linear("up", number),
            linear("down", number), _scale(config, head, number), _window(config, number),
            *(norm(part, number) for part in norms),
        )
        for number in range(shape.layers)
    ]  # fmt: skip
    embed = tensor(f"{names['embed']}.weight")
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    final = norm("final")
    assert final is not None
    return Weights(
        family, shape, embed,
        tensor(f"{names['positions']}.weight") if "positions" in names else None,
        layers, final, Linear(embed, None) if tied else linear("head"),
        None if "positions" in names else Rotary.of(config, head, target),
        ACTIVATIONS[getattr(config, "hidden_act", None) or config.activation_function],
        isinstance(names["up"], tuple), family in CENTRED,
        getattr(config, "rms_norm_eps", None) or config.layer_norm_epsilon,
    )  # fmt: skip


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _scale(config: Any, head: int, number: int) -> float:
    """What scores are multiplied with before the softmax. Two settings of GPT-2 change it."""
    scale = head**-0.5 if getattr(config, "scale_attn_weights", True) else 1.0
    by_layer = getattr(config, "scale_attn_by_inverse_layer_idx", False)
    return scale / (number + 1) if by_layer else scale


def _window(config: Any, number: int) -> int | None:
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if window is None or (kinds is not None and kinds[number] != "sliding_attention"):
        return None
    return int(window)
