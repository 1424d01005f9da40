"""The steps that make indexes: lexical, an encoder where none is given, and dense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.build.plan import Plan
from tilth.build.step import step
from tilth.errors import DataError
from tilth.store.digest import digest, sha256_file
from tilth.store.manifest import NAME, is_complete
from tilth.store.write import read_json
from tilth.types import Progress

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus
    from tilth.retrieval.encoders.pairs import Pair

# What decides how an encoder is trained here.
TRAINING = ("passage", "pairs", "epochs", "dimensions", "layers", "seed")
LEFT_OUT = "the plan leaves it out (dense.pairs = 0)"


def lexical(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """BM25 over all kept documents, held-out ones too."""
    from tilth.retrieval.bm25 import BM25

    def work() -> None:
        progress("index", 0, 0)
        retriever = BM25(k1=plan.index.k1, b=plan.index.b)
        retriever.fit_batches(_kept(corpus))
        retriever.save(folder / "index")

    step(folder, "index", [corpus.digest, vars(plan.index), BM25.version], ["index"], work)


def encoder(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """An encoder trained on pairs from the training documents, where the plan gives none."""
    settings = plan.dense
    wanted = settings.pairs > 0 and not settings.encoder

    def work() -> dict[str, Any]:
        from tilth.retrieval.encoders.training import train_encoder
        from tilth.tokens import bpe

        if not wanted:
            return {"missing": LEFT_OUT if not settings.encoder else "one is given"}
        progress("pairs for the encoder", 0, 0)
        pairs = training_pairs(corpus, plan)
        source = folder / "tokens" / "tokenizer"
        try:
            made = train_encoder(
                pairs, bpe.load(source), dimensions=settings.dimensions, layers=settings.layers,
                seed=settings.seed, threads=plan.train.threads, progress=_named(progress),
                files={name: (source / name).read_bytes() for name in bpe.FILES},
            )  # fmt: skip
        except DataError as error:
            return {"missing": error.what}
        made.save(folder / "encoder")
        return {"pairs": len(pairs), "cut_tokens": made.cut_tokens}

    made_from: list[Any] = [wanted]
    if wanted:
        tokenizer = sha256_file(folder / "tokens" / "tokenizer" / NAME)
        chosen = {name: getattr(settings, name) for name in TRAINING}
        made_from += [corpus.digest, tokenizer, chosen, plan.train.threads]
    step(folder, "encoder", made_from, ["encoder"], work)


def dense(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """Vectors of the passages of all kept documents, with the encoder that made them."""
    import torch

    from tilth.retrieval.dense import Dense
    from tilth.retrieval.encoders import load_encoder

    settings, target = plan.dense, folder / "index" / "dense"
    made = None
    if settings.pairs and settings.encoder:
        made = load_encoder(settings.encoder)
    elif settings.pairs and is_complete(folder / "encoder"):
        made = load_encoder(folder / "encoder")

    def work() -> dict[str, Any]:
        if made is None:
            return dict(read_json(folder / "steps" / "encoder.json")["result"])
        torch.set_num_threads(plan.train.threads)
        made.cut_tokens = 0
        retriever = Dense(encoder=made, target=settings.passage)
        retriever.fit_batches(_kept(corpus), progress)
        retriever.save(target)
        counts = {"documents": len(retriever), "passages": retriever.passages}
        return {**counts, "cut_tokens": made.cut_tokens, "dimensions": made.dimensions}

    fingerprint = None if made is None else made.fingerprint
    made_from = [corpus.digest, fingerprint, settings.passage, Dense.version, plan.train.threads]
    step(folder, "dense", made_from, ["index/dense"], work)


def training_pairs(corpus: Corpus, plan: Plan) -> list[Pair]:
    """At most `dense.pairs` pairs of training documents, in an order of their own digests."""
    from tilth.retrieval.encoders.pairs import make_pairs

    settings = plan.dense
    ids, sizes = _training_documents(corpus)
    order = sorted(range(len(ids)), key=lambda n: digest("encoder", settings.seed, ids[n]))
    # Nearly every passage gives a pair: more bytes than these would not be looked at.
    enough = np.searchsorted(np.cumsum(sizes[order]), 2 * settings.pairs * settings.passage) + 1
    chosen = [ids[n] for n in order[:enough]]
    found = corpus.get_many(chosen)
    documents = [(id, _title(found[id].metadata), found[id].text) for id in chosen]
    pairs: list[Pair] = []
    number = 0
    while number < settings.epochs and len(pairs) < settings.pairs:
        # Part of an epoch is that part of the documents.
        share = min(1.0, settings.epochs - number)
        part = documents[: max(1, round(share * len(documents)))]
        before = len(pairs)
        for pair in make_pairs(part, settings.passage, seed=settings.seed, round=number):
            pairs.append(pair)
            if len(pairs) >= settings.pairs:
                break
        if len(pairs) == before:
            break
        number += 1
    return pairs


def _training_documents(corpus: Corpus) -> tuple[list[str], np.ndarray]:
    import pyarrow.compute as pc

    ids: list[str] = []
    sizes = [np.zeros(0, np.int64)]
    for _, batch in corpus.batches(["id", "text"], kept=True, split="train"):
        ids += batch.column("id").to_pylist()
        sizes.append(pc.binary_length(batch.column("text")).to_numpy().astype(np.int64))
    return ids, np.concatenate(sizes)


def _title(metadata: dict[str, Any]) -> str:
    return str(metadata.get("title") or metadata.get("qualified_name") or "")


def _kept(corpus: Corpus) -> Iterator[tuple[list[str], list[str]]]:
    for _, batch in corpus.batches(["id", "text"], kept=True):
        yield batch.column("id").to_pylist(), batch.column("text").to_pylist()


def _named(progress: Progress) -> Progress:
    return lambda _, done, total: progress("train the encoder", done, total)
