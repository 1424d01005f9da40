"""Which search to use: lexical, dense and fused on the same known items, each told apart honestly.

A sentence is taken out of a document, and the document is then looked for by words of it. Where the
encoder was trained here, items are drawn from held-out documents, which it has not learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.build.plan import Plan
from tilth.evaluation.ranking import KnownItem, evaluate_queries, known_item_queries
from tilth.retrieval.fusion import Fused, cross_fitted, judge, paired, weighted
from tilth.store.digest import digest
from tilth.store.manifest import is_complete, write_manifest
from tilth.store.write import read_json, write_json
from tilth.types import Progress, Retriever, Run

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

INPUTS = ("lexical", "dense", "fused")
MEASURES = ("nDCG@10", "R@10", "RR@10")
K = 10
# A source of more documents is a file of records, not a module with its docstrings.
LARGEST_FAMILY = 1000
# Weights of the dense input that a weighted fusion chooses from.
WEIGHTS = tuple(round(0.1 * n, 1) for n in range(1, 10))


@dataclass(frozen=True)
class Items:
    """Known items, and for each the other documents of its source that hold its sentence too.

    A docstring stands in its module too, and finding the module would say nothing: such documents
    are passed over in every ranking.
    """

    items: list[KnownItem]
    same: list[frozenset[str]]

    @property
    def queries(self) -> dict[str, str]:
        return {str(number): item.query for number, item in enumerate(self.items)}

    @property
    def changed(self) -> dict[str, str]:
        """The texts to be indexed in place of the documents' own."""
        return {item.id: item.text for item in self.items}

    def run(self, search: Callable[[dict[str, str], int], Run]) -> Run:
        """The first ten of every query, what is passed over left out."""
        most = max((len(same) for same in self.same), default=0)
        found = search(self.queries, K + most).rows
        rows = {}
        for number, same in enumerate(self.same):
            answers = [answer for answer in found[str(number)] if answer[0] not in same]
            rows[str(number)] = answers[:K]
        return Run(rows)

    def values(self, run: Run) -> dict[str, np.ndarray]:
        """Measure -> one value a query."""
        qrels = {str(number): {item.id: 1} for number, item in enumerate(self.items)}
        found = evaluate_queries(run, qrels, MEASURES)
        return {name: np.array(list(values.values())) for name, values in found.items()}


def search(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    """Score every index of the run, and leave `evaluation/search`."""
    progress("known-item search", 0, 0)
    result = {"search": scored(folder, plan, corpus)}
    target = folder / "evaluation" / "search"
    write_json(target / "search.json", result)
    write_manifest(target, ["search.json"])


def scored(folder: Path, plan: Plan, corpus: Corpus) -> dict[str, Any]:
    """What `evaluation/search/search.json` holds of the search."""
    from tilth.retrieval.bm25 import BM25
    from tilth.retrieval.dense import Dense

    trained = is_complete(folder / "encoder")
    found = known_items(corpus, plan.evaluate.queries, plan.evaluate.seed, trained)
    retrievers: dict[str, Retriever] = {"lexical": BM25.load(folder / "index")}
    made = dict(read_json(folder / "steps" / "dense.json")["result"] or {})
    if "missing" in made:
        about: dict[str, Any] = {"missing": made["missing"]}
    else:
        retrievers["dense"] = Dense.load(folder / "index" / "dense")
        about = {"index": {"encoder": "trained here" if trained else "given", **made}}
    about["drawn_from"] = "held-out documents" if trained else "all kept documents"
    return {**compared(found, retrievers, plan.dense.fusion, plan.evaluate.seed), **about}


def compared(
    found: Items, retrievers: Mapping[str, Retriever], fusion: str, seed: int
) -> dict[str, Any]:
    """Each retriever (`lexical`, and `dense` where there is one) and their fusion; JSON values.

    The retrievers take in the changed texts. `fusion` is a name of `retrieval.fusion.METHODS`.
    """
    result: dict[str, Any] = {"queries": len(found.items), **dict.fromkeys(INPUTS)}
    if not found.items:
        return result
    values = {}
    for name, retriever in retrievers.items():
        retriever.add(found.changed)
        values[name] = found.values(found.run(retriever.search))
    if len(retrievers) > 1:
        values["fused"], about = fused(found, retrievers, fusion, seed)
        gains = {name: each["nDCG@10"] for name, each in values.items()}
        together = gains.pop("fused")
        result["fusion"] = {**about, **judge(gains, together, seed)}
        result["dense_minus_lexical"] = paired(gains["dense"], gains["lexical"], seed)
    return {**result, **{name: summary(each, seed) for name, each in values.items()}}


def fused(
    found: Items, retrievers: Mapping[str, Retriever], method: str, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Values of a fusion, and what is to be said of it.

    A weight is chosen on other queries than those it is judged on; what the run uses afterwards is
    chosen on all.
    """
    if method == "reciprocal_rank":
        return found.values(found.run(Fused(retrievers).search)), {"method": method}
    both = Fused(retrievers, method="weighted")
    depth = both.depth + max(len(same) for same in found.same)
    runs = {name: made.search(found.queries, k=depth) for name, made in retrievers.items()}
    pools = {
        query: both.candidates(text, {name: run.rows[query] for name, run in runs.items()})
        for query, text in found.queries.items()
    }
    grid: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    for weight in WEIGHTS:
        shares = {"lexical": 1 - weight, "dense": weight}
        rows = {}
        for query, (ids, scores) in pools.items():
            total = zip(ids, weighted(scores, shares).tolist())
            rows[query] = sorted(total, key=lambda pair: (-pair[1], pair[0]))
        made = found.values(found.run(lambda queries, k, rows=rows: Run(rows)))
        for name in MEASURES:
            grid[name].append(made[name])
    chosen, best = cross_fitted(np.array(grid["nDCG@10"]), seed=seed)
    each = np.arange(len(chosen))
    values = {name: np.array(one)[chosen, each] for name, one in grid.items()}
    return values, {"method": method, "dense_weight": WEIGHTS[best]}


def summary(values: Mapping[str, np.ndarray], seed: int) -> dict[str, float]:
    """The mean of each measure, and an interval for nDCG@10 by a bootstrap over queries."""
    gains = values["nDCG@10"]
    draws = np.random.default_rng(seed).choice(gains, (2000, len(gains))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    means = {name: float(each.mean()) for name, each in values.items()}
    return {**means, "ci_low": float(low), "ci_high": float(high)}


def known_items(corpus: Corpus, count: int, seed: int, held_out: bool) -> Items:
    """At most `count` known items of the kept documents (or of those held out), and their like."""
    decisions, columns, splits = corpus.decisions(), corpus.columns(), corpus.splits()
    assert decisions is not None, "the rule is applied before anything is indexed"
    kept = decisions.column("kept").to_numpy(zero_copy_only=False)
    ids = np.asarray(columns.column("id").to_pylist(), dtype=object)
    sources = dict(zip(ids[kept].tolist(), columns.column("source").filter(kept).to_pylist()))
    allowed = kept
    if held_out:
        assert splits is not None, "documents are split before anything is fitted"
        allowed = kept & (np.asarray(splits.column("split").to_pylist(), dtype=str) == "test")
    # More documents than queries: some have no sentence that fits.
    order = sorted(ids[allowed].tolist(), key=lambda id: digest("known item", seed, id))
    sampled = order[: max(3 * count, 300)]
    texts = {id: found.text for id, found in corpus.get_many(sampled).items()}
    items = known_item_queries(texts, np.random.default_rng(seed), count)
    families = _families(sources, {sources[item.id] for item in items})
    around = corpus.get_many([id for family in families.values() for id in family])
    same = [
        frozenset(
            id
            for id in families.get(sources[item.id], [])
            if id != item.id and item.sentence in around[id].text
        )
        for item in items
    ]
    return Items(items, same)


def _families(sources: dict[str, str], wanted: set[str]) -> dict[str, list[str]]:
    """Kept documents of each wanted source; not of record files, whose records stand alone."""
    families: dict[str, list[str]] = {source: [] for source in wanted}
    for id, source in sources.items():
        if source in families:
            families[source].append(id)
    return {source: family for source, family in families.items() if len(family) <= LARGEST_FAMILY}
