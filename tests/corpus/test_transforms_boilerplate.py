"""Boilerplate: the same lines as counting in Python finds; any order; nothing else is touched."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.transforms.base import Again, Chain, fitted
from tilth.corpus.transforms.boilerplate import Boilerplate, folder_of
from tilth.corpus.transforms.repair import Repair
from tilth.documents.document import Document, from_batch, to_batch
from tilth.errors import UsageError
from tilth.testing import hostile
from tilth.testing.faults import tree
from tilth.testing.transforms import check_transform

LINES = st.lists(st.sampled_from(["Home", " Home\t", "12", "7", "Contact us 24", "text", "", "é"]))
CORPORA = st.lists(st.tuples(st.sampled_from(["a/", "b/", "a/c.zip!"]), LINES), max_size=12)


def documents(corpus: list[tuple[str, list[str]]], ends: str = "\n") -> list[Document]:
    return [
        Document(id=f"{n:032x}", text=ends.join(lines), source=f"{folder}{n}.txt", group=str(n))
        for n, (folder, lines) in enumerate(corpus)
    ]


def by_counting(corpus: list[tuple[str, list[str]]], share: float, least: int) -> list[str]:
    """What is left, found with sets of strings."""
    texts = defaultdict(set)
    for folder, lines in corpus:
        texts[folder].add("\n".join(lines))
    kept = []
    for folder, lines in corpus:
        known = texts[folder]
        text = "\n".join(lines)
        sets = [{line.strip() for line in other.split("\n")} for other in known]

        def goes(line: str, sets: list[set[str]] = sets) -> bool:
            count = sum(line.strip() in one for one in sets)
            often = count >= share * len(sets) - 1e-9 and count >= 2
            return bool(line.strip()) and often and len(sets) >= least

        pieces = text.split("\n")
        ended = [piece + "\n" for piece in pieces[:-1]] + pieces[-1:]
        kept.append("".join(line for line in ended if not goes(line)))
    return kept


@settings(max_examples=80, deadline=None)
@given(CORPORA, st.sampled_from([0.3, 0.5, 1.0]), st.integers(2, 5), st.randoms())
def test_lines_are_those_that_counting_finds_in_any_order(corpus, share, least, chance) -> None:
    rows = documents(corpus)
    transform = Boilerplate(share=share, documents=least)
    learned = transform.fit([to_batch(rows[:3]), to_batch(rows[3:])])
    result = from_batch(learned.apply(to_batch(rows)))
    assert [row.text for row in result] == by_counting(corpus, share, least)
    removed = [row.metadata.get("boilerplate", {}).get("removed_lines", 0) for row in result]
    assert [bool(n) for n in removed] == [a.text != b.text for a, b in zip(result, rows)]
    turned = list(rows)
    chance.shuffle(turned)
    assert transform.fit([to_batch(turned)]).parameters() == learned.parameters()


def site(count: int, menu: str = "Home | News\n") -> list[Document]:
    rows = [("web/", [f"Article {n} says its own thing.", "Page 3 of 10"]) for n in range(count)]
    return [
        Document(id=d.id, text=f"{menu}{d.text}\nAll rights reserved {n}", source=d.source)
        for n, d in enumerate(documents(rows))
    ]


def test_menus_go_and_digits_may_be_folded() -> None:
    batch = to_batch(site(12))
    plain = from_batch(Boilerplate().fit([batch]).apply(batch))
    assert plain[3].text == "Article 3 says its own thing.\nAll rights reserved 3"
    folded = from_batch(Boilerplate(fold_digits=True, share=0.9).fit([batch]).apply(batch))
    # With numbers folded the articles' only lines are alike too.
    assert folded[3].text == ""
    few = to_batch(site(9))
    assert [d.text for d in from_batch(Boilerplate().fit([few]).apply(few))] == [
        d.text for d in site(9)
    ]


def test_copies_count_once() -> None:
    copies = [Document(id=f"{n:032x}", text="one\ntwo\n", source="x.txt") for n in range(50)]
    batch = to_batch(copies)
    assert Boilerplate(documents=2).fit([batch]).apply(batch).column("text").to_pylist() == [
        "one\ntwo\n"
    ] * len(copies)


def test_places() -> None:
    assert list(map(folder_of, ["a.txt", "x/a.txt", "x/y.zip!a.txt", "x.zip!d/a"])) == [
        "", "x/", "x/y.zip!", "x.zip!d/",
    ]  # fmt: skip
    rows = [
        Document(id=f"{n:032x}", text=f"menu\n{n}", source="pages.warc", group=str(n % 2),
                 metadata={"url": f"https://{'www.' * (n % 2)}site.org:80/{n}"})
        for n in range(12)
    ]  # fmt: skip
    batch = to_batch(rows)
    for by, touched in (("source", 12), ("all", 12), ("site", 12), ("folder", 12), ("group", 0)):
        learned = Boilerplate(by=by).fit([batch])
        assert sum(learned.touches(batch).to_pylist()) == touched, by
    code = [Document(**{**vars(row), "format": "code"}) for row in rows]
    assert not any(Boilerplate().fit([to_batch(code)]).touches(to_batch(code)).to_pylist())


def test_what_was_learned_names_the_layer() -> None:
    batch = to_batch(site(12))
    learned = Boilerplate().fit([batch])
    again = Boilerplate(**learned.parameters())
    assert again.fit([batch]).parameters() == learned.parameters()
    with pytest.raises(UsageError, match="learned"):
        again.fit([to_batch(site(12, "Other\n"))])
    with pytest.raises(UsageError, match="fit"):
        Boilerplate().apply(batch)
    with pytest.raises(UsageError, match="folder"):
        Boilerplate(by="folders")
    with pytest.raises(UsageError, match="share"):
        Boilerplate(share=0)


def test_in_a_chain_it_sees_what_the_parts_before_it_leave() -> None:
    rows = [Document(**{**vars(d), "text": d.text.replace("\n", "\r\n" if n % 2 else "\n")})
            for n, d in enumerate(site(12))]  # fmt: skip
    batch = to_batch(rows)
    chain = fitted(Chain([Repair(), Boilerplate()]), Again(lambda: iter([batch])))
    assert from_batch(chain.apply(batch))[3].text.startswith("Article 3")
    with pytest.raises(UsageError, match="more than once"):
        Chain([Repair(), Boilerplate()]).fit(iter([batch]))


def test_a_layer_has_the_same_bytes_for_any_order_and_workers(tmp_path) -> None:
    trees = []
    for name, workers in (("one", 1), ("two", 2)):
        texts = tmp_path / name / "texts"
        texts.mkdir(parents=True)
        rows = site(14)
        for n, document in enumerate(rows if workers == 1 else reversed(rows)):
            number = n if workers == 1 else len(rows) - 1 - n
            (texts / f"{number:02}.txt").write_text(document.text)
        executor = LocalExecutor(workers)
        corpus = Corpus(tmp_path / name / "corpus", executor=executor, block_bytes=600)
        corpus.add([texts])
        corpus.transform(Chain([Repair(), Boilerplate()]), "clean")
        trees.append(tree(corpus.folder))
        found = [document.text for document in corpus.documents()]
        assert len(found) == 14 and not any("Home" in text for text in found)
    assert trees[0] == trees[1]


def test_contract() -> None:
    rows = hostile.documents()[:-1]
    check_transform(Boilerplate(documents=2, share=0.01), rows)
    check_transform(Boilerplate(documents=2, fold_digits=True), site(12))
    check_transform(Chain([Repair(), Boilerplate()]), site(12))
