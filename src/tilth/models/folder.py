"""A Hugging Face folder to a `transformers` model and back, for any architecture.

A folder with a manifest is verified byte by byte; every safetensors header is checked before
anything is allocated, and the shapes it declares against those that `config.json` asks for.
Pickled weights and code in the folder are refused, and nothing is fetched. What is missing is an
error, except the head of a task, which a base model does not have yet: it gets weights by `seed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DamagedError, DataError, TilthError, UsageError, nearest
from tilth.lookup import load
from tilth.models import ARCHITECTURES
from tilth.models.safetensors_header import check_header
from tilth.store.manifest import NAME, read_manifest, verify, write_manifest
from tilth.store.write import read_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
# What `transformers` may want beside it; copied where it is there.
TOKENIZER_EXTRAS = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "chat_template.jinja",
)  # fmt: skip

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
LONGEST_REASON = 200
# Poolers belong to the head: no language model has one.
POOLER = re.compile(r"(^|\.)pooler\.")


def load_model(
    folder: str | Path,
    kind: str = "causal",
    *,
    seed: int = 0,
    new_head: bool = False,
    dtype: str | None = None,
    **options: Any,
) -> PreTrainedModel:
    """The model in a folder, of one of `KINDS`, for use (not in training mode).

    `options` are settings of its configuration, such as num_labels=3; `new_head` lets a head of
    another size be replaced; `dtype` such as "float32", None as stored. Raises DataError where
    there is no such model, DamagedError where files do not agree, in one line.
    """
    import torch
    import transformers

    folder = Path(folder)
    if kind not in KINDS:
        raise UsageError(f"there is no kind of model {kind!r}", hint=nearest(kind, KINDS))
    if not (folder / "config.json").is_file():
        raise DataError("holds no model: there is no config.json", where=str(folder))
    if read_manifest(folder) is not None:
        verify(folder)
    declared: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        declared |= {name: tuple(entry["shape"]) for name, entry in check_header(path).items()}
    maker, called, _ = KINDS[kind]
    auto = getattr(transformers, maker)
    with _quiet(), _one_line(folder, called), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = _config(folder, auto, called, options)
        _check_shapes(folder, auto, config, declared, kind in HEADS and new_head)
        model, found = auto.from_pretrained(
            str(folder), config=config, output_loading_info=True, local_files_only=True,
            trust_remote_code=False, use_safetensors=True, dtype=dtype or "auto",
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    prefix = model.base_model_prefix + "."
    head = [name for name in found["missing_keys"] if not name.startswith(prefix)]
    free = set(head) if kind in HEADS else set()
    free |= {name for name in found["missing_keys"] if POOLER.search(name)}
    if missing := sorted(set(found["missing_keys"]) - free):
        raise DamagedError(f"has no weights for {missing[0]}", where=str(folder))
    for name, theirs, ours in sorted(found.get("mismatched_keys") or []):
        if not (kind in HEADS and new_head and not name.startswith(prefix)):
            raise _mismatch(folder, name, theirs, ours)
    refuse_lost(dict(model.named_parameters()), folder)
    return model.eval()


def refuse_lost(tensors: Mapping[str, Any], where: str | Path) -> None:
    """Raise DamagedError, by name, for a tensor that holds NaN or infinity: it gives no answer,
    and whatever is made from it is lost too."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DamagedError(f"{name} holds numbers that are none (NaN or infinite)",
                               where=str(where))  # fmt: skip


def _config(folder: Path, auto: Any, called: str, options: dict[str, Any]) -> Any:
    """The configuration with `options`. Raises DamagedError for architectures unknown here."""
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


def _check_shapes(
    folder: Path, auto: Any, config: Any, declared: dict[str, tuple[int, ...]], new_head: bool
) -> None:
    """Compare what the files declare with what the configuration asks for; nothing is allocated."""
    import torch

    with torch.device("meta"):
        empty = auto.from_config(config)
    prefix = empty.base_model_prefix + "."
    for name, tensor in empty.state_dict().items():
        theirs = declared.get(name, declared.get(name.removeprefix(prefix)))
        if theirs is None or theirs == tuple(tensor.shape):
            continue
        if not (new_head and not name.startswith(prefix)):
            raise _mismatch(folder, name, theirs, tuple(tensor.shape))


def _mismatch(folder: Path, name: str, theirs: Any, ours: Any) -> DamagedError:
    return DamagedError(
        f"{name} is {_shape(theirs)} in the file, and {_shape(ours)} by config.json",
        where=str(folder),
    )


def _shape(sizes: Any) -> str:
    return " x ".join(f"{size:,}" for size in sizes) or "one number"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and reports of transformers: what they say is raised as an error."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _one_line(folder: Path, called: str) -> Iterator[None]:
    """Whatever transformers raises for a folder, as a DamagedError of one line."""
    try:
        yield
    except TilthError:
        raise
    except Exception as error:  # there is no common one: each part of it raises its own
        reason = " ".join(str(error).split())[:LONGEST_REASON] or repr(error)
        raise DamagedError(f"cannot be loaded as {called}: {reason}", where=str(folder)) from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, those that an index names among them."""
    names = {path.name for path in folder.glob("*.safetensors")}
    index = folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        names |= set(read_json(index).get("weight_map", {}).values())
    if not names:
        raise DataError(
            "holds no safetensors file; pickled weights are never read", where=str(folder)
        )
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise DamagedError(f"names {name!r} as weights", where=str(index))
        if not (folder / name).is_file():
            raise DamagedError("is missing", where=str(folder / name))
    return [folder / name for name in sorted(names)]


def save_model(
    model: PreTrainedModel, folder: str | Path, tokenizer_folder: str | Path | None = None
) -> None:
    """A Hugging Face folder, its manifest last; the same weights give the same bytes.

    With `tokenizer_folder` the tokenizer's files are copied beside the weights. Weight files that
    an earlier save left, in more pieces or with an adapter, are removed.
    """
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    (folder / NAME).unlink(missing_ok=True)
    config = model.config.to_diff_dict()
    config.pop("_name_or_path", None)
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(model.dtype).removeprefix("torch.")
    write_json(folder / "config.json", config)
    files = ["config.json", WEIGHTS, "README.md"]
    if model.can_generate() and getattr(model, "generation_config", None) is not None:
        generation = model.generation_config.to_diff_dict()
        public = {key: value for key, value in generation.items() if not key.startswith("_")}
        write_json(folder / "generation_config.json", public)
        files.append("generation_config.json")
    for stale in [*folder.glob("*.safetensors"), folder / f"{WEIGHTS}.index.json"]:
        if stale.name != WEIGHTS:
            stale.unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, to_bytes(own_tensors(model), metadata={"format": "pt"}))
    write_text(folder / "README.md", _card(model))
    if tokenizer_folder is not None:
        files += copy_tokenizer(tokenizer_folder, folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_manifest(folder, files, kind="model", parameters=parameters)


def copy_tokenizer(source: str | Path, folder: str | Path) -> list[str]:
    """Copy the tokenizer's files; their names. Raises DataError where there is none."""
    source, folder = Path(source), Path(folder)
    if not (source / TOKENIZER).is_file():
        raise DataError(f"holds no {TOKENIZER}", where=str(source))
    names = [name for name in (TOKENIZER, *TOKENIZER_EXTRAS) if (source / name).is_file()]
    contents = [(source / name).read_bytes() for name in names]
    for name, content in zip(names, contents):
        write_bytes(folder / name, content)
    return names


def own_tensors(model: PreTrainedModel) -> dict[str, Any]:
    """The state as files hold it: each tied tensor once, under the first of its names."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import revert_weight_conversion

    tensors: dict[str, Any] = {}
    seen = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        tensors[name] = tensor.detach().cpu().contiguous()
    if get_checkpoint_conversion_mapping(model.config.model_type):
        # Architectures whose files have other names or shapes than their modules.
        tensors = {
            name: t.contiguous() for name, t in revert_weight_conversion(model, tensors).items()
        }
    return tensors


def _card(model: PreTrainedModel) -> str:
    config = model.config
    name = type(model).__name__
    tag = next((KINDS[kind][2] for kind in KINDS if name in _class_names(kind)), "")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "---", "library_name: transformers", *([f"pipeline_tag: {tag}"] if tag else []), "---",
        f"# A {config.model_type} model trained with tilth", "",
        f"- parameters: {parameters:,}",
    ]  # fmt: skip
    layers, width = getattr(config, "num_hidden_layers", 0), getattr(config, "hidden_size", 0)
    if layers and width:
        lines.append(f"- layers: {layers}, width: {width}")
    if context := getattr(config, "max_position_embeddings", None):
        lines.append(f"- context: {context:,} tokens")
    lines += [
        f"- vocabulary: {config.vocab_size:,}", "",
        "Data, licences, evaluation and limits: not stated yet. Do not publish before they are.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _class_names(kind: str) -> set[str]:
    import transformers

    names: set[str] = set()
    for value in getattr(transformers, KINDS[kind][0])._model_mapping._model_mapping.values():
        names |= {value} if isinstance(value, str) else set(value)
    return names


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of any folder with `tokenizer.json`; it neither cuts nor pads.

    Special tokens in a text are encoded as letters: no document can end another. See
    `tokens.special.special_ids` for which ids it has. DataError where there is none.
    """
    from tilth.tokens import bpe

    if not (Path(folder) / TOKENIZER).is_file():
        raise DataError(
            f"holds no {TOKENIZER}",
            where=str(folder),
            hint="transformers' AutoTokenizer.from_pretrained(F).save_pretrained(F) writes it",
        )
    tokenizer = bpe.load(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
