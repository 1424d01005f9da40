"""What `tilth train` can be told by `--set`: defaults, what they stand for, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilth.errors import DataError, UsageError, nearest

# What `--set` knows. 0 or "" means: chosen as the comment says.
SETTINGS: dict[str, Any] = {
    "vocabulary": 0,  # only from scratch: 4096, for little text fewer, see `vocabulary_for`
    "context": 0,  # from scratch 256, else that of the base, at most 512
    "tokens_per_parameter": 20.0,
    "epochs": 0.0,  # the most: from scratch 4, else 1
    "batch_tokens": 0,  # 1024; 2048 for budgets from 2 M tokens on
    "micro_batch_tokens": 1024,
    "learning_rate": 0.0,  # see `rate_for`
    "schedule": "cosine",
    "warmup": 0.05,
    "minimum": 0.0,
    "weight_decay": 0.1,
    "clip": 1.0,
    "precision": "auto",
    "threads": 0,  # all of the machine's that torch takes
    "checkpoint_every": 200,
    "held_out": 0.05,
    "held_out_bytes": 500_000,
    "text_column": "",
    "encoder": "modernbert",  # or bert, roberta; with objective masked, from scratch
    "rate": 0.3,  # share of tokens that are masked
    "unit": "token",  # what is masked whole; or word, span, tfidf
    "guard": 0.0,  # standard deviations beyond which a step is left out; 0: none is
    "replay": 0.0,  # share of the tokens that is old text, with a base
    "old": "",  # where that text is: what `tilth train` takes
    "share": 0.5,  # of the loss that is a teacher's
    "temperature": 2.0,  # of a teacher's probabilities
}
OBJECTIVES = ("causal", "masked")
CONTEXT, LONGEST = 256, 512
ENCODERS = ("modernbert", "bert", "roberta")
SIZE = "0.5m"  # of a new model where none is given


def vocabulary_for(characters: int) -> int:
    """Tokens of a new tokenizer: one for 500 characters of text, from 512 to 4096."""
    return max(512, min(4096, characters // 500))


def rate_for(objective: str, width: int, continued: bool) -> float:
    """The highest learning rate where none is given: 5e-3 for a small decoder, 2e-3 for a masked
    model, a fifth of that to go on; it falls as 128 / width for wider models."""
    rate = 5e-3 if objective == "causal" else 2e-3
    return rate * (0.2 if continued else 1.0) * min(1.0, 128 / width)


def objective_name(given: str, base: str | Path | None) -> str:
    """The objective asked for, else that of the base's head, else causal."""
    if given and given not in OBJECTIVES:
        raise UsageError(f"--objective cannot be {given!r}", hint=nearest(given, OBJECTIVES))
    if given or base is None:
        return given or "causal"
    from tilth.store.write import read_json

    path = Path(base) / "config.json"
    if not path.is_file():
        raise DataError("holds no model: there is no config.json", where=str(base))
    stated = read_json(path)
    names = (stated.get("architectures") if isinstance(stated, dict) else None) or [""]
    return "masked" if str(names[0]).endswith("ForMaskedLM") else "causal"


def check(
    made: Mapping[str, Any],
    given: Sequence[str],
    base: str | Path | None,
    objective: str,
    tokens: int,
    teacher: str | Path | None = None,
    size: str = "",
) -> None:
    """Refuse values that cannot be and settings without effect: none is ignored.

    `made`: all settings, `given`: those that the user wrote.
    """
    from tilth.lookup import load
    from tilth.objectives.corruption import UNITS
    from tilth.training import SCHEDULES
    from tilth.training.precision import check as check_precision

    names = {pair.partition("=")[0] for pair in given}
    if base is not None:
        if size:
            raise UsageError("--size has no effect with --base", hint="the base has its size")
        _refuse(names & {"vocabulary", "encoder"}, "with --base")
    else:
        _refuse(names & {"replay", "old"}, "without --base: a new model has nothing to forget")
    if bool(made["old"]) != (made["replay"] > 0):
        raise UsageError("replay and old go together", where="--set",
                         hint="--set replay=0.05 --set old=TEXTS")  # fmt: skip
    if teacher is None:
        _refuse(names & {"share", "temperature"}, "without a teacher")
    else:
        _refuse(names & {"vocabulary"}, "with a teacher: its tokenizer is taken")
        if objective != "causal":
            raise UsageError("a masked teacher is not learned from token by token",
                             hint="tune it, then: tilth compress distil")  # fmt: skip
    if objective == "causal":
        _refuse(names & {"encoder", "rate", "unit"}, "with objective causal")
    if tokens:
        _refuse(names & {"tokens_per_parameter", "epochs"}, "beside --tokens")
    load("schedule", SCHEDULES, made["schedule"])
    check_precision(made["precision"])
    if made["encoder"] not in ENCODERS:
        raise UsageError(f"encoder cannot be {made['encoder']!r}", where="--set",
                         hint=nearest(made["encoder"], ENCODERS))  # fmt: skip
    if made["unit"] not in UNITS:
        raise UsageError(f"unit cannot be {made['unit']!r}", where="--set",
                         hint=nearest(made["unit"], UNITS))  # fmt: skip
    for name in ("held_out", "warmup", "minimum", "rate", "replay"):
        if not 0 <= made[name] < 1:
            raise UsageError(f"{name} lies from 0 to 1, it is {made[name]:g}", where="--set")
    for name in ("temperature", "clip", "micro_batch_tokens", "checkpoint_every"):
        if made[name] <= 0:
            raise UsageError(f"{name} is above 0, not {made[name]:g}", where="--set")
    for name, value in made.items():
        if isinstance(value, (int, float)) and value < 0:
            raise UsageError(f"{name} is not below 0, it is {value:g}", where="--set")


def _refuse(names: set[str], why: str) -> None:
    for name in sorted(names):
        raise UsageError(f"{name} has no effect {why}", where="--set")


def digest_of(base: str | Path | None) -> str:
    """What a base is, whatever its place: configuration and weights by size and digest."""
    if base is None:
        return ""
    from tilth.store.digest import digest, sha256_file

    folder = Path(base)
    if not folder.is_dir():
        raise DataError("is no folder of a model", where=str(base))
    names = sorted(
        path.name for path in folder.iterdir()
        if path.suffix == ".safetensors" or path.name in ("config.json", "tokenizer.json")
    )  # fmt: skip
    return digest(*[part for name in names for part in (name, sha256_file(folder / name))])
