"""Hugging Face Trainer in the four ways people feed it documents of mixed lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

ARMS = ("padded", "sorted", "concatenated", "position ids")
# The arms whose documents do not see each other.
SEPARATE = ("padded", "sorted", "position ids")


def padded_over_real(data: Any, step_tokens: int) -> float:
    """Tokens of batches in random order, padded to their longest, over the real ones."""
    lengths = np.random.default_rng(0).permutation(data.lengths) + 1
    size = documents_a_step(data, step_tokens)
    groups = [lengths[at : at + size] for at in range(0, len(lengths), size)]
    return sum(len(group) * int(group.max()) for group in groups) / int(lengths.sum())


def documents_a_step(data: Any, step_tokens: int) -> int:
    return max(1, round(step_tokens / float(np.mean(data.lengths + 1))))


class Peer:
    """Trainer on the documents of `data`, each begun and ended by the end token."""

    def __init__(
        self, data: Any, context: int, step_tokens: int, precision: str, folder: str
    ) -> None:
        self.precision, self.folder = precision, folder
        self.size = documents_a_step(data, step_tokens)
        self.rows = max(1, step_tokens // context)
        self.documents = []
        for row in data.tokens:
            ids = [data.end, *row.tolist(), data.end]
            self.documents.append({"input_ids": ids, "labels": ids})
        # Whole batches of documents of like length, in random order. Trainer's own grouping needs
        # many more documents than a batch before it sorts at all.
        order = np.argsort(data.lengths, kind="stable")
        batches = [order[at : at + self.size] for at in range(0, len(order), self.size)]
        short = batches.pop() if len(batches[-1]) < self.size else order[:0]
        mixed = [batches[n] for n in np.random.default_rng(0).permutation(len(batches))]
        self.sorted = [self.documents[n] for n in np.concatenate([*mixed, short])]
        stream = [data.end] + [token for row in data.tokens for token in [*row.tolist(), data.end]]
        cuts = range(0, len(stream) - context, context)
        # As in tilth, neighbouring rows share a token, so that each token is a target once.
        self.joined = [
            {"input_ids": stream[at : at + context + 1], "labels": stream[at : at + context + 1]}
            for at in cuts
        ]

    def run(self, arm: str, model: Any) -> None:
        """Train once over the documents."""
        from transformers import (
            DataCollatorWithFlattening,
            Trainer,
            TrainingArguments,
        )
        from transformers.trainer_callback import PrinterCallback

        joined = arm == "concatenated"
        rows = {"concatenated": self.joined, "sorted": self.sorted}.get(arm, self.documents)
        arguments = TrainingArguments(
            output_dir=self.folder,
            num_train_epochs=1,
            per_device_train_batch_size=self.rows if joined else self.size,
            learning_rate=3e-3,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            weight_decay=0.1,
            max_grad_norm=1.0,
            adam_beta2=0.95,
            optim="adamw_torch_fused",
            bf16=self.precision == "bf16",
            use_cpu=True,
            train_sampling_strategy="sequential" if arm == "sorted" else "random",
            remove_unused_columns=False,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
        )
        collate: Any = DataCollatorWithFlattening() if arm == "position ids" else padded
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=Rows(rows),
            data_collator=collate,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


class Rows(torch.utils.data.Dataset):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.rows[number]


def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Rows of a batch, padded to the longest, with the mask of what is real."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        size = len(row["input_ids"])
        ids[number, :size] = torch.tensor(row["input_ids"])
        labels[number, :size] = torch.tensor(row["labels"])
        mask[number, :size] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}
