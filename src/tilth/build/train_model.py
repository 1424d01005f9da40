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

import inspect
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import output, reading
from tilth.build import train_settings as chosen
from tilth.build.memory import parameters_by_dial, parameters_in, refuse_plan, refuse_too_large
from tilth.errors import DataError, UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from tilth.objectives.batch import Objective
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
    start = _Start(made, texts, base, size, objective, seed, progress, teacher, again)
    if plan_only:
        plan = start.estimate(tokens)
        _say_plan(plan, base or teacher, say)
        return {"request": request, "plan": plan}
    _check_new(Path(out), request)
    plan = start.estimate(tokens)
    _say_plan(plan, base or teacher, say)
    if start.replayed:
        say(f"replay: {start.replayed:,} documents of old text, {made['replay']:.0%} of the tokens")
    with output.work(out, request) as (folder, done):
        if done is not None:
            say(f"{out} is trained already, with the same settings and data")
            return done
        plan = output.remember(folder, plan=plan)["plan"]
        held_back = old_texts.train if old_texts else again.test if again else []
        old_data = start.encode(held_back) if held_back else None
        return start.run(folder, plan, texts, old_data, say)


def _check_new(folder: Path, request: dict[str, Any]) -> None:
    """Refuse a folder that is in use for something else before the work of an estimate."""
    if folder.is_file():
        raise UsageError("is a file", where=str(folder), hint="-o NEW-FOLDER")
    if folder.is_dir() and any(folder.iterdir()):
        output.claim(folder, request)


# Compute-optimal trainings take about 20 (Hoffmann et al., 2022).
LEAST_RATIO = 2


class _Start:
    """What a training starts from: tokenizer, model, objective, data."""

    def __init__(
        self, made: dict[str, Any], texts: reading.Texts, base: str | Path | None, size: str,
        objective: str, seed: int, progress: Progress, teacher: str | Path | None = None,
        again: reading.Texts | None = None,
    ) -> None:  # fmt: skip
        from tilth.tokens.special import special_ids

        self.settings, self.base, self.seed, self.progress = made, base, seed, progress
        self.teacher = teacher
        # Whose tokenizer it is; None where one is learned from the texts.
        self.spoken = base or teacher
        progress("tokens", 0, 0)
        self.tokenizer = self._tokenizer(texts, objective)
        self.special = special_ids(self.tokenizer, self.spoken)
        self.model = self._model(size, objective)
        if made["learning_rate"] == 0:
            width = getattr(self.model.config, "hidden_size", 128)
            made["learning_rate"] = chosen.rate_for(objective, width, base is not None)
        self.data = self.encode(texts.train)
        self.objective = self._objective(objective)
        if self.data.vocabulary > self.model.config.vocab_size:
            raise DataError(
                f"its tokenizer has {self.data.vocabulary:,} tokens, "
                f"its model only {self.model.config.vocab_size:,}",
                where=str(base),
                hint="this is not the tokenizer of this model",
            )
        self.test = self.encode(_limited(texts.test, made["held_out_bytes"]))
        self.replayed = 0
        if again is not None:
            self._replay(reading.without(again.train, texts.test))

    def _replay(self, rows: list[tuple[str, str]]) -> None:
        """Put old text among the new; `replayed` counts its documents."""
        from tilth.training.replay import replayed

        mixed = replayed(self.data, self.encode(rows), self.settings["replay"], self.seed)
        self.replayed = len(mixed) - len(self.data)
        self.data = mixed

    def _tokenizer(self, texts: reading.Texts, objective: str) -> Tokenizer:
        from tilth.models.folder import load_tokenizer
        from tilth.tokens import bpe

        if self.spoken is not None:
            return load_tokenizer(self.spoken)
        special = (bpe.PAD, bpe.MASK) if objective == "masked" else ()
        learned_from = _limited(texts.train, 10_000_000)
        size = self.settings["vocabulary"]
        size = size or chosen.vocabulary_for(sum(len(text) for _, text in texts.train))
        return bpe.train([text for _, text in learned_from], size, special=special)

    def _model(self, size: str, objective: str) -> PreTrainedModel:
        from tilth.models import decoder, encoders
        from tilth.models.folder import load_model

        held = parameters_in(self.teacher) if self.teacher is not None else 0
        if self.base is not None:
            trained = parameters_in(self.base)
            refuse_too_large(trained + held, trained=trained, where=str(self.base))
            return load_model(self.base, objective, dtype="float32")
        vocabulary = self.tokenizer.get_vocab_size()
        if self.teacher is not None:
            vocabulary = load_model(self.teacher).config.vocab_size
        trained = parameters_by_dial(
            size, "" if objective == "causal" else self.settings["encoder"], vocabulary,
            self.settings["context"] or chosen.CONTEXT,
        )  # fmt: skip
        refuse_too_large(
            trained + held, trained=trained, where=f"--size {size}", hint="a smaller --size"
        )
        shape: dict[str, Any] = {
            "vocabulary": vocabulary, "context": self.settings["context"] or chosen.CONTEXT,
            "seed": self.seed, "end": self.special.end,
        }  # fmt: skip
        if objective == "causal":
            return decoder.build(size, **shape, spread=decoder.SPREAD)
        return encoders.build_encoder(
            size, **shape, kind=self.settings["encoder"], pad=self.special.pad
        )

    def _objective(self, name: str) -> Objective:
        from tilth.lookup import load
        from tilth.objectives import OBJECTIVES as table
        from tilth.training.plan import context_of

        context = context_of(self.model) or chosen.CONTEXT
        length = self.settings["context"] or min(context, chosen.LONGEST)
        kind = load("objective", table, name)
        known = {
            "length": min(length, context) if self.base is None else length,
            "rate": self.settings["rate"], "mask": self.special.mask, **self._unit(name),
            "special": sorted({self.special.begin, self.special.separator, self.special.pad}),
        }  # fmt: skip
        if name == "masked" and self.special.mask is None:
            raise DataError("its tokenizer has no mask token", where=str(self.base))
        if self.teacher is not None:
            same_tokenizer(self.teacher, self.tokenizer, str(self.base))
            kind = load("objective", table, "distil")
            known |= {"teacher": str(self.teacher), "share": self.settings["share"],
                      "temperature": self.settings["temperature"]}  # fmt: skip
        accepts = inspect.signature(kind).parameters
        return kind(**{key: value for key, value in known.items() if key in accepts})

    def _unit(self, objective: str) -> dict[str, Any]:
        """What is masked whole, and where words begin in this tokenizer, where that is asked."""
        from tilth.tokens.words import informative_words, word_table

        unit = self.settings["unit"]
        if objective != "masked" or unit == "token":
            return {}
        made: dict[str, Any] = {"unit": unit, "words": word_table(self.tokenizer)}
        if unit == "tfidf":
            made["informative"] = informative_words(self.data, made["words"])
        return made

    def encode(self, rows: Sequence[tuple[str, str]]) -> TokenDocuments:
        from tilth.tokens.documents import TokenDocuments

        return TokenDocuments.of([i for i, _ in rows], [text for _, text in rows], self.tokenizer)

    def budget(self, tokens: int) -> dict[str, Any]:
        """Tokens and batches of the training."""
        from tilth.models.decoder import count_parameters
        from tilth.training.plan import MINIMUM_STEPS

        made = self.settings
        wanted = tokens
        if not wanted:
            epochs = made["epochs"] or (4.0 if self.base is None else 1.0)
            wanted = int(min(
                made["tokens_per_parameter"] * count_parameters(self.model),
                epochs * self.data.total_tokens,
            ))  # fmt: skip
        batch = made["batch_tokens"] or (1024 if wanted < 2_000_000 else 2048)
        batch = max(batch, self.objective.length)
        if not tokens:
            step = batch // self.objective.length * self.objective.length
            # Whole steps; so few that it is refused are said with the numbers of the data.
            tokens = wanted // step * step
            if tokens < MINIMUM_STEPS * step:
                raise DataError(
                    f"{self.data.total_tokens:,} tokens in {len(self.data):,} documents make "
                    f"{tokens // step} steps of {step:,} tokens, which teaches nothing: at least "
                    f"{MINIMUM_STEPS} steps are asked for",
                    hint=f"more text, or --tokens {MINIMUM_STEPS * step} to repeat it, or "
                    "--set batch_tokens=512",
                )
        return {
            "tokens": tokens, "batch_tokens": batch,
            "micro_batch_tokens": made["micro_batch_tokens"],
        }  # fmt: skip

    def estimate(self, tokens: int) -> dict[str, Any]:
        from tilth.training.plan import estimate, plan

        self.progress("estimate", 0, 0)
        parts, budget = (self.model, self.objective, self.data), self.budget(tokens)
        refuse_plan(plan(*parts, **budget), "--set micro_batch_tokens=256, or a smaller model")
        return estimate(*parts, precision=self.settings["precision"], **budget)

    def run(
        self, folder: Path, plan: dict[str, Any], texts: reading.Texts,
        old: TokenDocuments | None, say: Callable[[str], None],
    ) -> dict[str, Any]:  # fmt: skip
        from tilth.build.held_out import Scores
        from tilth.models.folder import save_model
        from tilth.tokens import bpe
        from tilth.training import curve
        from tilth.training.guard import StepGuard
        from tilth.training.loop import fit

        made = self.settings
        scores = Scores(self.model, self.objective, {"held out": self.test, "old": old})
        before = output.remember(folder, before=scores.measure(self.progress))["before"]
        if self.spoken is None:
            bpe.save(self.tokenizer, folder / "tokenizer")
        history = fit(
            self.model, self.objective, self.data, tokens=plan["tokens"],
            batch_tokens=plan["rows_per_step"] * plan["row_tokens"],
            micro_batch_tokens=plan["micro_batch_rows"] * plan["row_tokens"],
            schedule=made["schedule"], learning_rate=made["learning_rate"],
            minimum=made["minimum"], warmup=made["warmup"], weight_decay=made["weight_decay"],
            clip=made["clip"], seed=self.seed, threads=made["threads"] or None,
            precision=plan["precision"], checkpoint=folder / output.CHECKPOINT,
            checkpoint_every=made["checkpoint_every"], progress=self.progress,
            guard=StepGuard(sigmas=made["guard"]) if made["guard"] else None,
            on_step=_lines(plan["steps"], say, curve.live(folder, every=1, seconds=curve.SECONDS)),
        )  # fmt: skip
        after = scores.measure(self.progress)
        source = folder / "tokenizer" if self.spoken is None else Path(self.spoken)
        save_model(self.model, folder, source)
        if self.spoken is None:
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


def _say_plan(plan: dict[str, Any], base: str | Path | None, say: Callable[[str], None]) -> None:
    from tilth.training.plan import sentence

    say(sentence(plan))
    if base is None and plan["tokens_per_parameter"] < LEAST_RATIO:
        say(
            f"few: below {LEAST_RATIO} tokens a parameter a new model learns little; "
            "a smaller --size or more text"
        )


def same_tokenizer(teacher: str | Path, tokenizer: Tokenizer, student: str) -> None:
    """Refuse a teacher that reads other tokens than the student."""
    from tilth.models.folder import load_tokenizer

    theirs, ours = load_tokenizer(teacher).get_vocab(), tokenizer.get_vocab()
    if theirs != ours:
        odd = next(t for t in {**theirs, **ours} if theirs.get(t) != ours.get(t))
        raise DataError(
            f"its tokenizer differs from the teacher's, such as in the token {odd!r}",
            where=student, hint="a teacher and a student of one tokenizer",
        )  # fmt: skip


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


def _limited(rows: list[tuple[str, str]], size: int) -> list[tuple[str, str]]:
    """Whole rows, spread over all, of about `size` bytes; all where they are fewer."""
    total = sum(len(text) for _, text in rows)
    return rows[:: max(1, total // max(1, size))]
