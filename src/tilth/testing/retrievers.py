"""Does a retriever keep its contract? For tilth's own and for those of other packages.

    from tilth.testing.retrievers import check_retriever

    def test_my_retriever():
        check_retriever(lambda: MyRetriever(option=3))

Raises AssertionError and needs no test framework.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tilth.errors import UsageError
from tilth.testing import hostile
from tilth.testing.common import check_method
from tilth.testing.faults import tree
from tilth.types import Retriever, Run

TEXTS = (
    "a wing in a slipstream",
    "the slipstream of a propeller and the wing behind it",
    "shear flow past a flat plate",
    "flow, flow, flow",
    "how to limit the memory of a child process",
    "a child asks how memory works",
    "\u6f22\u5b57\u3068\u4eee\u540d\u306e\u6587\u7ae0",
    "the same text",
    "the same text",
    "",
)
DOCUMENTS = {f"document {number}": text for number, text in enumerate(TEXTS)}
EXTRA = {"another": "a propeller asks for memory", "document 3x": "the plate, the text, the flow"}
QUERIES = (
    "the flow past a wing",
    "memory of a child",
    "the same text",
    "",
    "flow flow \u6587\u7ae0",
)

Make = Callable[[], Any]


def check_retriever(make: Make, tolerance: float = 0.0) -> None:
    """Raise AssertionError, saying what is wrong, where the retriever breaks its contract.

    `make` gives a new, empty one each time; `tolerance` is the relative difference of scores that
    is allowed where the order of sums is not fixed (matrix products). Checked: answers come by
    score, then by id; the same for one query or many, one document or many at a time, any order of
    adding, after adding and removing, after replacing, and from a saved folder; saved bytes depend
    on the documents alone; nothing and one document; hostile texts and ids; an unknown id is
    refused and changes nothing. And what `check_method` says of every method.
    """
    check_method("retriever", make())
    check = _Check(make, tolerance)
    check.form()
    check.small()
    check.same()
    check.updates()
    check.folders()
    check.hostile_texts()


class _Check:
    def __init__(self, make: Make, tolerance: float) -> None:
        self.make, self.tolerance = make, tolerance
        self.label = f"retriever {make().name!r}"
        assert isinstance(make(), Retriever), f"{self.label} lacks a method of types.Retriever"
        self.built = self.fit(DOCUMENTS)

    def fit(self, documents: Mapping[str, str]) -> Any:
        before = dict(documents)
        fitted = self.make().fit(documents)
        assert fitted is not None, f"{self.label}: fit must return the retriever"
        assert dict(documents) == before, f"{self.label} changed its documents"
        return fitted

    def equal(self, found: Run, expected: Run, what: str) -> None:
        where = f"{self.label}, {what}"
        assert list(found.rows) == list(expected.rows), f"{where}: other queries"
        for query, answers in expected.rows.items():
            got = found.rows[query]
            ids, wanted = [id for id, _ in got], [id for id, _ in answers]
            assert ids == wanted, f"{where}: query {query!r} found {ids}, not {wanted}"
            for (id, score), (_, other) in zip(got, answers):
                near = math.isclose(score, other, rel_tol=self.tolerance, abs_tol=self.tolerance)
                assert near, f"{where}: {id!r} has score {score!r}, not {other!r}"

    def equals_built(self, retriever: Any, what: str) -> None:
        """The same answers and scores as an index built from DOCUMENTS at once."""
        for k in (1, 3, 100):
            expected = self.built.search(QUERIES, k=k)
            self.equal(retriever.search(QUERIES, k=k), expected, f"{what}, k={k}")

    def ordered(self, run: Run, k: int, known: Mapping[str, str]) -> None:
        for query, answers in run.rows.items():
            where = f"{self.label}: query {query!r}"
            assert len(answers) <= k, f"{where} has {len(answers)} answers for k={k}"
            ids = [id for id, _ in answers]
            assert len(set(ids)) == len(ids), f"{where} found a document twice"
            assert set(ids) <= set(known), f"{where} found what is not there"
            assert all(type(score) is float for _, score in answers), f"{where}: not Python floats"
            assert all(math.isfinite(score) for _, score in answers), f"{where}: scores not finite"
            in_order = sorted(answers, key=lambda pair: (-pair[1], pair[0]))
            assert answers == in_order, f"{where}: not by score, then by id: {answers}"

    def form(self) -> None:
        """Names of queries, order of answers, scores that agree."""
        run = self.built.search(list(QUERIES), k=3)
        names = [str(number) for number in range(len(QUERIES))]
        assert list(run.rows) == names, f"{self.label}: queries of a list are named '0', '1', ..."
        assert any(run.rows.values()), f"{self.label} found nothing at all"
        named = self.built.search({f"q{name}": QUERIES[int(name)] for name in names}, k=3)
        renamed = Run({f"q{name}": answers for name, answers in run.rows.items()})
        self.equal(named, renamed, "queries with names of their own")
        for k in (1, 2, len(DOCUMENTS), 1000):
            self.ordered(self.built.search(QUERIES, k=k), k, DOCUMENTS)
        ids = list(reversed(DOCUMENTS))
        scores = self.built.score(QUERIES, ids)
        assert scores.shape == (len(QUERIES), len(ids)), f"{self.label}: scores {scores.shape}"
        for query, answers in self.built.search(QUERIES, k=1000).rows.items():
            for id, score in answers:
                found = float(scores[int(query), ids.index(id)])
                near = math.isclose(found, score, rel_tol=self.tolerance, abs_tol=self.tolerance)
                assert near, f"{self.label}: score() says {found!r} of {id!r}, search() {score!r}"

    def small(self) -> None:
        """No document, no query, one document."""
        for empty in (self.make(), self.fit({})):
            rows = empty.search(QUERIES).rows
            assert not any(rows.values()), f"{self.label}: answers from an empty index"
            assert len(rows) == len(QUERIES), f"{self.label}: a query without answers must stay"
            shape = empty.score(QUERIES, []).shape
            assert shape == (len(QUERIES), 0), f"{self.label}: scores of no ids are {shape}"
        assert self.built.search([]).rows == {}, f"{self.label}: answers without a query"
        one = self.fit({"only": "flow past a plate"})
        self.ordered(one.search(QUERIES, k=5), 1, {"only": ""})

    def same(self) -> None:
        """One query or many; twice; one add or many, in any order."""
        for k in (2, 100):
            single = {str(n): self.built.search([q], k=k).rows["0"] for n, q in enumerate(QUERIES)}
            self.equal(self.built.search(QUERIES, k=k), Run(single), "many queries, not one by one")
        self.equals_built(self.built, "searching twice")
        self.equals_built(self.fit(DOCUMENTS), "fitting twice")
        self.equals_built(self.fit(EXTRA).fit(DOCUMENTS), "fitting after another fit")
        for order in (list(DOCUMENTS), sorted(DOCUMENTS, reverse=True)):
            grown = self.make()
            for id in order:
                grown.add({id: DOCUMENTS[id]})
            self.equals_built(grown, "documents added one by one")

    def updates(self) -> None:
        """After adds, removes and replacements the same as built from what is left."""
        changed = self.fit({**EXTRA, **DOCUMENTS})
        changed.remove(list(EXTRA))
        self.equals_built(changed, "built with more, then removed")
        changed.add({"document 3": "something else", **EXTRA})
        changed.add({"document 3": DOCUMENTS["document 3"]})
        for id in EXTRA:
            changed.remove([id])
        self.equals_built(changed, "replaced, and replaced again")
        changed.remove([])
        try:
            changed.remove(["document 1", "document 11"])
        except UsageError as error:
            assert "document 11" in str(error), f"{self.label}: the refusal does not name the id"
        else:
            raise AssertionError(f"{self.label} removes an id that is not there")
        self.equals_built(changed, "after a refused removal")
        changed.remove(list(DOCUMENTS))
        rows = changed.search(QUERIES).rows
        assert not any(rows.values()), f"{self.label}: answers when all was removed"
        changed.add(DOCUMENTS)
        self.equals_built(changed, "all removed and added again")

    def folders(self) -> None:
        """A saved folder gives the same answers; its bytes depend on the documents alone."""
        with tempfile.TemporaryDirectory() as base:
            first, second, third = (Path(base) / name for name in ("first", "second", "third"))
            self.built.save(first)
            loaded = type(self.built).load(first)
            self.equals_built(loaded, "loaded")
            same = loaded.fingerprint == self.built.fingerprint == self.make().fingerprint
            assert same, f"{self.label}: another fingerprint after loading"
            loaded.add(EXTRA)
            loaded.remove(list(EXTRA))
            self.equals_built(loaded, "loaded and updated")
            loaded.save(second)
            grown = self.make()
            for id in sorted(DOCUMENTS, reverse=True):
                grown.add({id: DOCUMENTS[id]})
            grown.save(third)
            for folder in (second, third):
                differ = sorted(set(tree(first).items()) ^ set(tree(folder).items()))
                names = sorted({name for name, _ in differ})
                assert not differ, f"{self.label}: other bytes for the same documents: {names}"
            self.make().save(second)
            rows = type(self.built).load(second).search(QUERIES).rows
            assert not any(rows.values()), f"{self.label}: answers from an empty saved index"

    def hostile_texts(self) -> None:
        """Hostile texts as documents, ids and queries."""
        texts = [document.text for document in hostile.documents()]
        documents = {f"{number}{text[:9]}": text for number, text in enumerate(texts)}
        retriever = self.fit(documents)
        queries = [text[:200] for text in texts]
        self.ordered(retriever.search(queries, k=5), 5, documents)
        self.equal(retriever.search(queries), retriever.search(queries), "hostile texts, twice")
        with tempfile.TemporaryDirectory() as base:
            retriever.save(base)
            loaded = type(retriever).load(base)
            self.equal(loaded.search(queries), retriever.search(queries), "hostile texts, loaded")
