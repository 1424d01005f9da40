"""The run folder: what `tilth build` leaves, and how it is used again.

plan.resolved.toml   every setting; alone governs a restart
corpus/              layers, signals, decisions, lineage
tokens/              tokenizer, training and held-out token blocks
ngram/  model/       the modified Kneser-Ney model; a Hugging Face folder
index/               BM25 over the kept documents; dense/ in it: passages as vectors
encoder/             the encoder of the dense index, where it was trained here
evaluation/          what was measured, as JSON
report/              report.html and report.json
steps/               what each step was made from; manifest.json comes last of all
events.jsonl         times and host facts, outside every digest
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError
from tilth.store.manifest import is_complete
from tilth.store.write import read_json
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tilth.build.plan import Plan
    from tilth.corpus.corpus import Corpus
    from tilth.documents.document import Document

    Texts = Callable[[Sequence[str]], Mapping[str, Document]]

# Kinds of search, and the part of a run that does it.
SEARCHES = {"lexical": "index", "dense": "dense", "fused": "fused"}
TOP_K = 50


@dataclass(frozen=True)
class Hit:
    """One answer of a search: a document with its best passage.

    `matches` are offsets in `passage`, which begins at character `start` of the document's text.
    """

    rank: int
    score: float
    id: str
    source: str
    title: str
    passage: str
    matches: tuple[tuple[int, int], ...]
    start: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def marked(self, before: str = "[", after: str = "]") -> str:
        """The passage with its matching words marked."""
        parts, at = [], 0
        for start, stop in self.matches:
            parts += [self.passage[at:start], before, self.passage[start:stop], after]
            at = stop
        return "".join([*parts, self.passage[at:]])


class Run:
    """A finished (or half-finished) run folder. Parts are opened when they are asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "plan.resolved.toml").is_file():
            raise DataError(
                "is not a run folder", where=str(folder), hint="tilth build DOCUMENTS -o RUN"
            )

    def _part(self, name: str) -> Path:
        if not is_complete(self.folder):
            raise DataError(
                "this run is unfinished", where=str(self.folder), hint="type the same build again"
            )
        return self.folder / name

    @functools.cached_property
    def corpus(self) -> Corpus:
        from tilth.corpus.corpus import Corpus

        return Corpus(self._part("corpus"))

    @functools.cached_property
    def index(self) -> Any:
        """The lexical index: a `Retriever`."""
        from tilth.retrieval.bm25 import BM25

        return BM25.load(self._part("index"))

    @functools.cached_property
    def dense(self) -> Any:
        """The dense index: a `Retriever`. Raises DataError, saying why, where there is none."""
        from tilth.retrieval.dense import Dense

        folder = self._part("index") / "dense"
        if not is_complete(folder):
            result = read_json(self._part("steps") / "dense.json")["result"] or {}
            raise DataError(
                f"this run has no dense index: {result.get('missing', 'it was not built')}",
                where=str(self.folder),
                hint="--with lexical",
            )
        return Dense.load(folder)

    @functools.cached_property
    def fused(self) -> Any:
        """Lexical and dense search joined, as the report measured it."""
        from tilth.retrieval.fusion import Fused

        found = read_json(self._part("evaluation") / "search" / "search.json")["search"]
        method = found.get("fusion") or {"method": "reciprocal_rank"}
        weight = method.get("dense_weight", 0.5)
        return Fused(
            {"lexical": self.index, "dense": self.dense},
            method=method["method"],
            weights={"lexical": 1 - weight, "dense": weight},
        )

    @functools.cached_property
    def tokenizer(self) -> Any:
        from tilth.tokens import bpe

        # The model's own copy: it is never ahead of the model.
        return bpe.load(self._part("model"))

    @functools.cached_property
    def model(self) -> Any:
        """The trained decoder: a `transformers` model."""
        from tilth.models import decoder

        return decoder.load(self._part("model"))

    @functools.cached_property
    def engine(self) -> Any:
        """The engine that serves the model, one prompt at a time."""
        from tilth.serving.engine import Engine

        return Engine(self._part("model"), sequences=1)

    @property
    def report(self) -> dict[str, Any]:
        return dict(read_json(self._part("report") / "report.json"))

    def search(
        self, query: str, k: int = 5, using: str = "lexical", texts: Texts | None = None
    ) -> list[Hit]:
        """The k best documents by `lexical`, `dense` or `fused` search, each with a passage.

        `texts` gives documents by id; None: the corpus, which reads its files each time.
        Lexical and fused hits show the passage that holds most of the query's words, dense ones the
        part of the nearest passage that does.
        """
        from tilth.errors import nearest
        from tilth.retrieval.highlight import best_passage

        if using not in SEARCHES:
            raise UsageError(f"there is no search {using!r}", hint=nearest(using, SEARCHES))
        retriever = getattr(self, SEARCHES[using])
        index = self.index
        answers = retriever.search([query], k=k).rows["0"]
        ids = [id for id, _ in answers]
        spans = [None] * len(ids) if using != "dense" else retriever.best_passages(query, ids)
        weights = index.idf(index.analyzer.terms(query))
        documents = (texts or self.corpus.get_many)(ids)
        hits = []
        for rank, ((id, score), span) in enumerate(zip(answers, spans), start=1):
            document = documents[id]
            text = document.text[slice(*span)] if span else document.text
            start, stop, matches = best_passage(text, query, index.analyzer, idf=weights)
            metadata = document.metadata
            title = metadata.get("title") or metadata.get("qualified_name") or ""
            within = tuple((a - start, b - start) for a, b in matches)
            begins = start + (span[0] if span else 0)
            hits.append(
                Hit(rank, score, id, document.source, title, text[start:stop], within, begins)
            )
        return hits

    def explain(self, query: str, id: str, using: str = "lexical") -> list[tuple[str, float]]:
        """What a hit's score is made of: words for lexical search, else the score of each input."""
        if using == "lexical":
            return list(self.index.explain(query, id))
        inputs = {"dense": self.dense} if using == "dense" else self.fused.retrievers
        return [(name, float(made.score([query], [id])[0, 0])) for name, made in inputs.items()]

    def generate(
        self, prompt: str, tokens: int = 64, temperature: float = 0.8, seed: int = 0
    ) -> str:
        """The model's continuation of a prompt, without the prompt."""
        return self.engine.generate(
            [prompt], tokens=tokens, temperature=temperature, seed=seed, top_k=TOP_K
        )[0]

    def summary(self) -> dict[str, Any]:
        """Counts, and the first screen of the report; a JSON value."""
        return {"corpus": self.corpus.stats(), "first_screen": self.first_screen()}

    def first_screen(self) -> list[str]:
        from tilth.report.findings import first_screen

        return first_screen(self.report)


def open_corpus(folder: str | Path) -> Corpus:
    """The corpus in a run folder, or the corpus folder itself."""
    from tilth.corpus.corpus import Corpus

    for candidate in (Path(folder) / "corpus", Path(folder)):
        if (candidate / "lineage.jsonl").is_file():
            return Corpus(candidate)
    raise DataError("holds no corpus", where=str(folder), hint="tilth build DOCUMENTS -o RUN")


def build(
    documents: str | Path | Sequence[str | Path] | None = None,
    out: str | Path = "tilth-run",
    *,
    plan: Plan | None = None,
    settings: Sequence[str] = (),
    workers: int | None = None,
    executor: str = "local",
    progress: Progress = silent,
) -> Run:
    """From documents to corpus, tokenizer, model, index and report, in one run folder.

    `documents`: files, folders or globs; None takes the Python installation. Called again on the
    same folder it continues a killed run, or does again only what a changed plan or changed
    documents ask for. Without a plan, `plan.resolved.toml` of the folder governs, else defaults;
    `settings` (`section.key=value`) are applied to it. Raises UsageError before anything is written
    for documents that do not exist and for wrong settings.
    """
    from tilth.build import steps
    from tilth.build.plan import Plan, load
    from tilth.build.plan_checks import check_source
    from tilth.corpus import EXECUTORS
    from tilth.documents.walk import check
    from tilth.lookup import construct
    from tilth.store.lock import NAME as LOCK
    from tilth.store.lock import lock
    from tilth.store.manifest import NAME as MANIFEST
    from tilth.store.manifest import write_manifest
    from tilth.store.write import TEMPORARY, remove_temporary, write_text

    folder = Path(out)
    mapper = construct("executor", EXECUTORS, executor, {"workers": workers})
    if isinstance(documents, (str, Path)):
        documents = [documents]
    resolved = folder / "plan.resolved.toml"
    inside = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    # A build that was killed at its very first write leaves only these.
    inside = {name for name in inside if name != LOCK and TEMPORARY not in name}
    if inside and not resolved.is_file():
        raise DataError("is not empty and not a run folder", where=str(folder), hint="-o NEW")
    before = load(resolved) if resolved.is_file() else Plan()
    plan = (plan or before).with_settings(settings)
    if documents is not None:
        check(documents)
    plan = _with_source(plan, before, "installation" if documents is None else "files", folder)
    # Only now is the source known, and with it which settings would have no effect.
    check_source(plan, str(folder))
    with lock(folder):
        remove_temporary(folder)
        # Without its manifest a run is visibly unfinished: parts may be of different states.
        (folder / MANIFEST).unlink(missing_ok=True)
        write_text(resolved, plan.to_toml())
        steps.all_steps(folder, plan, documents, mapper, progress)
        records = sorted(path.name for path in (folder / "steps").iterdir())
        write_manifest(folder, ["plan.resolved.toml", *(f"steps/{name}" for name in records)])
    return Run(folder)


def _with_source(plan: Plan, before: Plan, source: str, folder: Path) -> Plan:
    """The plan with its source of documents; refuses to turn a run into one of another kind."""
    from dataclasses import replace

    was = before.documents.source or plan.documents.source
    if was and was != source:
        raise UsageError(
            f"is a run of {'documents' if was == 'files' else 'the Python installation'}",
            where=str(folder),
            hint="name its documents again" if was == "files" else "choose another -o",
        )
    return replace(plan, documents=replace(plan.documents, source=source))
