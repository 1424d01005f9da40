"""Objectives of labelled tasks, on the heads that `transformers` has.

Each takes the documents that `tasks_rows.task_documents` makes, gives one padded row an example,
and asks a model for logits; rows are trimmed to the longest of the batch that goes in. A row
consumes `length` tokens of a budget whatever it holds. What does not fit is counted as dropped.

- `Classify`, `Pair`: softmax over labels (Devlin et al., 2019), of one text or two.
- `MultiLabel`: a sigmoid for each label.
- `Tag`: softmax at the first sub-token of each word; the other sub-tokens are no targets.
- `Choose`: one logit a choice, softmax over the choices of an example (Radford et al., 2018).
- `Regress`: squared error on targets that are centred and scaled.

`logits(model, batch)` is what evaluation asks too. An example whose label is not among `labels` can
be looked at, not learned from: its loss raises DataError.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.tasks_rows import NOT_ONE, Layout

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments


def ask(
    model: PreTrainedModel, ids: np.ndarray, sizes: np.ndarray, types: np.ndarray
) -> torch.Tensor:
    """The logits of padded rows, (rows, ...): trimmed to the longest, padding hidden."""
    import torch

    longest = max(1, int(sizes.max()))
    arguments = {
        "input_ids": torch.from_numpy(ids[:, :longest].astype(np.int64)),
        "attention_mask": torch.from_numpy((np.arange(longest) < sizes[:, None]).astype(np.int64)),
    }
    accepts = inspect.signature(model.forward).parameters
    if "token_type_ids" in accepts and getattr(model.config, "type_vocab_size", 0) > 1:
        arguments["token_type_ids"] = torch.from_numpy(types[:, :longest].astype(np.int64))
    arguments = {name: value.to(model.device) for name, value in arguments.items()}
    if type(model).__name__.endswith("ForMultipleChoice"):
        # It scores sets of rows; here each row comes alone, since sets may differ in size.
        arguments = {name: value[:, None] for name, value in arguments.items()}
    if "use_cache" in accepts:
        arguments["use_cache"] = False
    return model(**arguments).logits.float()


class _Task:
    """What all have: labels, the layout of a row, and rows with one target each."""

    name = ""
    version = 1

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        length: int = 128,
        begin: int = 0,
        separator: int = 0,
        pad: int = 0,
        keep: str = "start",
    ) -> None:
        self.labels, self.length = tuple(labels), length
        self._layout = Layout(length, begin, separator, pad, keep)
        self._number = {label: number for number, label in enumerate(self.labels)}

    def parameters(self) -> dict[str, Any]:
        layout = self._layout
        return {
            "labels": list(self.labels), "length": self.length, "begin": layout.begin,
            "separator": layout.separator, "pad": layout.pad, "keep": layout.keep,
        }  # fmt: skip

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """One row an example. Nothing is drawn."""
        arrays, dropped = self._layout.rows(documents.extra["pieces"])
        return Batch({**arrays, "target": self._targets(documents)}, dropped)

    def logits(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return ask(model, batch["ids"], batch["sizes"], batch["types"])

    def _targets(self, documents: TokenDocuments) -> np.ndarray:
        targets = [self._number.get(target, -1) for target in documents.extra["target"]]
        return np.array(targets, dtype=np.int64)

    def _known(self, targets: np.ndarray) -> None:
        if targets.size and targets.min() == -1:
            raise DataError(
                "a label is none of those to learn", hint=f"labels: {', '.join(self.labels[:12])}"
            )


class Classify(_Task):
    """One label of a text."""

    name = "classify"

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy; one target a row."""
        import torch

        self._known(batch["target"])
        logits = self.logits(model, batch)
        target = torch.from_numpy(batch["target"]).to(logits.device)
        total = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
        return Loss(total, {}, len(batch))


class Pair(Classify):
    """One label of two texts: begin, text, separator, other, separator."""

    name = "pair"


class MultiLabel(_Task):
    """Any number of labels of a text; the loss is the mean over labels, so labels do not weigh."""

    name = "multilabel"

    def _targets(self, documents: TokenDocuments) -> np.ndarray:
        made = np.zeros((len(documents), len(self.labels)), dtype=np.float32)
        for row, labels in enumerate(documents.extra["target"]):
            for label in labels:
                # A label that was not learned cannot be predicted: it is missed, not refused.
                if label in self._number:
                    made[row, self._number[label]] = 1
        return made

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Binary cross-entropy, averaged over labels and summed over rows."""
        import torch

        logits = self.logits(model, batch)
        target = torch.from_numpy(batch["target"]).to(logits.device)
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, reduction="none"
        )
        return Loss(each.mean(1).sum(), {}, len(batch))


class Tag(_Task):
    """A tag of each word, at its first sub-token; words that do not fit in a row are no targets."""

    name = "tag"

    def _targets(self, documents: TokenDocuments) -> np.ndarray:
        made = np.full((len(documents), self.length), NOT_ONE, dtype=np.int64)
        for row in range(len(documents)):
            firsts = self.places(documents.extra["firsts"][row])
            for place, tag in zip(firsts, documents.extra["target"][row]):
                if place >= 0:
                    made[row, place] = self._number.get(tag, NOT_ONE)
        return made

    def __init__(
        self, labels: Sequence[str] = (), *, length: int = 128, begin: int = 0, separator: int = 0,
        pad: int = 0,
    ) -> None:  # fmt: skip
        # A row keeps the start of a sentence: then a word's place does not depend on its length.
        super().__init__(labels, length=length, begin=begin, separator=separator, pad=pad)

    def parameters(self) -> dict[str, Any]:
        inherited = super().parameters()
        del inherited["keep"]
        return inherited

    def places(self, firsts: np.ndarray) -> np.ndarray:
        """Where in its row each word is read; -1 for those that are not in it."""
        inside = (firsts >= 0) & (firsts < self.length - 2)
        return np.where(inside, firsts + 1, -1)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy at the first sub-tokens."""
        import torch

        logits = self.logits(model, batch)
        target = torch.from_numpy(batch["target"][:, : logits.shape[1]]).to(logits.device)
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=NOT_ONE, reduction="sum"
        )
        return Loss(total, {}, int((target != NOT_ONE).sum()))


class Choose(_Task):
    """The right one of several choices; examples may have different numbers, at most `choices`.

    A row is an example with all its choices and consumes `choices` times `segment` tokens.
    """

    name = "choose"

    def __init__(
        self, *, choices: int = 5, segment: int = 64, begin: int = 0, separator: int = 0,
        pad: int = 0, keep: str = "start",
    ) -> None:  # fmt: skip
        if choices < 2:
            raise UsageError(f"{choices} choices are none")
        super().__init__((), length=segment, begin=begin, separator=separator, pad=pad, keep=keep)
        self.choices, self.segment, self.length = choices, segment, choices * segment

    def parameters(self) -> dict[str, Any]:
        inherited = super().parameters()
        del inherited["labels"], inherited["length"]
        return {"choices": self.choices, "segment": self.segment, **inherited}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Arrays (rows, choices, segment); the size of a choice that is not there is 0."""
        arrays = {
            "ids": np.full((len(documents), self.choices, self.segment), self._layout.pad,
                           dtype=np.int32),
            "sizes": np.zeros((len(documents), self.choices), np.int32),
            "types": np.zeros((len(documents), self.choices, self.segment), np.int8),
            "target": np.array(documents.extra["target"], dtype=np.int64),
        }  # fmt: skip
        dropped = 0
        for row, (text, *choices) in enumerate(documents.extra["pieces"]):
            if len(choices) > self.choices:
                raise DataError(
                    f"{len(choices)} choices, more than {self.choices}", where=documents.ids[row]
                )
            found, lost = self._layout.rows([[text, choice] for choice in choices])
            for name, array in found.items():
                arrays[name][row, : len(choices)] = array
            dropped += lost
        return Batch(arrays, dropped)

    def logits(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """(rows, choices); minus infinity where there is no choice."""
        import torch

        real = batch["sizes"] > 0
        found = ask(model, *(batch[name][real] for name in ("ids", "sizes", "types")))[..., 0]
        places = torch.from_numpy(real).to(found.device)
        return torch.full(real.shape, -torch.inf, device=found.device).masked_scatter(places, found)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy over the choices; one target a row."""
        import torch

        logits = self.logits(model, batch)
        target = torch.from_numpy(batch["target"]).to(logits.device)
        total = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
        return Loss(total, {}, len(batch))


class Regress(_Task):
    """A number of a text or of a pair; learned as (target - centre) / scale."""

    name = "regress"

    def __init__(
        self, *, centre: float = 0.0, scale: float = 1.0, length: int = 128, begin: int = 0,
        separator: int = 0, pad: int = 0, keep: str = "start",
    ) -> None:  # fmt: skip
        super().__init__((), length=length, begin=begin, separator=separator, pad=pad, keep=keep)
        if not scale > 0:
            raise UsageError(f"scale is above 0, not {scale}")
        self.centre, self.scale = centre, scale

    def parameters(self) -> dict[str, Any]:
        inherited = super().parameters()
        del inherited["labels"]
        return {"centre": self.centre, "scale": self.scale, **inherited}

    def _targets(self, documents: TokenDocuments) -> np.ndarray:
        targets = np.array(documents.extra["target"], dtype=np.float64)
        return ((targets - self.centre) / self.scale).astype(np.float32)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Squared error, summed."""
        import torch

        logits = self.logits(model, batch)
        target = torch.from_numpy(batch["target"]).to(logits.device)
        return Loss(((logits[:, 0] - target) ** 2).sum(), {}, len(batch))
