"""KV prediction: a small model reads the prompt and predicts the large one's keys and values.

Horton, Cao, Sun, Jin, Mehta, Rastegari and Nabi (2024). The auxiliary model is half of the base's
layers and learns with a linear map a layer; the base is frozen. Compared with the base, with the
same half trained on the text alone for as long, which is three times the tokens ("pruned"), and
with the auxiliary model answering by itself.

The task is made (facts, and questions that need two of them); the base learns it here, and if it
did not, nothing is decided. Time is that of 30 M random weights, half of the layers for auxiliary,
and a prompt of 512 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.kv_maps import KVMaps
from tilth.serving.edits.kv_prediction import Predictor
from tilth.serving.edits.reading import read
from tilth.serving.model_runner import ModelRunner
from tilth.systems import _predicted_caches as given
from tilth.systems import _two_hop as task
from tilth.systems._edited_files import NATS, RIGHT, SECONDS
from tilth.systems._predicted_caches import Inputs

CARD = Card(
    slug="kv-prediction",
    title="KV Prediction for Improved Time to First Token",
    year=2024,
    family="serving",
    claim="A small model that predicts a large one's cache of the prompt brings the first token as "
    "soon as the small model would, and better answers than the small model gives.",
    part="tilth.serving.edits.kv_prediction.Reader(engine, auxiliary, maps).write(prompt)",
    modules=(
        "tilth.models.kv_maps", "tilth.objectives.kv_prediction",
        "tilth.serving.edits.kv_prediction", "tilth.serving.edits.reading",
        "tilth.serving.kernels", "tilth.serving.model_runner", "tilth.serving.products",
        "tilth.systems._edited_files", "tilth.systems._predicted_caches", "tilth.systems._two_hop",
    ),
    arxiv="2410.08391",
    simulated="texts of facts and questions; the timed prompt and its models",
    when="The time to the first token counts, and a pair of models can be trained once.",
    when_not="The same prompts come again (prefix sharing), or the small model is good enough.",
    not_covered="Auxiliary models of another width; the z-loss; pairs of real size; running text.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small. Half of the layers is
# twice as fast, less 15 per cent: a factor of 1.7.
CLAIMS = (
    Claim(metric=NATS, method="predicted", baseline="pruned", direction=-1, margin=0.02,
          kind="learned", unit="nats", primary=True),
    Claim(metric=NATS, method="predicted", baseline="auxiliary alone", direction=-1, margin=0.02,
          kind="learned", unit="nats"),
    Claim(metric=RIGHT, method="predicted", baseline="pruned", margin=0.02, kind="learned"),
    Claim(metric=NATS, method="base", baseline="predicted", direction=-1, margin=0.0,
          kind="learned", unit="nats"),
    Claim(metric=SECONDS, method="predicted", baseline="base", direction=-1, margin=0.7,
          relative=True, kind="timed"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, cases: int = 200,
    base_tokens: int = task.TOKENS, tokens: int = 300_000,
) -> Prepared:  # fmt: skip
    """`base_tokens` for the base, once for all seeds; `tokens` for what each arm learns."""
    smoke = scale == "smoke"
    base, source = task.base(smoke, base_tokens)
    if smoke:
        cases, tokens = 4, 10 * given.BATCH
    inputs = Inputs(base, given.cases(seed, cases), given.timed(smoke), tokens)
    return Prepared(inputs, models=(source,))


def base_arm(inputs: Inputs, seed: int) -> Measured:
    found = given.measured(inputs, ModelRunner(inputs.base), None)
    return given.result(found, timed=given.clock(inputs, False))


def predicted(inputs: Inputs, seed: int) -> Measured:
    small, maps, history = given.predicting(inputs.base, inputs.tokens, seed)
    runner = ModelRunner(inputs.base)
    found = given.measured(inputs, runner, Predictor(runner, ModelRunner(small), maps))
    return given.result(found, history, timed=given.clock(inputs, True))


def auxiliary(inputs: Inputs, seed: int) -> Measured:
    small, _, history = given.predicting(inputs.base, inputs.tokens, seed)
    return given.result(given.measured(inputs, ModelRunner(small), None), history)


def pruned(inputs: Inputs, seed: int) -> Measured:
    small, history = given.pruned(inputs.base, given.AS_LONG * inputs.tokens, seed)
    return given.result(given.measured(inputs, ModelRunner(small), None), history)


ARMS = {"base": base_arm, "predicted": predicted, "auxiliary alone": auxiliary, "pruned": pruned}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """With itself for auxiliary and the identity for maps, the base reads as always."""
    import torch

    runner, ids = ModelRunner(inputs.base), inputs.cases[0].text
    cache = runner.cache(20, share=False)
    maps = KVMaps.between(inputs.base, inputs.base)
    found = Predictor(runner, runner, maps).read(cache, ids)
    fresh = read(runner, cache, ids)
    near = torch.allclose(found.logits, fresh.logits, atol=1e-5)
    yield Invariant("the identity gives the base's logits", near)
    a, b = (cache.slice(one.chain) for one in (found, fresh))
    same = torch.allclose(a.keys, b.keys, atol=1e-5) and torch.allclose(
        a.values, b.values, atol=1e-5
    )
    yield Invariant("the identity gives the base's cache", same)
