"""A language model from texts: from scratch, or continued from a Hugging Face folder.

From scratch a tokenizer is learned first, and a decoder (or with `masked` an encoder) of about
`size` parameters is trained. With `base` its tokenizer and weights are kept and the rate rises
again and falls again (Gupta et al., 2023; Ibrahim et al., 2024): `minimum` is where it ends. What a
continued model has lost shows on text of the old domain, `old`: it is scored before and after. With
the settings `replay` and `old` some old text is learned again (Ibrahim et al., 2024), and what is
held out of it is scored.

The result is a folder that `transformers` loads, with `curve.json`, `curve.svg` and `training.json`
beside the weights. Killed at any time, the same call goes on; see `build.output`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import output, reading
from tilth.build import train_settings as chosen
from tilth.build.train_parts import TrainParts
from tilth.errors import UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tilth.tokens.documents import TokenDocuments


def train_model(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    base: str | Path | None = None,
    size: str = "",
    tokens: int = 0,
    objective: str = "",
    teacher: str | Path | None = None,
    old: Sequence[str | Path] = (),
    seed: int = 0,
    settings: Sequence[str] = (),
    plan_only: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train and save; returns the record that `training.json` holds.

    `inputs`: files, folders, JSONL, a run or corpus folder, a named set. `size`, only from scratch:
    "" means 0.5m. `tokens` 0 means
    `tokens_per_parameter` for each, at most `epochs` of the data. `objective` "" takes the base's
    kind, else causal. `teacher`: the folder of a causal model of the same tokenizer to learn from.
    With `plan_only` nothing is written and only the plan is returned. `say` gets
    lines for people. Raises TilthErrors, before anything is written where what is given is wrong.
    """
    made = output.checked(chosen.SETTINGS, settings)
    objective = chosen.objective_name(objective, base or teacher)
    chosen.check(made, settings, base, objective, tokens, teacher, size)
    size = "" if base else size or chosen.SIZE
    progress("read", 0, 0)
    texts = reading.read(
        inputs, held_out=made["held_out"], text_column=made["text_column"], seed=seed
    )
    old_texts = reading.read(old, held_out=0, text_column=made["text_column"]) if old else None
    place = made.pop("old")
    again = (
        reading.again(place, old_texts, made["held_out"], made["text_column"], seed)
        if place
        else None
    )
    request = {
        "command": "train", "data": texts.digest, "base": chosen.digest_of(base),
        "objective": objective, "size": size, "tokens": tokens, "seed": seed, "settings": made,
        **({"teacher": chosen.digest_of(teacher)} if teacher else {}),
        **({"old": old_texts.digest} if old_texts else {}),
        **({"replayed": again.digest} if again else {}),
    }  # fmt: skip
    if texts.repeated:
        say(f"{texts.repeated:,} texts repeat another one, or nearly so: on one side of the split")
    parts = TrainParts(made, texts, base, size, objective, seed, progress, teacher, again)
    if plan_only:
        plan = parts.estimate(tokens)
        _say_plan(plan, base or teacher, say)
        return {"request": request, "plan": plan}
    _check_new(Path(out), request)
    plan = parts.estimate(tokens)
    _say_plan(plan, base or teacher, say)
    if parts.replayed:
        say(f"replay: {parts.replayed:,} documents of old text, {made['replay']:.0%} of the tokens")
    with output.work(out, request) as (folder, done):
        if done is not None:
            say(f"{out} is trained already, with the same settings and data")
            return done
        plan = output.remember(folder, plan=plan)["plan"]
        held_back = old_texts.train if old_texts else again.test if again else []
        old_data = parts.encode(held_back) if held_back else None
        return _run(parts, folder, plan, texts, old_data, say)


def _check_new(folder: Path, request: dict[str, Any]) -> None:
    """Refuse a folder that is in use for something else before the work of an estimate."""
    if folder.is_file():
        raise UsageError("is a file", where=str(folder), hint="-o NEW-FOLDER")
    if folder.is_dir() and any(folder.iterdir()):
        output.claim(folder, request)


def _run(
    parts: TrainParts, folder: Path, plan: dict[str, Any], texts: reading.Texts,
    old: TokenDocuments | None, say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    from tilth.build.held_out import Scores
    from tilth.models.folder import save_model
    from tilth.tokens import bpe
    from tilth.training import curve
    from tilth.training.guard import StepGuard
    from tilth.training.loop import fit

    made = parts.settings
    scores = Scores(parts.model, parts.objective, {"held out": parts.test, "old": old})
    before = output.remember(folder, before=scores.measure(parts.progress))["before"]
    if parts.spoken is None:
        bpe.save(parts.tokenizer, folder / "tokenizer")
    history = fit(
        parts.model, parts.objective, parts.data, tokens=plan["tokens"],
        batch_tokens=plan["rows_per_step"] * plan["row_tokens"],
        micro_batch_tokens=plan["micro_batch_rows"] * plan["row_tokens"],
        schedule=made["schedule"], learning_rate=made["learning_rate"],
        minimum=made["minimum"], warmup=made["warmup"], weight_decay=made["weight_decay"],
        clip=made["clip"], seed=parts.seed, threads=made["threads"] or None,
        precision=plan["precision"], checkpoint=folder / output.CHECKPOINT,
        checkpoint_every=made["checkpoint_every"], progress=parts.progress,
        guard=StepGuard(sigmas=made["guard"]) if made["guard"] else None,
        on_step=_lines(plan["steps"], say, curve.live(folder, every=1, seconds=curve.SECONDS)),
    )  # fmt: skip
    after = scores.measure(parts.progress)
    source = folder / "tokenizer" if parts.spoken is None else Path(parts.spoken)
    save_model(parts.model, folder, source)
    if parts.spoken is None:
        shutil.rmtree(source, ignore_errors=True)
    curve.write_curve(folder, history)
    record = {
        **output.remember(folder),
        "before": before,
        "after": after,
        "unit": scores.unit,
        "loss": history.loss,
        "dropped_tokens": history.dropped_tokens,
        "skipped": history.skipped,
        "unread": texts.unread,
        "repeated": texts.repeated,
        "licences": texts.licences,
    }
    output.finish(folder, record)
    if history.skipped:
        say(f"{len(history.skipped):,} steps were left out by the guard, see training.json")
    for line in scores.lines(before, after):
        say(line)
    return record


# Compute-optimal trainings take about 20 (Hoffmann et al., 2022).
LEAST_RATIO = 2


def _say_plan(plan: dict[str, Any], base: str | Path | None, say: Callable[[str], None]) -> None:
    from tilth.training.plan import sentence

    say(sentence(plan))
    if base is None and plan["tokens_per_parameter"] < LEAST_RATIO:
        say(
            f"few: below {LEAST_RATIO} tokens a parameter a new model learns little; "
            "a smaller --size or more text"
        )


def _lines(
    steps: int, say: Callable[[str], None], also: Callable[[Any], None]
) -> Callable[[Any], None]:
    """Says the loss at every tenth of the steps; `also` sees each of them."""
    every = max(1, steps // 10)

    def on_step(point: Any) -> None:
        also(point)
        if point.step % every == 0:
            say(
                f"step {point.step:,} of {steps:,}: loss {point.loss:.3f} nats a target, "
                f"rate {point.learning_rate:.2g}"
            )

    return on_step
