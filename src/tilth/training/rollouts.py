"""Rollouts: answers that a model makes itself, with what a check says of them, as documents.

`sample` draws answers, `preference_pairs` and `scored_answers` turn them with their rewards into
documents for `objectives.preference` and `objectives.policy_gradient`. They are data like any
other: made once, from a model that stands still, and kept. The whole row is computed anew for each
token: right for short answers of small models; for long ones use the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tilth.errors import UsageError
from tilth.objectives.answers import lay_out, log_probabilities
from tilth.objectives.policy_gradient import advantages
from tilth.tokens.documents import TokenDocuments

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 256


class Answer(NamedTuple):
    """Tokens of prompt and answer, where the answer starts, and log p of each of its tokens."""

    tokens: np.ndarray
    start: int
    logarithms: np.ndarray


def sample(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, count: int = 8, most: int = 32,
    stop: int, seed: int = 0, temperature: float = 1.0,
) -> list[list[Answer]]:  # fmt: skip
    """`count` answers to each prompt, each of at most `most` tokens, the last one mostly `stop`.

    A pure function of model, prompts and seed. `temperature` divides the logits; the logarithms
    are of the distribution that was drawn from. Prompts must have a token.
    """
    import torch

    if count < 1 or most < 1 or temperature <= 0 or min(map(len, prompts), default=1) < 1:
        raise UsageError("count and most are at least 1, temperature above 0, no prompt is empty")
    generator = torch.Generator().manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    made: list[list[Answer]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for length in sorted({len(prompts[number]) for number in order}):
            same = [number for number in order if len(prompts[number]) == length]
            for begin in range(0, len(same), max(1, ROWS // count)):
                part = same[begin : begin + max(1, ROWS // count)]
                rows = torch.tensor([list(prompts[n]) for n in part for _ in range(count)])
                logarithms = torch.zeros(len(rows), 0)
                going = torch.ones(len(rows), dtype=torch.bool)
                for _ in range(most):
                    logits = model(input_ids=rows.to(model.device)).logits[:, -1].float().cpu()
                    spread = (logits / temperature).log_softmax(-1)
                    drawn = torch.multinomial(spread.exp(), 1, generator=generator)
                    rows = torch.cat([rows, drawn], 1)
                    logarithms = torch.cat([logarithms, spread.gather(1, drawn)], 1)
                    going &= drawn[:, 0] != stop
                    if not going.any():
                        break
                for place, (row, logs) in enumerate(zip(rows.numpy(), logarithms.numpy())):
                    ends = np.flatnonzero(row[length:] == stop)
                    size = int(ends[0]) + 1 if len(ends) else len(logs)
                    answer = Answer(
                        row[: length + size].astype(np.uint32), length, logs[:size].copy()
                    )
                    made[part[place // count]].append(answer)
    model.train(was_training)
    return made


def logarithms_of(
    model: PreTrainedModel, answers: Sequence[tuple[np.ndarray, int]], end: int
) -> list[np.ndarray]:
    """log p of each token of the answers, (tokens, start) each, under another model."""
    import torch

    found: list[np.ndarray] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for begin in range(0, len(answers), ROWS):
            part = answers[begin : begin + ROWS]
            length = max(len(tokens) for tokens, _ in part)
            columns = zip(*[lay_out([one], length, end) for one in part])
            ids, targets, segments = (
                torch.from_numpy(np.stack(column).astype(np.int64)).to(model.device)
                for column in columns
            )
            values, at = log_probabilities(model, ids, targets, segments)
            sizes = at.sum(1).tolist()
            found += [piece.cpu().numpy() for piece in values.split(sizes)]
    model.train(was_training)
    return found


Reward = Callable[[int, np.ndarray], float]


def rewards_of(answers: Sequence[Sequence[Answer]], reward: Reward) -> list[list[float]]:
    """`reward(number of the prompt, tokens of the answer)` for every answer."""
    return [
        [float(reward(number, one.tokens[one.start :])) for one in group]
        for number, group in enumerate(answers)
    ]


def preference_pairs(
    answers: Sequence[Sequence[Answer]], rewards: Sequence[Sequence[float]],
    *, vocabulary: int, end: int,
) -> TokenDocuments:  # fmt: skip
    """The best with the worst answer to each prompt, where they differ; the model is the reference.

    Of equally good answers the first counts. For `objectives.preference`.
    """
    ids, tokens, rejected, starts, references = [], [], [], [], []
    for number, (group, values) in enumerate(zip(answers, rewards)):
        best, worst = int(np.argmax(values)), int(np.argmin(values))
        if values[best] == values[worst]:
            continue
        ids.append(f"prompt {number}")
        tokens.append(group[best].tokens)
        rejected.append(group[worst].tokens)
        starts.append(group[best].start)
        references.append([float(group[n].logarithms.sum()) for n in (best, worst)])
    extra = {"rejected": rejected, "start": starts, "reference": references}
    return TokenDocuments(ids, tokens, vocabulary, end, extra=extra)


def scored_answers(
    answers: Sequence[Sequence[Answer]], rewards: Sequence[Sequence[float]],
    *, vocabulary: int, end: int, scaled: bool = True,
) -> TokenDocuments:  # fmt: skip
    """All answers to prompts of which some were better than others, with their advantages.

    A group whose rewards are all equal has advantages of 0 and teaches nothing: it is left out.
    For `objectives.policy_gradient`.
    """
    made = TokenDocuments([], [], vocabulary, end, extra={"start": [], "advantage": [], "old": []})
    for number, (group, values) in enumerate(zip(answers, advantages(rewards, scaled=scaled))):
        if not np.any(values):
            continue
        for place, (one, value) in enumerate(zip(group, values)):
            made.ids.append(f"prompt {number}, answer {place}")
            made.tokens.append(one.tokens)
            made.extra["start"].append(one.start)
            made.extra["advantage"].append(float(value))
            made.extra["old"].append(one.logarithms)
    return made
