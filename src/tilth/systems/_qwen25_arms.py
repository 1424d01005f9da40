"""How the stages of the system `qwen2.5` train, what is measured of them, and what must hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilth.evaluation.card import Invariant, Measured, Ratio
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import count_parameters
from tilth.models.families import build_family
from tilth.models.surgery.positions import rope_base
from tilth.objectives.batch import Draws
from tilth.objectives.causal import Causal
from tilth.objectives.instruct import Instruct
from tilth.objectives.policy_gradient import PolicyGradient
from tilth.objectives.preference import Preference
from tilth.systems._arithmetic import Problem
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import fit
from tilth.training.rollouts import Answer, preference_pairs, rewards_of, sample, scored_answers

FAR = "bits per token in the second half of long rows"
PASS = "pass@1 on problems held out"
LONG_BASE = 1_000_000.0
SAMPLES = 8
MOST = 5
# Rows of one problem each; DPO has two of them side by side.
ROW = 32
# Rates of the later stages, as shares of the first one's.
LONG_RATE, SFT_RATE, PREFERENCE_RATE, POLICY_RATE = 0.3, 0.4, 0.04, 0.1


@dataclass
class Inputs:
    """What arms share. Budgets in tokens; `rounds` of `prompts` problems each for GRPO."""

    text: TokenDocuments
    test: TokenDocuments
    told: Sequence[Problem]
    asked: Sequence[Problem]
    tokenizer: Any
    shape: dict[str, Any]
    short: int
    long: int
    first: int
    second: int
    third: int
    prompts: int
    rounds: int
    batch_tokens: int
    rate: float
    _made: dict[Any, Any] = field(default_factory=dict)

    def made(self, name: Any, make: Callable[[], tuple[Any, int]]) -> tuple[Any, int]:
        """(model, tokens spent on it so far), made once. The model is not to be changed."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def learn(self, model: Any, objective: Any, data: Any, tokens: int, rate: float, seed: int,
              **options: Any) -> int:  # fmt: skip
        """Train in place; the tokens that it took."""
        history = fit(
            model, objective, data, tokens=tokens, learning_rate=rate * self.rate, seed=seed,
            **{"batch_tokens": self.batch_tokens, "minimum": 0.1, **options},
        )  # fmt: skip
        return int(history.plan["tokens"])


def ids_of(inputs: Inputs, text: str) -> list[int]:
    return bpe.encode(inputs.tokenizer, [text])[0]


def prompt_of(inputs: Inputs, problem: Problem) -> list[int]:
    return [inputs.text.end, *ids_of(inputs, problem.prompt.rstrip())]


def answer_of(inputs: Inputs, problem: Problem) -> list[int]:
    """The blank and the answer; the end token ends the turn."""
    return [*ids_of(inputs, f" {problem.answer}"), inputs.text.end]


def solved(inputs: Inputs) -> TokenDocuments:
    """Conversations of one problem and its answer, for supervised fine-tuning."""
    parts = [(prompt_of(inputs, p), answer_of(inputs, p)) for p in inputs.told]
    rows = [np.array([*prompt, *answer], np.uint32) for prompt, answer in parts]
    learn = [np.arange(len(row)) >= len(prompt) for row, (prompt, _) in zip(rows, parts)]
    names = [f"problem {number}" for number in range(len(rows))]
    size = inputs.text.vocabulary
    return TokenDocuments(names, rows, size, inputs.text.end, extra={"learn": learn})


def rolled(
    inputs: Inputs, model: Any, some: Sequence[Problem], seed: int
) -> tuple[list[list[Answer]], list[list[float]]]:
    """Answers and their rewards: 1 where the tokens are exactly those of the right answer."""
    right = [answer_of(inputs, problem) for problem in some]
    answers = sample(
        model, [prompt_of(inputs, problem) for problem in some], count=SAMPLES, most=MOST,
        stop=inputs.text.end, seed=seed,
    )  # fmt: skip
    return answers, rewards_of(answers, lambda n, tokens: tokens.tolist() == right[n])


def base(inputs: Inputs, seed: int) -> tuple[Any, int]:
    def make() -> tuple[Any, int]:
        model = build_family("qwen2", seed=seed, **inputs.shape)
        objective = Causal(length=inputs.short)
        return model, inputs.learn(model, objective, inputs.text, inputs.first, 1.0, seed)

    return inputs.made(("base", seed), make)


def longer_rows(inputs: Inputs, seed: int, abf: bool) -> tuple[Any, int]:
    def make() -> tuple[Any, int]:
        model, spent = base(inputs, seed)
        model = copy.deepcopy(model)
        if abf:
            model = rope_base(Checkpoint.of(model), base=LONG_BASE).model()
        objective = Causal(length=inputs.long)
        return model, spent + inputs.learn(
            model, objective, inputs.text, inputs.second, LONG_RATE, seed + 100
        )

    return inputs.made(("long", seed, abf), make)


def tuned(inputs: Inputs, seed: int) -> tuple[Any, int]:
    def make() -> tuple[Any, int]:
        model, spent = longer_rows(inputs, seed, abf=True)
        model = copy.deepcopy(model)
        return model, spent + inputs.learn(
            model, Instruct(length=2 * ROW), solved(inputs), inputs.third, SFT_RATE, seed
        )

    return inputs.made(("SFT", seed), make)


def preferred(inputs: Inputs, seed: int) -> tuple[Any, int]:
    """Pairs of the tuned model's own answers, told apart by the check; one epoch."""

    def make() -> tuple[Any, int]:
        model, spent = tuned(inputs, seed)
        answers, rewards = rolled(inputs, model, inputs.told, 10_000 + seed)
        size = inputs.text.vocabulary
        pairs = preference_pairs(answers, rewards, vocabulary=size, end=inputs.text.end)
        if not len(pairs):
            return model, spent
        model = copy.deepcopy(model)
        row = 2 * ROW
        tokens, batch = len(pairs) * row, min(inputs.batch_tokens, max(1, len(pairs) // 10) * row)
        return model, spent + inputs.learn(
            model, Preference(length=row), pairs, tokens, PREFERENCE_RATE, seed,
            batch_tokens=batch, weight_decay=0.0, minimum_steps=1,
        )  # fmt: skip

    return inputs.made(("DPO", seed), make)


def rewarded(inputs: Inputs, seed: int) -> tuple[Any, int]:
    """Rounds of answers, each learned from once, on from DPO; moments are kept between rounds."""

    def make() -> tuple[Any, int]:
        model, spent = preferred(inputs, seed)
        model, moments = copy.deepcopy(model), {}
        chance = np.random.default_rng([seed, 9])
        for number in range(inputs.rounds):
            some = [inputs.told[n] for n in chance.choice(len(inputs.told), inputs.prompts)]
            answers, rewards = rolled(inputs, model, some, 20_000 + 100 * seed + number)
            size = inputs.text.vocabulary
            data = scored_answers(answers, rewards, vocabulary=size, end=inputs.text.end)
            if len(data):
                tokens = len(data) * ROW
                spent += inputs.learn(
                    model, PolicyGradient(length=ROW), data, tokens, POLICY_RATE, seed,
                    batch_tokens=tokens, weight_decay=0.0, minimum_steps=1, moments=moments,
                    schedule="constant", warmup=0.0,
                )  # fmt: skip
        return model, spent

    return inputs.made(("GRPO", seed), make)


def tuned_as_long(inputs: Inputs, seed: int, other: Callable[..., tuple[Any, int]]) -> Any:
    """The tuned model, tuned on for the tokens that another stage took."""

    def make() -> tuple[Any, int]:
        model, spent = tuned(inputs, seed)
        more = other(inputs, seed)[1] - spent
        if not more:
            return model, spent
        model, row = copy.deepcopy(model), 2 * ROW
        batch = min(inputs.batch_tokens, max(1, more // (10 * row)) * row)
        tokens = max(1, round(more / batch)) * batch
        return model, spent + inputs.learn(
            model, Instruct(length=row), solved(inputs), tokens, SFT_RATE, seed + 200,
            batch_tokens=batch, minimum_steps=1,
        )  # fmt: skip

    return inputs.made(("SFT", seed, other.__name__), make)


def far(inputs: Inputs, model: Any) -> Ratio:
    """Bits in the second half of each long row of the test text, over its tokens."""
    import torch

    rows = torch.from_numpy(
        Causal(length=inputs.long).prepare(inputs.test, Draws())["tokens"].astype(np.int64)
    )
    half, bits = inputs.long // 2, []
    with torch.inference_mode():
        for some in rows.split(8):
            logs = model(input_ids=some[:, :-1]).logits[:, half:].float().log_softmax(-1)
            chosen = logs.gather(-1, some[:, 1 + half :, None])[..., 0]
            bits.append(-chosen.double().sum(1).numpy() / np.log(2))
    found = np.concatenate(bits)
    return Ratio(found, np.full(len(found), float(inputs.long - half)))


def long_arm(abf: bool) -> Callable[[Inputs, int], Measured]:
    def measure(inputs: Inputs, seed: int) -> Measured:
        model, spent = longer_rows(inputs, seed, abf)
        size = count_parameters(model)
        return Measured({FAR: far(inputs, model)}, tokens=spent, parameters=size)

    return measure


def arm(stage: Callable[..., tuple[Any, int]], *more: Any) -> Callable[[Inputs, int], Measured]:
    def measure(inputs: Inputs, seed: int) -> Measured:
        model, spent = stage(inputs, seed, *more)
        _, rewards = rolled(inputs, model, inputs.asked, 30_000 + seed)
        size = count_parameters(model)
        return Measured({PASS: np.mean(rewards, axis=1)}, tokens=spent, parameters=size)

    return measure


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """DPO starts at log 2, equal rewards give no gradient, ABF changes no weight."""
    model, _ = tuned(inputs, 0)
    model = copy.deepcopy(model)
    answers, rewards = rolled(inputs, model, inputs.told[:40], 0)
    # What is compared need not be better: here the order of drawing decides.
    places = [[float(place) for place in range(len(group))] for group in rewards]
    size, end = inputs.text.vocabulary, inputs.text.end
    pairs = preference_pairs(answers, places, vocabulary=size, end=end)
    objective = Preference(length=2 * ROW)
    found = objective.loss(model, objective.prepare(pairs, Draws()))
    start = found.total.item() / found.n_targets
    yield Invariant("the loss of DPO starts at log 2 within 1e-4", abs(start - np.log(2)) < 1e-4)
    data = scored_answers(answers, places, vocabulary=size, end=end)
    equal = scored_answers(answers, [[1.0] * len(g) for g in rewards], vocabulary=size, end=end)
    data.extra["advantage"] = [0.0] * len(data)
    policy = PolicyGradient(length=ROW)
    policy.loss(model, policy.prepare(data, Draws())).total.backward()
    still = all(bool((p.grad == 0).all()) for p in model.parameters() if p.grad is not None)
    yield Invariant("equal rewards give no gradient at all", still and len(equal) == 0)
    before = Checkpoint.of(base(inputs, 0)[0])
    after = rope_base(before, base=LONG_BASE)
    same = all(bool((after.tensors[n] == t).all()) for n, t in before.tensors.items())
    yield Invariant("another base of rotary positions changes no weight", same)
