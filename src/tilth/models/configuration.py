"""The `config.json` of a model folder: which kind of model it can be, and what is refused by it.

Architectures that neither `transformers` nor `ARCHITECTURES` knows are refused (code in a folder is
never run), and so are encoder-decoders, and encoders where a causal model is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tilth.errors import DamagedError, DataError, UsageError, nearest
from tilth.lookup import load
from tilth.models import ARCHITECTURES
from tilth.store.write import read_json

# kind -> (class of transformers, what it is called in an error, the card's tag). The kinds of
# `HEADS` have a head that a base model lacks.
KINDS = {
    "causal": ("AutoModelForCausalLM", "a causal language model", "text-generation"),
    "masked": ("AutoModelForMaskedLM", "a masked language model", "fill-mask"),
    "classify": ("AutoModelForSequenceClassification", "a classifier", "text-classification"),
    "tag": ("AutoModelForTokenClassification", "a tagger", "token-classification"),
    "choose": ("AutoModelForMultipleChoice", "a chooser", "multiple-choice"),
    "discriminate": ("AutoModelForPreTraining", "a discriminator", "feature-extraction"),
    "encoder": ("AutoModel", "an encoder", "feature-extraction"),
}
HEADS = ("classify", "tag", "choose")
# Encoders of which transformers makes a causal model too: it sees both sides, and so guesses what
# it has seen, unless its configuration says `is_decoder`.
BOTH_SIDES = frozenset(
    "bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert "
    "roberta roberta-prelayernorm roc_bert roformer xlm-roberta xlm-roberta-xl xmod".split()
)


def read_configuration(folder: Path, auto: Any, called: str, options: dict[str, Any]) -> Any:
    """The configuration with `options`, for `auto`: a class of `KINDS`, called `called` in errors.

    Raises DamagedError for architectures unknown here, DataError where a model of this kind is not
    made of it, UsageError for options that it does not have.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    given = read_json(folder / "config.json")
    name = given.get("model_type") if isinstance(given, dict) else None
    if isinstance(name, str) and name in ARCHITECTURES:
        load("architecture", ARCHITECTURES, name)()
    if not isinstance(name, str) or name not in CONFIG_MAPPING:
        raise DamagedError(
            f"cannot be loaded as {called}: no architecture {name!r} is known"
            if name
            else f"cannot be loaded as {called}: config.json states no model_type",
            where=str(folder),
            hint="code in a folder is never run" if "auto_map" in (given or {}) else "",
        )
    config = AutoConfig.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, **options
    )
    for option in options:
        if not hasattr(config, option):
            raise UsageError(
                f"a model of type {name} has no setting {option!r}",
                hint=nearest(option, config.to_dict()),
            )
    if type(config) not in auto._model_mapping:
        raise DataError(
            f"is a model of type {name}, and transformers makes no such model {called}",
            where=str(folder),
        )
    if config.is_encoder_decoder:
        raise DataError(f"is an encoder-decoder ({name}), which is not covered", where=str(folder))
    if called == KINDS["causal"][1] and name in BOTH_SIDES and not config.is_decoder:
        raise DataError(
            f"is a {name}, whose attention sees both sides (no is_decoder in its config.json), "
            f"and not {called}",
            where=str(folder), hint="train it with --objective masked, or tune it for a task",
        )  # fmt: skip
    return config
