"""What the engine needs of a model: a runner, a tokenizer, and how its texts begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tilth.errors import DataError, UsageError, nearest
from tilth.models.folder import load_model, load_tokenizer
from tilth.serving.fallback import FallbackRunner
from tilth.serving.model_runner import ModelRunner
from tilth.serving.weights import refusal
from tilth.store.write import read_json
from tilth.tokens.special import letters, special_ids, stated

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Opened:
    """`begin`: the token that begins a document; `ends`: those that end an answer; `note`: why
    `transformers` runs it, empty where the engine does."""

    runner: Any
    tokenizer: Tokenizer
    begin: int
    ends: frozenset[int]
    context: int
    note: str


def model_folder(folder: str | Path) -> Path:
    """The folder of a model: the one that is given, or the model in the folder of a run."""
    inside = Path(folder) / "model"
    if not (Path(folder) / "config.json").is_file() and (inside / "config.json").is_file():
        return inside
    return Path(folder)


def refuse_adapter(folder: str | Path) -> None:
    """Raises DataError for the folder of an adapter, which is no model: it says what to type first,
    with the base that it names."""
    path = Path(folder) / "adapter_config.json"
    if path.is_file():
        said = read_json(path)
        base = said.get("base_model_name_or_path") if isinstance(said, dict) else None
        raise DataError(
            "is an adapter, which has to be put into its base first",
            where=str(folder), hint=f"tilth merge {folder} --base {base or 'BASE'} -o WHOLE",
        )  # fmt: skip


def refuse_other(folder: str | Path) -> NoReturn:
    """Raises DataError for a folder that is neither a run nor a model, as `refuse_adapter` for an
    adapter's."""
    refuse_adapter(folder)
    raise DataError("is neither a run nor a model", where=str(folder),
                    hint="tilth build DOCUMENTS -o RUN")  # fmt: skip


def check_device(device: str) -> None:
    """Raises UsageError where torch has no such device here."""
    import torch

    try:
        usable = torch.zeros(1, device=device).cpu().numel() == 1
    except (RuntimeError, AssertionError, NotImplementedError):  # meta holds no numbers to copy
        usable = False
    if not usable:
        known = ["cpu"] + ["cuda"] * torch.cuda.is_available()
        raise UsageError(f"there is no device {device!r} here", hint=nearest(device, known))


def open_model(
    model: str | Path | PreTrainedModel, tokenizer: Tokenizer | None, dtype: str, device: str
) -> Opened:
    """Load what is named, or take what is there; UsageError for a device that is not there and for
    a model object of another precision that `transformers` runs, DataError for an adapter, else
    errors as for `models.folder.load_model`."""
    import torch

    if not isinstance(dtype, str):
        raise UsageError(f"dtype is a name, such as 'bfloat16', not {dtype!r}")
    if dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r} is served", hint=nearest(dtype, DTYPES))
    check_device(device)
    folder: Path | None = None
    if isinstance(model, (str, Path)):
        folder = model_folder(model)
        refuse_adapter(folder)
        loaded = load_model(folder, "causal", dtype=dtype)
        tokenizer = tokenizer or load_tokenizer(folder)
    else:
        loaded = model
    if tokenizer is None:
        raise UsageError("a model that is no folder comes with its tokenizer")
    special = special_ids(tokenizer, folder)
    runner: Any
    if note := refusal(loaded):
        note += ": it runs through transformers, without paging and prefix sharing"
        if folder is None:
            loaded = _undisturbed(loaded, dtype, device)
        runner = FallbackRunner(loaded.to(device))  # type: ignore[arg-type]
    else:
        runner = ModelRunner(loaded, getattr(torch, dtype), device)
    said = stated(folder) if folder is not None else {}
    ends = {special.end}
    # The end of a turn, which the configuration of a tuned model may still lack.
    turn = tokenizer.token_to_id(letters(said.get("eos_token")) or "")
    ends |= set() if turn is None else {turn}
    for config in (loaded.config, getattr(loaded, "generation_config", None)):
        named = getattr(config, "eos_token_id", None)
        ends |= {named} if isinstance(named, int) else set(named or ())
    begin = _first(tokenizer, said)
    begin = special.begin if begin is None else begin
    return Opened(runner, tokenizer, begin, frozenset(ends), runner.shape.context, note)


def _first(tokenizer: Tokenizer, said: dict[str, Any]) -> int | None:
    """The token that the tokenizer itself puts before a text; None where it puts none."""
    whole = tokenizer.encode("a", add_special_tokens=True)
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    if whole.ids and whole.special_tokens_mask[0] and whole.ids[1 : 1 + len(bare)] == bare:
        return whole.ids[0]
    # Some classes of `transformers` add it by this setting, whatever `tokenizer.json` says.
    named = letters(said.get("bos_token")) if said.get("add_bos_token") is True else None
    return tokenizer.token_to_id(named or "")


def _undisturbed(model: PreTrainedModel, dtype: str, device: str) -> PreTrainedModel:
    """The caller's model, or a copy where it would have to be moved or to leave its training.

    Raises UsageError where it has another precision.
    """
    import copy

    own = str(model.dtype).removeprefix("torch.")
    if own != dtype:
        raise UsageError(
            f"the model is of {own}, and runs through transformers as it is; {dtype} was asked for",
            hint=f"dtype={own!r}, or give its folder",
        )
    same = model.device.type == device.partition(":")[0] and not model.training
    return model if same else copy.deepcopy(model)
