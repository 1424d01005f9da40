"""Encoders from one size dial: Bert, Roberta and Electra with the language model's head.

- `bert`: Devlin et al. (2019), `BertForMaskedLM`.
- `roberta`: Liu et al. (2019), `RobertaForMaskedLM`; one segment type, positions counted from the
  padding id on.
- `electra`: Clark et al. (2020), `ElectraForPreTraining`: one logit a token, replaced or not.
- `electra-generator`: the small masked model that replaces the tokens.
- `modernbert`: Warner et al. (2024), `ModernBertForMaskedLM`: rotary positions, pre-norm, gated
  inner layers, no biases; all its attention is global here, if `settings` do not say otherwise.
- `modernbert-detector`: the same body under `ModernBertForTokenClassification`, one logit a token.

Learned positions are slow to learn: at 1.2 M tokens of novels (width 64, 2 layers, a vocabulary of
1,024) a Bert was still where a model without context is (5.47 nats), for each rate, batch and
initialisation tried, and a `modernbert` at 4.40. For small budgets take `modernbert`, and
`settings=NEAR` where 1 M tokens must do.

The others: post-norm, learned positions, GELU, inner width 4 times the width. Heads have 32
dimensions, input and output embeddings are tied. One dial: `size`, about the number of parameters,
embeddings counted once; widths are multiples of 32, width and depth are chosen as by
`decoder.shape_of`. The classes are `transformers`' own, so every head there is can be put on what
is saved.

Dropout is 0 here where the papers have 0.1: a micro model that sees its text once or twice learns
too little as it is. For fine-tuning set it when loading:
`load_model(folder, "classify", hidden_dropout_prob=0.1)`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError, nearest
from tilth.models.decoder import HEAD, inner_width, nearest_shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KINDS = ("bert", "roberta", "electra", "electra-generator", "modernbert", "modernbert-detector")
MODERN = ("modernbert", "modernbert-detector")
# Settings of a `modernbert` for short trainings: every other layer sees two tokens on each side,
# and rotary positions tell neighbours apart in all dimensions. A hidden token's neighbours are then
# at hand from the first step, where attention over whole rows has to find them: at 1 M tokens of
# novels (width 64, 2 layers, a vocabulary of 700) that names 5.9 times as many hidden tokens as the
# most frequent token would.
NEAR = {
    "global_attn_every_n_layers": 2,
    "local_attention": 4,
    "rope_parameters": {
        kind: {"rope_type": "default", "rope_theta": 100.0}
        for kind in ("full_attention", "sliding_attention")
    },
}


def parameters_of(kind: str, width: int, layers: int, vocabulary: int, context: int) -> int:
    """Embeddings (V + positions + types) d, l (12 d^2 + 13 d), and the head of the kind.

    A `modernbert` has V d, l (4 d^2 + 3 d f + 2 d), f as in `decoder`, and d^2 + 2 d + V; a
    detector d + 1 in place of the last V.
    """
    if kind in MODERN:
        layer = 4 * width**2 + 3 * width * inner_width(width) + 2 * width
        # The first layer has no norm before its attention.
        first = -width if layers else 0
        last = vocabulary if kind == "modernbert" else width + 1
        return vocabulary * width + layers * layer + first + width**2 + 3 * width + last
    positions = context + 2 if kind == "roberta" else context
    types = 1 if kind == "roberta" else 2
    embeddings = (vocabulary + positions + types + 2) * width
    transform = width**2 + 3 * width
    head = transform - 2 * width + width + 1 if kind == "electra" else transform + vocabulary
    return embeddings + layers * (12 * width**2 + 13 * width) + head


def shape_of(size: str | int, kind: str, vocabulary: int, context: int) -> tuple[int, int]:
    """(width, layers) for a size. UsageError where none comes within a quarter of it."""
    if kind not in KINDS:
        raise UsageError(f"there is no kind of encoder {kind!r}", hint=nearest(kind, KINDS))
    return nearest_shape(
        size, lambda width, layers: parameters_of(kind, width, layers, vocabulary, context), kind,
        vocabulary,
    )  # fmt: skip


def build_encoder(
    size: str | int = "1m",
    *,
    vocabulary: int,
    context: int = 128,
    kind: str = "bert",
    seed: int = 0,
    end: int = 0,
    pad: int | None = None,
    dropout: float = 0.0,
    settings: Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """An encoder with random weights, in float32; the same seed gives the same weights.

    `context`: positions. `end` begins and separates; `pad` is the id of padding: it must stand for
    no text, because its embedding stays zero (Roberta needs one: 1 where none is given).
    `settings`: more of the configuration, by the names of `transformers`.
    """
    width, layers = shape_of(size, kind, vocabulary, context)
    return build_shape(
        width, layers, vocabulary=vocabulary, context=context, kind=kind, seed=seed, end=end,
        pad=pad, dropout=dropout, settings=settings,
    )  # fmt: skip


def build_shape(
    width: int,
    layers: int,
    *,
    vocabulary: int,
    context: int = 128,
    kind: str = "bert",
    seed: int = 0,
    end: int = 0,
    pad: int | None = None,
    dropout: float = 0.0,
    settings: Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """As `build_encoder`, by width (a multiple of 32) and layers, for pairs of like shape."""
    import torch
    import transformers

    if kind not in KINDS:
        raise UsageError(f"there is no kind of encoder {kind!r}", hint=nearest(kind, KINDS))
    if width % HEAD or width <= 0 or layers < 1:
        raise UsageError(f"a width is a multiple of {HEAD} and there is at least one layer")
    made: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD,
        "intermediate_size": 4 * width,
        "max_position_embeddings": context,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": pad,
    }
    maker: Any
    model_class: Any
    if kind == "roberta":
        start = 1 if pad is None else pad
        made |= {"pad_token_id": start, "max_position_embeddings": context + start + 1}
        made["type_vocab_size"] = 1
        maker, model_class = transformers.RobertaConfig, transformers.RobertaForMaskedLM
    elif kind in MODERN:
        del made["hidden_dropout_prob"], made["attention_probs_dropout_prob"]
        made |= {
            "intermediate_size": inner_width(width), "global_attn_every_n_layers": 1,
            "cls_token_id": end, "sep_token_id": end, "attention_dropout": dropout,
            "embedding_dropout": dropout, "mlp_dropout": dropout, "classifier_dropout": dropout,
        }  # fmt: skip
        maker, model_class = transformers.ModernBertConfig, transformers.ModernBertForMaskedLM
        if kind == "modernbert-detector":
            model_class, made["num_labels"] = transformers.ModernBertForTokenClassification, 1
    elif kind == "bert":
        maker, model_class = transformers.BertConfig, transformers.BertForMaskedLM
    else:
        made["embedding_size"] = width
        maker = transformers.ElectraConfig
        model_class = (
            transformers.ElectraForPreTraining
            if kind == "electra"
            else transformers.ElectraForMaskedLM
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(maker(**{**made, **copy.deepcopy(dict(settings or {}))}))
    return model.eval()
