"""The steps of `tilth build`, in order. Each reads what those before it left and adds a folder."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tilth import __version__
from tilth.build import curation, indexes, measure, searching
from tilth.build.plan import Plan
from tilth.build.plan_checks import rule_of
from tilth.build.step import step
from tilth.corpus.corpus import Corpus
from tilth.errors import DataError
from tilth.store.digest import digest_value
from tilth.store.events import Events
from tilth.store.write import write_json
from tilth.types import Executor, Progress

# The same for every run: the folder's name would make two equal runs differ.
TITLE = "What these documents are, and what they are good for"


def all_steps(
    folder: Path,
    plan: Plan,
    documents: Sequence[str | Path] | None,
    executor: Executor,
    progress: Progress,
) -> None:
    """Run every step that is not done yet."""
    corpus = Corpus(
        folder / "corpus",
        executor=executor,
        progress=progress,
        block_bytes=plan.documents.block_bytes,
    )
    events = Events(folder / "events.jsonl")
    events.write(
        "start", tilth=__version__, python=platform.python_version(), machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)), workers=executor.workers,
    )  # fmt: skip
    began = time.monotonic()
    installation = curate(corpus, plan, documents)
    events.write("step", step="corpus", seconds=round(time.monotonic() - began, 3))
    tokens(folder, plan, corpus, progress)
    ngram(folder, plan, progress)
    model(folder, plan, progress)
    compare(folder, plan, corpus, progress)
    overlap(folder, corpus, progress)
    indexes.lexical(folder, plan, corpus, progress)
    indexes.encoder(folder, plan, corpus, progress)
    indexes.dense(folder, plan, corpus, progress)
    search(folder, plan, corpus, progress)
    report(folder, plan, corpus, installation)


def curate(
    corpus: Corpus, plan: Plan, documents: Sequence[str | Path] | None
) -> dict[str, Any] | None:
    """Documents to a corpus with decisions and a split; the installation's manifest, if any."""
    from tilth.corpus.duplicates import DUPLICATES
    from tilth.corpus.transforms import TRANSFORMS
    from tilth.corpus.transforms.base import Chain
    from tilth.documents.installation import plan_installation
    from tilth.lookup import construct
    from tilth.signals import SIGNALS

    installation = None
    settings = plan.documents
    if documents is None:
        corpus.progress("list the installation", 0, 0)
        units, problems, listed = plan_installation(limit=settings.installation_bytes)
        installation = {"files": len(listed["files"]), "digest": listed["digest"]}
        write_json(corpus.folder / "installation.json", listed)
        corpus.add_units(units, problems)
    else:
        corpus.add(
            documents,
            include=settings.include,
            exclude=settings.exclude,
            text_column=settings.text_column or None,
            group_by=settings.group_by or None,
            html=settings.html,
        )
    chain = Chain(
        [construct("transform", TRANSFORMS, name, o) for name, o in plan.transforms.items()]
    )
    corpus.transform(chain, "clean", source="documents")
    corpus.measure(construct("signal", SIGNALS, name, o) for name, o in plan.signals.items())
    method = plan.duplicates
    corpus.find_duplicates(construct("duplicates", DUPLICATES, method.method, method.options))
    corpus.select(rule_of(plan))
    corpus.split(plan.split.share, plan.split.seed)
    corpus.drop_others()
    return installation


def texts_by_block(corpus: Corpus, split: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """(block id, ids, texts) of the kept documents of a split; one entry a block."""
    last, ids, texts = "", [], []
    for block, batch in corpus.batches(["id", "text"], kept=True, split=split):
        if block != last and ids:
            yield last, ids, texts
            ids, texts = [], []
        last = block
        ids += batch.column("id").to_pylist()
        texts += batch.column("text").to_pylist()
    if ids:
        yield last, ids, texts


def tokens(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """The tokenizer, trained on training documents only, and the token blocks of both splits."""
    from tilth.tokens import blocks, bpe

    def work() -> dict[str, Any]:
        target = folder / "tokens"
        progress("tokenizer", 0, 0)
        tokenizer = bpe.train(_sample(corpus, plan.tokens.sample_bytes), plan.tokens.vocabulary)
        bpe.save(tokenizer, target / "tokenizer")
        counts = {}
        for split in ("train", "test"):
            progress(f"tokens {split}", 0, 0)
            made = blocks.write_blocks(target / split, texts_by_block(corpus, split), tokenizer)
            counts[split] = {"tokens": made.total_tokens, "bytes": made.total_bytes}
        return counts

    folders = ["tokens/tokenizer", "tokens/train", "tokens/test"]
    made_from = [corpus.digest, vars(plan.tokens)]
    record = step(folder, "tokens", made_from, folders, work)
    for split in ("train", "test"):
        if record["result"][split]["tokens"] == 0:
            raise DataError(
                f"no {split} document was kept, so there is nothing to learn from",
                hint=f"tilth corpus stats {folder} says why; loosen the rule in the plan",
            )


def _sample(corpus: Corpus, limit: int) -> Iterator[str]:
    """Kept training texts, spread over the whole corpus, up to `limit` bytes."""
    import pyarrow.compute as pc

    batches = corpus.batches(["text"], kept=True, split="train")
    total = sum(pc.sum(pc.binary_length(b.column("text"))).as_py() or 0 for _, b in batches)
    # Every stride-th document; the last one is cut, in the sample alone.
    stride = max(1, -(-total // limit))
    number = 0
    for _, _, texts in texts_by_block(corpus, "train"):
        for text in texts:
            if number % stride == 0 and limit > 0:
                data = text.encode("utf-8")
                yield data[:limit].decode("utf-8", "ignore")
                limit -= len(data)
            number += 1


def _tokens_digest(folder: Path, split: str) -> str:
    from tilth.store.manifest import NAME
    from tilth.store.write import read_json

    return digest_value(read_json(folder / "tokens" / split / NAME))


def ngram(folder: Path, plan: Plan, progress: Progress) -> None:
    """The modified Kneser-Ney model over all training tokens."""
    from tilth.tokens.blocks import TokenBlocks

    def work() -> None:
        from tilth.models.ngram import NGram

        progress("n-gram model", 0, 0)
        data = TokenBlocks.open(folder / "tokens" / "train")
        flat, offsets = data.flat()
        trained = NGram.train(flat, offsets, vocabulary=data.vocabulary, order=plan.ngram.order)
        trained.save(folder / "ngram")

    made_from = [_tokens_digest(folder, "train"), vars(plan.ngram)]
    step(folder, "ngram", made_from, ["ngram"], work)


def model(folder: Path, plan: Plan, progress: Progress) -> None:
    """A decoder from scratch, with its curve beside the n-gram model on the same tokens."""

    def work() -> dict[str, Any]:
        return measure.train(folder, plan, progress)

    made_from = [
        _tokens_digest(folder, "train"), _tokens_digest(folder, "test"),
        vars(plan.model), vars(plan.train), plan.evaluate.bytes, plan.ngram.order,
    ]  # fmt: skip
    step(folder, "model", made_from, ["model", "evaluation/model"], work)


def compare(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """Two short trainings that say whether the rule helped."""

    def work() -> None:
        curation.compare(folder, plan, corpus, progress)

    made_from = [
        _tokens_digest(folder, "train"), _tokens_digest(folder, "test"), corpus.digest,
        vars(plan.model), vars(plan.train), vars(plan.evaluate),
    ]  # fmt: skip
    step(folder, "curation", made_from, ["evaluation/curation"], work)


def overlap(folder: Path, corpus: Corpus, progress: Progress) -> None:
    """How much of the held-out text occurs in the training text."""

    def work() -> None:
        measure.overlap(folder, corpus, progress)

    step(folder, "overlap", [corpus.digest], ["evaluation/contamination"], work)


def search(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """Search for known items in every index, to know how good each is."""
    from tilth.retrieval.bm25 import BM25
    from tilth.store.write import read_json

    def work() -> None:
        searching.search(folder, plan, corpus, progress)

    made_from = [
        corpus.digest, vars(plan.index), BM25.version, plan.evaluate.queries, plan.evaluate.seed,
        plan.dense.fusion, read_json(folder / "steps" / "encoder.json"),
        read_json(folder / "steps" / "dense.json"),
    ]  # fmt: skip
    step(folder, "search", made_from, ["evaluation/search"], work)


def report(folder: Path, plan: Plan, corpus: Corpus, installation: dict[str, Any] | None) -> None:
    """The report, from what the other steps left."""
    from tilth.report import write_report
    from tilth.store.write import read_json

    evaluation = {
        **read_json(folder / "evaluation" / "model" / "model.json"),
        **read_json(folder / "evaluation" / "search" / "search.json"),
        **read_json(folder / "evaluation" / "curation" / "curation.json"),
        **read_json(folder / "evaluation" / "contamination" / "contamination.json"),
    }

    def work() -> None:
        corpus.progress("report", 0, 0)
        write_report(folder / "report", corpus, evaluation, title=TITLE, installation=installation)

    made_from = [corpus.digest, evaluation, installation, plan.to_toml()]
    step(folder, "report", made_from, ["report"], work)
