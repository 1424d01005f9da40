"""A model's folder in, an edited one out: the surgeries of `models.surgery` by name (`tilth edit`).

`build.edits` says what each surgery promises and what `--set` knows. The promise is checked on the
result before anything is written, and the folder appears whole, under its name, at the very end.
When not: merging several models (`build.change_model.merge`), training (`build.train_model`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build.edits import EDITS, parameters
from tilth.build.output import also_listed, fresh
from tilth.errors import DataError, TilthError, UsageError, nearest

if TYPE_CHECKING:
    from tilth.tokens.transfer import Transfer

RECORD = "edit.json"
# How the table of learned positions is called in the architectures that have one.
TABLES = ("position_embeddings.weight", "wpe.weight")


def edit(
    surgery: str, model: str | Path, out: str | Path, settings: Sequence[str] = (), *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:  # fmt: skip
    """Apply one of `edits.EDITS` to a model's folder, or a run's; what was done and checked.

    A JSON value; `edit.json` in the new folder keeps it. `settings`: `name=value`. Raises
    UsageError for unknown names, sizes that do not fit and settings without effect, DataError for
    architectures without a map, BrokenPromise where the result does not hold what was promised;
    `out` is not there then.
    """
    from tilth.build.change_model import change
    from tilth.build.train_settings import digest_of
    from tilth.serving.opening import model_folder

    given = parameters(surgery, settings)
    source = model_folder(model)
    fresh(out)
    task = _task_of(source, surgery, given)
    if surgery == "positions" and any(one.startswith("method=") for one in settings):
        _refuse_rotary(source)
    record: dict[str, Any] = {"surgery": surgery, "settings": dict(given)}
    wanted, tokenizer = _wanted(surgery, given), None
    counts: dict[str, int] = {}
    if surgery == "vocabulary":
        tokenizer = Path(given["tokenizer"])
        wanted, counts = _vocabulary(source, tokenizer, given, say)
        # Where they lay says nothing of what they are.
        record["settings"] = {k: v for k, v in given.items() if k not in ("tokenizer", "texts")}
        record["tokenizer"] = _digest_of_tokenizer(tokenizer)
    with _beside(out) as place:
        made = change(surgery, str(source), str(place), **wanted)
        if tokenizer is not None:
            _give(tokenizer, place)
        if task is not None:
            from tilth.evaluation.tasks import TASK_FILE

            also_listed(place, TASK_FILE, task)
        checks = _checks(made)
        record |= {"base": digest_of(source), "promise": EDITS[surgery].promise, **counts,
                   "parameters": made["parameters"], "checked": checks}  # fmt: skip
        also_listed(place, RECORD, record)
    return {**made, **counts, "promise": EDITS[surgery].promise, "checked": checks}


def _wanted(surgery: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the surgery's function takes."""
    if surgery == "widen":
        return {k: (v or None) if k in EDITS[surgery].needs else v for k, v in given.items()}
    return dict(given)


def _task_of(source: Path, surgery: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `task.json` of a tuned model, which goes along. Raises DataError where it cannot."""
    from tilth.build.change_model import ADAPTER
    from tilth.evaluation.tasks import TASK_FILE
    from tilth.store.write import read_json

    if (source / ADAPTER).is_file():
        raise DataError("is an adapter, not a model", where=str(source),
                        hint="tilth merge ADAPTER --base BASE -o WHOLE")  # fmt: skip
    if not (source / TASK_FILE).is_file():
        return None
    task = read_json(source / TASK_FILE)
    if task["kind"] == "bag":
        raise DataError("is tuned on sets of texts, with a network of its own",
                        where=str(source), hint="edit the base, then tune")  # fmt: skip
    if surgery == "vocabulary":
        raise DataError("is tuned on a task, whose rows are made of the old tokens",
                        where=str(source), hint="edit the base, then tune")  # fmt: skip
    length = task["objective"].get("length") or 0
    if surgery == "positions" and length > given["length"]:
        raise UsageError(f"it is tuned on rows of {length:,} tokens", where=str(source),
                         hint=f"length={length} at least")  # fmt: skip
    return task


def _refuse_rotary(source: Path) -> None:
    """A way to fill a table has no effect where no weights file holds one."""
    from tilth.models.safetensors_header import check_header
    from tilth.models.weight_files import weight_files

    if not (source / "config.json").is_file():
        return  # Said by whoever loads it.
    names = [name for path in weight_files(source) for name in check_header(path)]
    if not any(name.endswith(TABLES) for name in names):
        raise UsageError("method has no effect: its positions are not a table of weights",
                         where=str(source))  # fmt: skip


def _vocabulary(
    source: Path, tokenizer: Path, given: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """What the surgery `vocabulary` takes, and counts of tokens for the record."""
    from tilth.models.folder import load_tokenizer
    from tilth.models.surgery.vocabulary import METHODS
    from tilth.tokens.transfer import transfer

    if given["method"] not in METHODS:
        raise UsageError(f"there is no way {given['method']!r}", where="--set method",
                         hint=nearest(given["method"], METHODS))  # fmt: skip
    old, new = load_tokenizer(source), load_tokenizer(tokenizer)
    moved = transfer(old, new)
    counts = {"shared_tokens": moved.new_size - len(moved.fresh), "new_tokens": len(moved.fresh)}
    wanted = {name: given[name] for name in ("method", "head", "renormalise", "seed")}
    if given["method"] == "contextual":
        rows = _contexts(source, moved, old, new, given, say)
        wanted["contexts"] = rows
        counts["new_tokens_in_texts"] = len(rows)
    return {**wanted, "transfer": moved}, counts


def _contexts(
    source: Path, moved: Transfer, old: Any, new: Any, given: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[int, Any]:  # fmt: skip
    """Vectors of new tokens from the sentences of the texts given."""
    from tilth.corpus.sentences import sentences
    from tilth.data.sets import open_data
    from tilth.models.checkpoint import Checkpoint
    from tilth.models.surgery.contextual import contextual_rows

    if not given["texts"]:
        raise UsageError("contextual rows need texts", where="--set", hint="texts=FILE-OR-FOLDER")
    checkpoint, problems = Checkpoint.load(source), []  # type: ignore[var-annotated]
    depth = checkpoint.config.num_hidden_layers
    if not -depth - 1 <= given["layer"] <= depth:
        raise UsageError(f"layer {given['layer']} is not among 0 to {depth} (-1: the last)",
                         where="--set")  # fmt: skip
    opened: Any = open_data(given["texts"], "corpus")
    lines = [line for one in opened.documents(problems) for line in sentences(one.text)]
    for problem in problems[:5]:
        say(f"not read: {problem.source}: {problem.reason}")
    if not lines:
        raise DataError("there is no text in it", where=given["texts"])
    return contextual_rows(
        checkpoint, moved, old, new, lines, layer=given["layer"], most=given["most"]
    )


def _give(tokenizer: Path, place: Path) -> None:
    """The new tokenizer's files in place of the old one's; `also_listed` lists them afterwards."""
    from tilth.models.folder import TOKENIZER, TOKENIZER_EXTRAS, copy_tokenizer

    for name in (TOKENIZER, *TOKENIZER_EXTRAS):
        (place / name).unlink(missing_ok=True)
    copy_tokenizer(tokenizer, place)


def _digest_of_tokenizer(folder: Path) -> str:
    from tilth.models.folder import TOKENIZER
    from tilth.store.digest import sha256_file

    return sha256_file(folder / TOKENIZER)


def _checks(made: Mapping[str, Any]) -> list[str]:
    """What was compared and holds, in sentences; a broken promise raised before."""
    from tilth.models.surgery.promise import TOLERANCE

    found = []
    if made["bit_equal_tensors"]:
        found.append(f"{made['bit_equal_tensors']:,} tensors are bit-equal")
    differ = made["logit_difference"]
    by = "cannot be compared" if differ is None else f"differ by {differ:.2g} of the largest"
    if made["function_kept"]:
        found.append(f"logits of random tokens are equal within {TOLERANCE:g} (they {by})")
    else:
        found.append(f"no promise of logits, for {made['because']}: those of random tokens {by}")
    return found


@contextlib.contextmanager
def _beside(out: str | Path) -> Iterator[Path]:
    """A folder that gets the name `out` when all has gone well, and is removed otherwise."""
    from tilth.store.write import TEMPORARY

    target = Path(out).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.parent / f"{target.name}{TEMPORARY}{uuid.uuid4().hex[:8]}"
    try:
        yield place
        fresh(out)
        os.replace(place, target)
    except OSError as error:
        raise TilthError(f"cannot be made: {error}", where=str(out)) from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
