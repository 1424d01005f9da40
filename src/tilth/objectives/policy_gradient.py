"""Group relative policy optimisation, GRPO: learn from rewards of several answers a question.

Shao et al. (2024). Of each question G answers are sampled; the advantage of one is (reward - mean
of its group) / standard deviation of the group, 0 where all rewards are equal. Each token's loss is
- min(r A, clip(r, 1 - e, 1 + e) A), with r = p / p_old, plus `kl` (1/r' - 1 + log r') against a
reference with r' = p / q. Use it where a check says whether an answer is right and the model is
right sometimes. Dividing by the deviation gives very easy and very hard questions more weight, and
the mean over an answer's tokens favours long wrong answers (Liu et al., 2025): `normalise="token"`
and `scaled=False` in `advantages` leave both out.

Documents, as `training.rollouts` makes them: `tokens` is prompt and answer; `extra["start"]` where
the answer starts, `extra["advantage"]`, `extra["old"]` log p_old of each of its tokens, and, where
`kl` is above 0, `extra["reference"]` log q of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.objectives.answers import NO_TARGET, lay_out, log_probabilities
from tilth.objectives.batch import Batch, Draws, Loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

NORMALISE = ("sequence", "token")


def advantages(rewards: Sequence[Sequence[float]], *, scaled: bool = True) -> list[np.ndarray]:
    """For each group of rewards, their distances from the mean, in standard deviations.

    Exactly 0 where all rewards of a group are equal.
    """
    made = []
    for group in rewards:
        values = np.asarray(group, dtype=np.float64)
        if len(values) == 0 or np.ptp(values) == 0:
            made.append(np.zeros(len(values)))
            continue
        apart = values - values.mean()
        made.append(apart / values.std() if scaled else apart)
    return made


def policy_loss(
    ours: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip: float
) -> torch.Tensor:
    """The clipped loss of each token; all (tokens,), log-probabilities in nats."""
    import torch

    ratio = torch.exp(ours - old)
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def divergence(ours: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """q/p - 1 - log(q/p) of each token: never below 0, in the mean KL(p || q) (Schulman, 2020)."""
    import torch

    apart = reference - ours
    return torch.exp(apart) - 1 - apart


class PolicyGradient:
    """GRPO on rows of `length`, one answer with its prompt a row.

    `normalise`: `sequence`, the mean over an answer's tokens, then over answers (the paper's), or
    `token`, the mean over all tokens.
    """

    name = "policy-gradient"
    version = 1

    def __init__(
        self, *, length: int = 256, clip: float = 0.2, kl: float = 0.0,
        normalise: str = "sequence", temperature: float = 1.0,
    ) -> None:  # fmt: skip
        if length < 2 or clip <= 0 or kl < 0 or temperature <= 0 or normalise not in NORMALISE:
            raise UsageError("clip and temperature are above 0, kl at least 0, length at least 2; "
                             f"normalise is {' or '.join(NORMALISE)}")  # fmt: skip
        self.length, self.clip, self.kl = length, clip, kl
        self.normalise, self.temperature = normalise, temperature

    def parameters(self) -> dict[str, Any]:
        return {
            "length": self.length, "clip": self.clip, "kl": self.kl, "normalise": self.normalise,
            "temperature": self.temperature,
        }  # fmt: skip

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Nothing is drawn. An answer that is longer than a row is dropped and counted."""
        wanted = ("start", "advantage", "old", *(["reference"] if self.kl else []))
        if len(documents) and any(name not in documents.extra for name in wanted):
            raise DataError("answers to learn from need the columns " + ", ".join(wanted))
        extra, rows, dropped = documents.extra, [], 0
        for number, tokens in enumerate(documents.tokens):
            start = int(extra["start"][number])
            if not 1 <= start < len(tokens):
                raise DataError("an answer has no token", where=documents.ids[number])
            if len(tokens) - 1 > self.length:
                dropped += len(tokens) - start
                continue
            ids, targets, segments = lay_out([(tokens, start)], self.length, documents.end)
            at = targets != NO_TARGET
            old, reference = np.zeros((2, self.length), np.float32)
            old[at] = extra["old"][number]
            if self.kl:
                reference[at] = extra["reference"][number]
            rows.append((ids, targets, segments, old, reference, extra["advantage"][number]))
        shape = (len(rows), self.length)
        columns = list(zip(*rows)) if rows else [[]] * 6
        kinds = (np.uint32, np.int64, np.int32, np.float32, np.float32)
        names = ("ids", "targets", "segments", "old", "reference")
        arrays = {
            name: np.array(column, kind).reshape(shape)
            for name, column, kind in zip(names, columns, kinds)
        }
        return Batch({**arrays, "advantage": np.array(columns[5], np.float32)}, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Sum over answers (or over tokens). `parts`: the sum of the divergence."""
        import torch

        ids, targets, segments = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "segments")
        )
        old, reference, advantage = (
            torch.from_numpy(batch[name]).to(model.device)
            for name in ("old", "reference", "advantage")
        )
        ours, at = log_probabilities(model, ids, targets, segments, self.temperature)
        rows = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)[at]
        each = policy_loss(ours, old[at], advantage[rows], self.clip)
        apart = divergence(ours, reference[at]) if self.kl else torch.zeros_like(ours)
        each = each + self.kl * apart
        parts = {"divergence": float(apart.sum())}
        if self.normalise == "token":
            return Loss(each.sum(), parts, len(each))
        sizes = torch.bincount(rows, minlength=len(ids)).to(each.dtype)
        return Loss((each / sizes[rows]).sum(), parts, len(ids))
