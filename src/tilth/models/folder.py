"""A Hugging Face folder to a `transformers` model and back, for any architecture.

A folder with a manifest is verified byte by byte; every safetensors header is checked before
anything is allocated, and the shapes it declares against those that `config.json` asks for.
Pickled weights and code in the folder are refused, and nothing is fetched. What is missing is an
error, except the head of a task, which a base model does not have yet: it gets weights by `seed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DamagedError, DataError, TilthError, UsageError, nearest
from tilth.models.configuration import HEADS, KINDS, read_configuration
from tilth.models.model_card import model_card
from tilth.models.weight_files import (
    WEIGHTS,
    check_shapes,
    declared_shapes,
    mismatch,
    own_tensors,
    refuse_lost,
)
from tilth.store.manifest import NAME, read_manifest, verify, write_manifest
from tilth.store.write import write_bytes, write_json, write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

TOKENIZER = "tokenizer.json"
# What `transformers` may want beside it; copied where it is there.
TOKENIZER_EXTRAS = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "chat_template.jinja",
)  # fmt: skip
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
    declared = declared_shapes(folder)
    maker, called, _ = KINDS[kind]
    auto = getattr(transformers, maker)
    with _quiet(), _one_line(folder, called), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = read_configuration(folder, auto, called, options)
        check_shapes(folder, auto, config, declared, kind in HEADS and new_head)
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
            raise mismatch(folder, name, theirs, ours)
    refuse_lost(dict(model.named_parameters()), folder)
    return model.eval()


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
    write_text(folder / "README.md", model_card(model))
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
