"""What a training of `build.train_model` is made of: tokenizer, model, objective, data, budget.

The settings say what each of them is; a base brings its tokenizer and model, a teacher its
tokenizer. What does not belong together (another tokenizer, too few tokens, no room in memory) is
refused here, before anything is trained or written.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import reading
from tilth.build import train_settings as chosen
from tilth.build.memory import parameters_by_dial, parameters_in, refuse_plan, refuse_too_large
from tilth.errors import DataError
from tilth.types import Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from tilth.objectives.batch import Objective
    from tilth.tokens.documents import TokenDocuments


class TrainParts:
    """All that a training takes, made in order: each part needs those before it.

    `made`: all settings; a learning rate of 0 among them is replaced by the one chosen. `size` is
    that of a new model. With `again` old text is put among the new, and `replayed` counts its
    documents. `test`: held-out text, at most the setting `held_out_bytes` of it. Raises TilthErrors
    where parts do not go together.
    """

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
        """(id, text) rows in the ids of the tokenizer."""
        from tilth.tokens.documents import TokenDocuments

        return TokenDocuments.of([i for i, _ in rows], [text for _, text in rows], self.tokenizer)

    def budget(self, tokens: int) -> dict[str, Any]:
        """Tokens and batches of the training; `tokens` 0 is chosen by the settings. DataError where
        the data make too few steps."""
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
        """The plan of the training with its time, which is measured on this machine; LimitError
        where it does not fit in memory."""
        from tilth.training.plan import estimate, plan

        self.progress("estimate", 0, 0)
        parts, budget = (self.model, self.objective, self.data), self.budget(tokens)
        refuse_plan(plan(*parts, **budget), "--set micro_batch_tokens=256, or a smaller model")
        return estimate(*parts, precision=self.settings["precision"], **budget)


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


def _limited(rows: list[tuple[str, str]], size: int) -> list[tuple[str, str]]:
    """Whole rows, spread over all, of about `size` bytes; all where they are fewer."""
    total = sum(len(text) for _, text in rows)
    return rows[:: max(1, total // max(1, size))]
