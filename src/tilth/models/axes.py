"""What the dimensions of a model's tensors mean: tensor name -> names of its axes.

`axes_of` gives for each tensor of a checkpoint a tuple with one axis name a dimension:

    residual   the stream that layers read and add to      embedding  the table's width (Electra)
    heads      query heads, each of `head_dim` numbers     kv_heads   key and value heads, likewise
    qkv        queries, keys, values side by side          head_dim   one head's numbers
    ffn        the inner width of a feed-forward part      gated      what is gated, then its gates
    vocab      tokens               position  places in a row
    type       token types          label     what a head tells apart

`layouts` says besides which dimension a tensor sums over (its input) and which layer it lies in.
So a surgery is written once for all architectures. Those without a map here are refused by name,
and so is a tensor that no map names: a guess would damage a model without a sign.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

    from tilth.models.checkpoint import Checkpoint

# Layouts: one axis name a dimension; `<` marks the dimension that the tensor sums over.
_NORM = {"weight": "residual", "bias": "residual"}


def _linear(output: str, given: str) -> dict[str, str]:
    return {"weight": f"{output} <{given}", "bias": output}


def _parts(parts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {f"{part}.{kind}": axes for part, kinds in parts.items() for kind, axes in kinds.items()}


_ENCODER_LAYER = {
    **{
        f"attention.self.{part}{kind}": _linear("heads", "residual")
        for part in ("query", "key", "value")
        for kind in ("", "_global")
    },
    "attention.output.dense": _linear("residual", "heads"),
    "attention.output.LayerNorm": _NORM,
    "intermediate.dense": _linear("ffn", "residual"),
    "output.dense": _linear("residual", "ffn"),
    "output.LayerNorm": _NORM,
}
_EMBEDDING_NORM = {"weight": "embedding", "bias": "embedding"}
_ENCODER_BASE = {
    "embeddings.word_embeddings.weight": "vocab embedding",
    "embeddings.position_embeddings.weight": "position embedding",
    "embeddings.token_type_embeddings.weight": "type embedding",
    **_parts({"embeddings.LayerNorm": _EMBEDDING_NORM}),
    **_parts({"embeddings_project": _linear("residual", "embedding")}),
    **_parts({f"encoder.layer.*.{part}": kinds for part, kinds in _ENCODER_LAYER.items()}),
    **_parts({"pooler.dense": _linear("residual", "residual")}),
}
_CLASSIFIERS = _parts(
    {
        "classifier": _linear("label", "residual"),
        "qa_outputs": _linear("label", "residual"),
        "score": _linear("label", "residual"),
        "classifier.dense": _linear("residual", "residual"),
        "classifier.out_proj": _linear("label", "residual"),
        # One summary vector: XLNet's way, which Electra's chooser took over.
        "sequence_summary.summary": _linear("residual", "residual"),
    }
)
_BERT_HEADS = {
    "cls.predictions.bias": "vocab",
    **_parts({"cls.predictions.transform.dense": _linear("residual", "residual")}),
    **_parts({"cls.predictions.transform.LayerNorm": _NORM}),
    **_parts({"cls.predictions.decoder": _linear("vocab", "residual")}),
    **_parts({"cls.seq_relationship": _linear("label", "residual")}),
}
_ROBERTA_HEADS = {
    "lm_head.bias": "vocab",
    **_parts({"lm_head.dense": _linear("residual", "residual")}),
    **_parts({"lm_head.layer_norm": _NORM}),
    **_parts({"lm_head.decoder": _linear("vocab", "residual")}),
}
_ELECTRA_HEADS = _parts(
    {
        "discriminator_predictions.dense": _linear("residual", "residual"),
        "discriminator_predictions.dense_prediction": _linear("label", "residual"),
        "generator_predictions.LayerNorm": _EMBEDDING_NORM,
        "generator_predictions.dense": _linear("embedding", "residual"),
        "generator_lm_head": _linear("vocab", "embedding"),
    }
)
_DECODER_LAYER = {
    "self_attn.q_proj": _linear("heads", "residual"),
    "self_attn.k_proj": _linear("kv_heads", "residual"),
    "self_attn.v_proj": _linear("kv_heads", "residual"),
    "self_attn.o_proj": _linear("residual", "heads"),
    "mlp.gate_proj": _linear("ffn", "residual"),
    "mlp.up_proj": _linear("ffn", "residual"),
    "mlp.down_proj": _linear("residual", "ffn"),
    "input_layernorm": _NORM,
    "post_attention_layernorm": _NORM,
    "post_feedforward_layernorm": _NORM,
}
_DECODER_BASE = {
    "embed_tokens.weight": "vocab residual",
    "norm.weight": "residual",
    **_parts({f"layers.*.{part}": kinds for part, kinds in _DECODER_LAYER.items()}),
}
_DECODER_HEADS = {"lm_head.weight": "vocab <residual", **_CLASSIFIERS}


def _query_norms(queries: str, keys: str) -> dict[str, str]:
    place = "layers.*.self_attn"
    return {f"{place}.q_norm.weight": queries, f"{place}.k_norm.weight": keys}


# GPT-2's weights are stored the other way round: input first.
_GPT2_BASE = {
    "wte.weight": "vocab residual",
    "wpe.weight": "position residual",
    "h.*.attn.c_attn.weight": "<residual qkv",
    "h.*.attn.c_attn.bias": "qkv",
    "h.*.attn.c_proj.weight": "<heads residual",
    "h.*.attn.c_proj.bias": "residual",
    "h.*.mlp.c_fc.weight": "<residual ffn",
    "h.*.mlp.c_fc.bias": "ffn",
    "h.*.mlp.c_proj.weight": "<ffn residual",
    "h.*.mlp.c_proj.bias": "residual",
    **_parts({"h.*.ln_1": _NORM, "h.*.ln_2": _NORM, "ln_f": _NORM}),
}


# The first layer has no `attn_norm`: what it reads comes from the norm of the embedding.
_MODERN_BASE = {
    "embeddings.tok_embeddings.weight": "vocab residual",
    **_parts(
        {
            "embeddings.norm": _NORM,
            "layers.*.attn_norm": _NORM,
            "layers.*.attn.Wqkv": _linear("qkv", "residual"),
            "layers.*.attn.Wo": _linear("residual", "heads"),
            "layers.*.mlp_norm": _NORM,
            "layers.*.mlp.Wi": _linear("gated", "residual"),
            "layers.*.mlp.Wo": _linear("residual", "ffn"),
            "final_norm": _NORM,
        }
    ),
}
_MODERN_HEADS = {
    **_parts({"head.dense": _linear("residual", "residual"), "head.norm": _NORM}),
    **_parts({"decoder": _linear("vocab", "residual"), "classifier": _linear("label", "residual")}),
}


@dataclass(frozen=True)
class Family:
    """Architectures that share tensor names.

    `prefix`: of the base model's tensors inside a model with a head. `stack`: what comes before a
    layer's number. `last_norm`: the norm right before the language model's head, whose gain can
    take a factor that a tied head cannot. `output_norms`: norms on what a layer adds, so that a
    layer is silenced there; without them the projections of `outputs` are. `pre_norm`: the stream
    itself passes no norm between layers. `first_norm`: (a layer's norm that the first layer lacks,
    the norm outside the stack that takes its place), or None.
    """

    prefix: str
    stack: str
    base: Mapping[str, str]
    heads: Mapping[str, str]
    last_norm: str
    outputs: tuple[str, ...]
    pre_norm: bool
    first_norm: tuple[str, str] | None = None


_ENCODER_OUTPUTS = ("attention.output.dense", "output.dense")
_DECODER_OUTPUTS = ("self_attn.o_proj", "mlp.down_proj")


def _encoder(prefix: str, heads: Mapping[str, str], last_norm: str) -> Family:
    all_heads = {**heads, **_CLASSIFIERS}
    stack = "encoder.layer"
    return Family(prefix, stack, _ENCODER_BASE, all_heads, last_norm, _ENCODER_OUTPUTS, False)


def _decoder(
    norms: Mapping[str, str] | None = None, outputs: tuple[str, ...] = _DECODER_OUTPUTS
) -> Family:
    base = {**_DECODER_BASE, **(norms or {})}
    return Family("model", "layers", base, _DECODER_HEADS, "model.norm", outputs, True)


FAMILIES: dict[str, Family] = {
    "bert": _encoder("bert", _BERT_HEADS, "cls.predictions.transform.LayerNorm"),
    "roberta": _encoder("roberta", _ROBERTA_HEADS, "lm_head.layer_norm"),
    "electra": _encoder("electra", _ELECTRA_HEADS, "generator_predictions.LayerNorm"),
    "longformer": _encoder("longformer", _ROBERTA_HEADS, "lm_head.layer_norm"),
    "modernbert": Family(
        "model", "layers", _MODERN_BASE, _MODERN_HEADS, "head.norm", ("attn.Wo", "mlp.Wo"), True,
        ("attn_norm", "embeddings.norm"),
    ),
    "gpt2": Family(
        "transformer", "h", _GPT2_BASE, {"lm_head.weight": "vocab <residual", **_CLASSIFIERS},
        "transformer.ln_f", ("attn.c_proj", "mlp.c_proj"), True,
    ),
    "llama": _decoder(),
    "mistral": _decoder(),
    "qwen2": _decoder(),
    "qwen3": _decoder(_query_norms("head_dim", "head_dim")),
    "olmo2": _decoder(
        _query_norms("heads", "kv_heads"),
        ("post_attention_layernorm", "post_feedforward_layernorm"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """One tensor: its axes, the dimension it sums over (None for tables, norms, biases), and the
    number of its layer (None outside the stack)."""

    axes: tuple[str, ...]
    sums_over: int | None = None
    layer: int | None = None


@dataclass(frozen=True)
class Shape:
    """The sizes of a model's axes; `heads` and `kv_heads` count heads, not numbers."""

    residual: int
    embedding: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    position: int
    layers: int

    def length(self, axis: str) -> int | None:
        """Numbers along an axis; None for those that the configuration does not fix."""
        sizes = {
            "heads": self.heads * self.head_dim,
            "kv_heads": self.kv_heads * self.head_dim,
            "qkv": 3 * self.heads * self.head_dim,
            "gated": 2 * self.ffn,
        }
        return sizes.get(axis, getattr(self, axis, None))


def family_of(config: PretrainedConfig, architecture: str = "") -> Family:
    """The map of a model's architecture. Raises DataError, by name, where there is none."""
    kind = getattr(config, "model_type", "") or ""
    if kind not in FAMILIES:
        named = architecture or (getattr(config, "architectures", None) or [kind or "no name"])[0]
        raise DataError(
            f"architecture {named} ({kind or 'no model_type'}) has no map of its axes",
            hint="known: " + ", ".join(sorted(FAMILIES)),
        )
    return FAMILIES[kind]


def shape_of(config: PretrainedConfig) -> Shape:
    """The sizes that a configuration states."""
    family_of(config)
    width, heads = config.hidden_size, config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    return Shape(
        residual=width,
        embedding=getattr(config, "embedding_size", None) or width,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or width // heads,
        ffn=inner or 4 * width,
        vocab=config.vocab_size,
        position=config.max_position_embeddings,
        layers=config.num_hidden_layers,
    )


@functools.cache
def _compiled(kind: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """One expression that cuts a name into prefix and rest, and all layouts by pattern."""
    family = FAMILIES[kind]
    known = {**family.base, **family.heads}
    return re.compile(rf"(?:{re.escape(family.prefix)}\.)?(?P<rest>.+)"), known


def layer_of(name: str, config: PretrainedConfig) -> int | None:
    """The number of the layer that a tensor lies in; None outside the stack."""
    family = family_of(config)
    prefix, stack = re.escape(family.prefix), re.escape(family.stack)
    found = re.match(rf"(?:{prefix}\.)?{stack}\.(\d+)\.", name)
    return int(found[1]) if found else None


def layouts(checkpoint: Checkpoint) -> dict[str, Layout]:
    """The layout of every tensor, checked against the sizes of the configuration.

    Raises DataError for an architecture or a tensor without a map and for a size that differs.
    """
    family_of(checkpoint.config, checkpoint.architecture)
    shape = shape_of(checkpoint.config)
    found = {}
    for name, tensor in checkpoint.tensors.items():
        found[name] = layout_of(name, checkpoint.config, checkpoint.architecture)
        _check(name, tensor, found[name], shape)
    return found


def layout_of(name: str, config: PretrainedConfig, architecture: str = "") -> Layout:
    """The layout of one tensor by its name. Raises DataError where no map names it."""
    expression, known = _compiled(config.model_type)
    layer = layer_of(name, config)
    rest = expression.fullmatch(name)["rest"]  # type: ignore[index]
    if layer is not None:
        rest = rest.replace(f".{layer}.", ".*.", 1)
    text = known.get(name if layer is None and name in known else rest)
    if text is None:
        raise DataError(f"tensor {name!r} of {architecture or config.model_type} has no axes")
    axes = text.split()
    if shape_of(config).embedding == config.hidden_size:
        axes = [axis.replace("embedding", "residual") for axis in axes]
    sums = next((n for n, axis in enumerate(axes) if axis.startswith("<")), None)
    return Layout(tuple(axis.lstrip("<") for axis in axes), sums, layer)


def _check(name: str, tensor: Tensor, layout: Layout, shape: Shape) -> None:
    wanted: list[Any] = [shape.length(axis) for axis in layout.axes]
    if len(wanted) != tensor.dim() or any(
        size is not None and size != there for size, there in zip(wanted, tensor.shape)
    ):
        asked = " x ".join(f"{axis} {size or 'any'}" for axis, size in zip(layout.axes, wanted))
        there = " x ".join(map(str, tensor.shape))
        raise DataError(f"tensor {name!r} has the size {there}, its axes say {asked}")


def axes_of(checkpoint: Checkpoint) -> dict[str, tuple[str, ...]]:
    """Tensor name -> one axis name a dimension. Raises as `layouts` does."""
    return {name: layout.axes for name, layout in layouts(checkpoint).items()}
