"""PIE: the cache of a file follows an edit; nothing behind the edit is computed again.

He et al. (2024). Keys behind an edit are turned to where they stand now, values stay. Compared with
reading the edited file whole, with keys left where they were ("conflict"), and with a hybrid of our
own that runs the twentieth of the tail that changed most again.

Files are made: who works where and which firm sits where, a line each, and a question that needs
two lines; the model learns that here, and if it did not, nothing is decided. Time is that of 30 M
random weights and a file of 768 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.serving.edits.pie import Edit, edited
from tilth.serving.edits.reading import read
from tilth.serving.model_runner import ModelRunner
from tilth.systems import _edited_files as given
from tilth.systems import _two_hop as task
from tilth.systems._edited_files import KL, NATS, RIGHT, SECONDS, Inputs

CARD = Card(
    slug="pie",
    title="Let the Code LLM Edit Itself When You Edit the Code",
    year=2024,
    family="serving",
    claim="When a file is edited, turning the keys behind the edit to their new positions is "
    "almost as good as reading the file again, for a small part of the work; keeping old positions "
    "is not.",
    part="tilth.serving.edits.pie.OpenText(engine, text).edit(changed)",
    modules=(
        "tilth.serving.edits.cacheblend", "tilth.serving.edits.pie", "tilth.serving.edits.reading",
        "tilth.serving.kernels", "tilth.serving.model_runner", "tilth.serving.products",
        "tilth.systems._edited_files", "tilth.systems._two_hop",
    ),
    arxiv="2407.03157",
    simulated="files of facts, their edits and questions; the timed file and its model",
    when="A long text is changed a little again and again, and an answer is wanted at once.",
    when_not="What stands behind the edit must have read it, or the text is short: reading some "
    "hundred tokens anew costs next to nothing.",
    not_covered="Code of real projects and models that know it; edits of thousands of tokens; "
    "positions that are not rotary.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small. 0.03 nats are 3 per
# cent of perplexity; 15 per cent of the time is a factor of 6.67.
CLAIMS = (
    Claim(metric=NATS, method="pie", baseline="full", direction=-1, margin=-0.03, kind="counted",
          unit="nats", primary=True),
    Claim(metric=RIGHT, method="pie", baseline="full", margin=-0.01, kind="counted"),
    Claim(metric=KL, method="pie", baseline="conflict", direction=-1, margin=1.0, relative=True,
          kind="counted"),
    Claim(metric=KL, method="pie and 5 %", baseline="pie", direction=-1, margin=0.0,
          kind="counted"),
    Claim(metric=SECONDS, method="pie", baseline="full", direction=-1, margin=1 / 0.15 - 1,
          relative=True, kind="timed"),
    Claim(metric=SECONDS, method="pie", baseline="pie and 5 %", direction=-1, margin=0.0,
          relative=True, kind="timed"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, files: int = 200,
    tokens: int = task.TOKENS,
) -> Prepared:  # fmt: skip
    """`files` a seed; `tokens` for the model to learn the task from, once for all seeds."""
    smoke = scale == "smoke"
    made, source = task.base(smoke, tokens)
    files = 4 if smoke else files
    runner = ModelRunner(made)
    some = given.files(seed, files)
    inputs = Inputs(runner, some, given.full_readings(runner, some), given.timed(seed, smoke))
    return Prepared(inputs, models=(source,))


def arm(**options: Any) -> Callable[[Inputs, int], Measured]:
    """The arm whose cache follows the edit, with these options."""

    def follow(runner: Any, cache: Any, reading: Any, edits: list[Edit], after: Any) -> Any:
        return edited(runner, cache, reading, edits, **options)

    return lambda inputs, seed: given.scores(inputs, follow)


ARMS = {
    "full": lambda inputs, seed: given.scores(inputs, given.anew),
    "pie": arm(),
    "conflict": arm(turn=False),
    "pie and 5 %": arm(refresh=0.05),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """What is exact: the first layer, what stands before an edit, and edits at the end."""
    import torch

    runner, clock = inputs.timed.runner, inputs.timed
    cache = runner.cache(200, share=False)
    before, after = clock.reading.ids, clock.after

    def rows(reading: Any, layers: int | None = None, stop: int | None = None) -> Any:
        found = cache.slice(reading.chain, 0, stop)
        return torch.stack([found.keys[:layers], found.values[:layers]])

    def near(one: Any, other: Any) -> bool:
        return bool(torch.allclose(one, other, atol=1e-5))

    found = edited(runner, cache, read(runner, cache, before), clock.edits)
    fresh = read(runner, cache, after)
    behind = clock.edits[0].start + len(clock.edits[0].ids)
    yield Invariant(
        "the first layer is that of a full reading", near(rows(found, 1), rows(fresh, 1))
    )
    yield Invariant(
        "rows up to the end of the edit are those of a full reading",
        near(rows(found, stop=behind), rows(fresh, stop=behind)),
    )
    cut = [*before[:-3], *after[:2]]
    end = edited(runner, cache, read(runner, cache, before),
                 [Edit(len(before) - 3, len(before), tuple(after[:2]))])  # fmt: skip
    for chain in (found.chain, fresh.chain):
        cache.free(chain)
    yield Invariant("an edit at the end is exact", near(rows(end), rows(read(runner, cache, cut))))
    same = edited(runner, cache, end, [])
    yield Invariant("no edit changes nothing", same.chain is end.chain and same.run == 0)
