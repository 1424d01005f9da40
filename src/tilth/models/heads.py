"""Heads of tasks on models in memory: those of `transformers`, and one for sets of texts.

`with_head` puts a new head on a trained body, as `folder.load_model(FOLDER, KIND)` does for a
folder; what is saved loads in `transformers`. (ModernBert's task heads have a layer of the masked
model's shape and name: from a folder it comes along, here it is new like the rest.) `bag_head` and
`pool` are for labels of sets (see `objectives.bag`), which `transformers` has not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

KINDS = {
    "classify": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "choose": "AutoModelForMultipleChoice",
    "encoder": "AutoModel",
}

# What architectures call their dropout: Bert's kind, and ModernBert.
DROPOUTS = (
    ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    ("embedding_dropout", "mlp_dropout", "attention_dropout", "classifier_dropout"),
)


def dropout_settings(config: Any, share: float) -> dict[str, float]:
    """Settings that drop a share everywhere in an encoder; none where it has no dropout."""
    for names in DROPOUTS:
        if all(hasattr(config, name) for name in names):
            return dict.fromkeys(names, share)
    return {}


def with_head(
    model: PreTrainedModel,
    kind: str,
    labels: Sequence[str] = (),
    *,
    pad: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> PreTrainedModel:
    """A copy of the model's body under a new head, random by `seed`; the model stays as it is.

    `kind`: `classify` and `tag` (one logit a label; one where there are none), `choose` (one logit
    a row; architectures without such a head get a classifier of one logit), `encoder` (no head).
    `pad`: the id of padding, for models that state none and look for the last real token.
    `settings` of the configuration, such as hidden_dropout_prob=0.1. Raises DataError for an
    architecture without such a head.
    """
    import torch
    import transformers

    if kind not in KINDS:
        raise UsageError(f"there is no head {kind!r}", hint=nearest(kind, KINDS))
    config = copy.deepcopy(model.config)
    for name, value in settings.items():
        if not hasattr(config, name):
            raise UsageError(f"a {config.model_type} model has no setting {name!r}")
        setattr(config, name, value)
    if config.pad_token_id is None:
        config.pad_token_id = pad
    config.architectures = None
    auto = getattr(transformers, KINDS[kind])
    if kind == "choose" and type(config) not in auto._model_mapping:
        auto = getattr(transformers, KINDS["classify"])
    if type(config) not in auto._model_mapping:
        raise DataError(f"transformers has no {kind} head for a {config.model_type} model")
    if kind != "encoder":
        names = list(labels) or ["value"]
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in enumerate(names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = auto.from_config(config, dtype=model.dtype)
    missing, unknown = made.base_model.load_state_dict(model.base_model.state_dict(), strict=False)
    # A language model has no pooler, and a head may leave one out.
    if lost := [name for name in [*missing, *unknown] if not name.startswith("pooler.")]:
        raise DataError(f"the body does not fit under the head: {lost[0]}")
    return made.to(model.device).eval()


def bag_head(width: int, labels: int, seed: int = 0) -> torch.nn.Module:
    """A network of one inner layer on the pooled vector of a set: width -> labels."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Linear(width, width), torch.nn.Tanh(), torch.nn.Linear(width, labels)
        )


def pool(vectors: torch.Tensor, real: torch.Tensor, pooling: str = "max") -> torch.Tensor:
    """(sets, width) from the vectors (pieces, width) that fill `real` (sets, most), row by row.

    With `max` a piece that is not there is minus infinity, so it never wins; with `mean` it does
    not count. Every set has a piece.
    """
    import torch

    shape = (*real.shape, vectors.shape[-1])
    missing = -torch.inf if pooling == "max" else 0.0
    laid = torch.full(shape, missing, dtype=vectors.dtype, device=vectors.device)
    laid = laid.masked_scatter(real[..., None].expand(shape), vectors)
    if pooling == "max":
        return laid.amax(1)
    return laid.sum(1) / real.sum(1, keepdim=True).to(vectors.dtype)
