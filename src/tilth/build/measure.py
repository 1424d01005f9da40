"""What a build measures: the learning curve beside the n-gram model, bits per byte, overlap."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.build.plan import Plan
from tilth.store.digest import digest
from tilth.store.manifest import write_manifest
from tilth.store.write import write_json
from tilth.types import Progress

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus
    from tilth.models.ngram import NGram
    from tilth.tokens.blocks import TokenBlocks

# How often the curve is measured, and on which share of the held-out bytes.
CURVE_POINTS = 6
CURVE_SHARE = 0.2


def train(folder: Path, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Train the decoder; score held-out text at points on the way, beside the n-gram model.

    The n-gram model of a point has seen the very text that the decoder has seen up to there.
    """
    import torch

    from tilth.evaluation.bits import bits_per_byte
    from tilth.models import decoder
    from tilth.models.ngram import NGram
    from tilth.objectives.causal import Causal
    from tilth.tokens.blocks import TokenBlocks
    from tilth.training.loop import Point, fit
    from tilth.training.order import tokens_seen

    # For all that follows, scoring too: sums depend on the number of threads.
    torch.set_num_threads(plan.train.threads)
    data = TokenBlocks.open(folder / "tokens" / "train")
    held_out = TokenBlocks.open(folder / "tokens" / "test")
    model = decoder.build(
        plan.model.size, vocabulary=data.vocabulary, context=plan.model.context,
        seed=plan.train.seed, spread=decoder.SPREAD,
    )  # fmt: skip
    objective = Causal(length=plan.model.context)
    budget = token_budget(plan, decoder.count_parameters(model), data.total_tokens)
    rows = plan.train.batch_tokens // plan.model.context
    points = curve_points(budget // (rows * plan.model.context))
    chosen = spread(held_out, CURVE_SHARE * plan.evaluate.bytes)
    curve = []

    def on_step(point: Point) -> None:
        if point.step in points:
            scored = bits_per_byte(model, held_out, plan.model.context, documents=chosen)
            curve.append({"tokens": point.tokens, "model": scored["bits_per_byte"]})

    history = fit(
        model, objective, data, tokens=budget, batch_tokens=plan.train.batch_tokens,
        learning_rate=plan.train.learning_rate, schedule=plan.train.schedule,
        seed=plan.train.seed, threads=plan.train.threads, progress=progress, on_step=on_step,
    )  # fmt: skip
    decoder.save(model, folder / "model", folder / "tokens" / "tokenizer")
    for number, entry in enumerate(curve, start=1):
        progress("n-gram models of the curve", number, len(curve))
        text = tokens_seen(
            objective, data, rows=entry["tokens"] // plan.model.context, seed=plan.train.seed
        )
        seen = NGram.train(*text, vocabulary=held_out.vocabulary, order=plan.ngram.order)
        entry["ngram"] = ngram_bits(seen, held_out, chosen)
    whole = spread(held_out, plan.evaluate.bytes)
    target = folder / "evaluation" / "model"
    made = history.plan
    result = {
        "curve": curve,
        "training": {
            **{key: made[key] for key in ("tokens", "parameters", "flops", "epochs", "steps")},
            "vocabulary": data.vocabulary,
            "corpus_tokens": data.total_tokens,
            "dropped_tokens": history.dropped_tokens,
            "loss": [{"tokens": p.tokens, "loss": p.loss} for p in _thinned(history.points)],
        },
        "bits": {
            "model": bits_per_byte(model, held_out, plan.model.context, documents=whole)[
                "bits_per_byte"
            ],
            # The curve's last point lies at the end of training: its model has seen all of it.
            "ngram_seen": ngram_bits(seen, held_out, whole),
            "ngram_all": ngram_bits(NGram.load(folder / "ngram"), held_out, whole),
            "held_out_bytes": int(held_out.text_bytes[whole].sum()),
            "held_out_documents": len(whole),
            "order": plan.ngram.order,
        },
    }
    write_json(target / "model.json", result)
    write_manifest(target, ["model.json"])
    return {"tokens": made["tokens"], "parameters": made["parameters"]}


def token_budget(plan: Plan, parameters: int, corpus_tokens: int) -> int:
    """Tokens to train on: as planned, or by the size of the model and of the corpus.

    Whole steps, and at least ten, which is what a training needs to be one.
    """
    if plan.train.tokens:
        return plan.train.tokens
    wanted = min(plan.train.tokens_per_parameter * parameters, plan.train.epochs * corpus_tokens)
    row = plan.model.context
    step = plan.train.batch_tokens // row * row
    return max(10, math.ceil(wanted / step)) * step


def curve_points(steps: int) -> set[int]:
    """Steps after which the curve is measured: each half of the next, the last one among them."""
    return {max(1, steps >> back) for back in range(CURVE_POINTS)}


def spread(data: TokenBlocks, limit: float) -> list[int]:
    """Document numbers, in an order of their own digests, until about `limit` bytes are reached."""
    ids, sizes = data.ids, data.text_bytes
    chosen: list[int] = []
    taken = 0
    for number in sorted(range(len(ids)), key=lambda n: digest("held out", ids[n])):
        if taken and taken + int(sizes[number]) > limit:
            continue
        chosen.append(number)
        taken += int(sizes[number])
    return sorted(chosen)


def ngram_bits(model: NGram, held_out: TokenBlocks, chosen: list[int]) -> float:
    """Bits per byte of some held-out documents under an n-gram model."""
    documents = held_out.select(chosen)
    offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in documents.tokens])])
    nats = -model.score(np.concatenate(documents.tokens), offsets.astype(np.int64)).sum()
    return float(nats) / math.log(2) / int(held_out.text_bytes[chosen].sum())


def _thinned(points: list[Any], count: int = 100) -> list[Any]:
    kept = points[:: max(1, len(points) // count)]
    return kept if not points or kept[-1] is points[-1] else [*kept, points[-1]]


def overlap(folder: Path, corpus: Corpus, progress: Progress) -> None:
    """Runs of 13 words that held-out documents share with training documents."""
    from tilth.signals.contamination import overlap as shared

    progress("compare held-out with training documents", 0, 0)
    sides = [
        (batch for _, batch in corpus.batches(["text"], kept=True, split=split))
        for split in ("train", "test")
    ]
    target = folder / "evaluation" / "contamination"
    write_json(target / "contamination.json", {"contamination": shared(*sides)})
    write_manifest(target, ["contamination.json"])
