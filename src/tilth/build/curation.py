"""Did curation help? Two short trainings, one on kept documents, one on a random twin.

Both learn from equally many bytes and tokens, drawn by digest: one sample of the kept training
documents, one of all that were read, kept or not. Both are scored on the same held-out documents,
which the rule kept; so the question is whether the rule helps with text that the rule likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.build.plan import Plan
from tilth.store.digest import digest
from tilth.store.manifest import write_manifest
from tilth.store.write import read_json, write_json
from tilth.types import Progress

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus
    from tilth.tokens.blocks import TokenBlocks

ARMS = ("curated", "twin")
# A tokenizer makes fewer tokens than this of a byte: a sample of so many bytes lasts one epoch.
BYTES_PER_TOKEN = 4
DRAWS = 2000
LEAST_STEPS = 10


def compare(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """Train both arms for each seed, score them, and leave `evaluation/curation`."""
    result = _compared(folder, plan, corpus, progress)
    target = folder / "evaluation" / "curation"
    write_json(target / "curation.json", {"curation": result})
    write_manifest(target, ["curation.json"])


def _compared(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> dict[str, Any]:
    import torch

    from tilth.build.measure import CURVE_SHARE, spread
    from tilth.evaluation.bits import bits_per_byte
    from tilth.models import decoder
    from tilth.objectives.causal import Causal
    from tilth.tokens.blocks import TokenBlocks
    from tilth.training.loop import fit

    wanted = plan.evaluate.curation_tokens
    if not wanted:
        return {"missing": "the plan leaves it out (evaluate.curation_tokens = 0)"}
    # All trainings together cost as much as the model itself, and not more.
    trained = read_json(folder / "evaluation" / "model" / "model.json")["training"]["tokens"]
    wanted = min(wanted, trained // (len(ARMS) * plan.evaluate.curation_seeds))
    samples = draw(corpus, wanted * BYTES_PER_TOKEN)
    if samples is None:
        return {"missing": "no training document was dropped, so a random twin is the same text"}
    progress("tokens of a random twin", 0, 0)
    data = token_samples(folder, corpus, samples)
    held_out = TokenBlocks.open(folder / "tokens" / "test")
    # The trainings differ by more than the documents do: a part of them is enough.
    chosen = spread(held_out, CURVE_SHARE * plan.evaluate.bytes)
    row = plan.model.context
    batch = plan.train.batch_tokens // row * row
    least = min(data[arm].total_tokens for arm in ARMS)
    tokens = int(min(wanted, plan.train.epochs * least)) // batch * batch
    if tokens < LEAST_STEPS * batch:
        return {"missing": f"trainings of so little text have fewer than {LEAST_STEPS} steps"}
    torch.set_num_threads(plan.train.threads)
    bits = {arm: [] for arm in ARMS}
    for seed in range(plan.train.seed, plan.train.seed + plan.evaluate.curation_seeds):
        for arm in ARMS:
            model = decoder.build(
                plan.model.size, vocabulary=held_out.vocabulary, context=row, seed=seed,
                spread=decoder.SPREAD,
            )  # fmt: skip
            fit(
                model, Causal(length=row), data[arm], tokens=tokens,
                batch_tokens=plan.train.batch_tokens, learning_rate=plan.train.learning_rate,
                schedule=plan.train.schedule, seed=seed, threads=plan.train.threads,
                progress=lambda _, done, all, arm=arm: progress(f"train {arm}", done, all),
            )  # fmt: skip
            scored = bits_per_byte(model, held_out, row, documents=chosen)
            bits[arm].append(scored["per_document"]["bits"])
    sizes = np.asarray(held_out.text_bytes)[chosen]
    found = interval(np.array(bits["curated"]), np.array(bits["twin"]), sizes, plan.evaluate.seed)
    return {
        "metric": "bits per byte",
        "tokens": tokens,
        "seeds": plan.evaluate.curation_seeds,
        "held_out_documents": len(chosen),
        **{arm: float(np.sum(bits[arm]) / sizes.sum() / len(bits[arm])) for arm in ARMS},
        "dropped_share": samples["dropped_share"],
        **found,
    }


def draw(corpus: Corpus, limit: int) -> dict[str, Any] | None:
    """Ids of the two samples, of equal bytes within a document; None where nothing was dropped."""
    decisions, splits = corpus.decisions(), corpus.splits()
    assert decisions is not None and splits is not None
    training = np.asarray(pc.equal(splits.column("split"), "train"))
    # A dropped copy of a held-out document may be in the split for training: neither arm sees it.
    cluster = np.array([c or "" for c in corpus.columns().column("cluster").to_pylist()])
    tested = np.asarray(pc.equal(splits.column("split"), "test"))
    held_out = set(cluster[tested].tolist()) - {""}
    training = training & ~np.isin(cluster, list(held_out))
    kept = decisions.column("kept").to_numpy(zero_copy_only=False) & training
    if not (training & ~kept).any():
        return None
    sizes = np.concatenate(
        [np.asarray(pc.binary_length(b.column("text"))) for _, b in corpus.batches(["text"])]
    )
    ids = np.asarray(decisions.column("id").to_pylist(), dtype=object)
    budget = min(limit, int(sizes[kept].sum()))
    order = np.array(sorted(range(len(ids)), key=lambda n: digest("random twin", ids[n])))
    dropped = sizes[training & ~kept].sum() / sizes[training].sum()
    samples: dict[str, Any] = {"dropped_share": float(dropped)}
    for arm, allowed in zip(ARMS, (kept, training)):
        rows = order[allowed[order]]
        reached = np.searchsorted(np.cumsum(sizes[rows]), budget) + 1
        samples[arm] = ids[rows[:reached]].tolist()
    return samples


def token_samples(folder: Path, corpus: Corpus, samples: dict[str, Any]) -> dict[str, TokenBlocks]:
    """Token blocks of both samples, below `evaluation/curation`."""
    from tilth.tokens import bpe
    from tilth.tokens.blocks import write_blocks

    tokenizer = bpe.load(folder / "tokens" / "tokenizer")
    target = folder / "evaluation" / "curation"
    return {
        arm: write_blocks(target / arm, _texts(corpus, samples[arm]), tokenizer) for arm in ARMS
    }


def _texts(corpus: Corpus, ids: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """(block id, ids, texts) of these documents; one entry a block that holds any."""
    wanted = pa.array(ids, pa.string())
    found: dict[str, tuple[list[str], list[str]]] = {}
    for block, batch in corpus.batches(["id", "text"]):
        if block not in found and found:
            yield _entry(found)
        part = batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
        if part.num_rows:
            names, texts = found.setdefault(block, ([], []))
            names += part.column("id").to_pylist()
            texts += part.column("text").to_pylist()
    if found:
        yield _entry(found)


def _entry(found: dict[str, tuple[list[str], list[str]]]) -> tuple[str, list[str], list[str]]:
    block, (names, texts) = found.popitem()
    return block, names, texts


def interval(curated: np.ndarray, twin: np.ndarray, sizes: np.ndarray, seed: int) -> dict[str, Any]:
    """Curated minus twin in bits per byte, with a bootstrap over seeds, then documents.

    curated, twin: bits, (seeds, documents); sizes: bytes of each document. Fewer bits are better.
    """
    difference = curated - twin
    random = np.random.default_rng(seed)
    runs, documents = difference.shape
    draws = np.empty(DRAWS)
    for number in range(DRAWS):
        rows = random.integers(runs, size=runs)
        columns = random.integers(documents, size=documents)
        total = max(1, int(sizes[columns].sum()))
        draws[number] = difference[np.ix_(rows, columns)].sum() / total / runs
    low, high = np.quantile(draws, [0.025, 0.975])
    # With a handful of trainings their own spread is hardly known: each pair has to say the same.
    each = difference.sum(axis=1)
    verdict = "undecided"
    if high < 0 and (each < 0).all():
        verdict = "yes"
    elif low > 0 and (each > 0).all():
        verdict = "no"
    mean = float(difference.sum() / sizes.sum() / runs)
    return {"difference": mean, "ci_low": float(low), "ci_high": float(high), "verdict": verdict}
