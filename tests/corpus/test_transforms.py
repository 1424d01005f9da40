"""The base of transforms: rows, ids, spans and chains."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.transforms.base import Chain, Edit, Edited, compose, identity, made_by
from tilth.corpus.transforms.repair import Repair
from tilth.documents.document import Document, Span, from_batch, to_batch
from tilth.errors import UsageError
from tilth.store.digest import digest
from tilth.testing import strategies
from tilth.testing.transforms import check_rows, check_spans


class Parts(Edit):
    """Cuts a text at commas, drops empty parts, doubles the sign "!" (own method, 2026)."""

    name = "parts"

    def edit(self, text: str) -> list[Edited]:
        results, at = [], 0
        for number, part in enumerate(text.split(",")):
            size = len(part.encode())
            spans, pieces, new, old = [], [], 0, at
            for piece in re.split("(!)", part):
                width = len(piece.encode())
                grown = "!!" if piece == "!" else piece
                if width:
                    spans.append(Span(new, new + len(grown.encode()), old, old + width))
                pieces.append(grown)
                new, old = new + len(grown.encode()), old + width
            if part:
                results.append(Edited("".join(pieces), spans, {"part": number}))
            at += size + 1
        return results


class Reverse(Edit):
    """Turns lines around: verbatim spans whose parents are not in order (own method, 2026)."""

    name = "reverse"

    def edit(self, text: str) -> list[Edited]:
        lines = text.split("\n")
        if len(lines) < 2:
            return identity(text)
        sizes = [len(line.encode()) for line in lines]
        spans, at = [], 0
        for number in reversed(range(len(lines))):
            start = sum(sizes[:number]) + number
            if sizes[number]:
                spans.append(Span(at, at + sizes[number], start, start + sizes[number]))
            at += sizes[number] + 1
        return [Edited("\n".join(reversed(lines)), spans)]


def document(text: str, name: str = "a.txt") -> Document:
    return Document(id=digest(name, text), text=text, source=name, metadata={"title": "T"})


def test_rows_of_an_edit() -> None:
    first, second = document("one,t\u00e9o!,,"), document("", "b.txt")
    made = from_batch(Parts().apply(to_batch([first, second])))
    assert [child.text for child in made] == ["one", "t\u00e9o!!"]
    assert [child.id for child in made] == [
        digest(first.id, made_by(Parts()), 0), digest(first.id, made_by(Parts()), 1)
    ]  # fmt: skip
    assert made[1].spans == (Span(0, 4, 4, 8), Span(4, 6, 8, 9))
    assert made[0].origin == first.id and made[0].source == "a.txt"
    assert made[1].metadata == {"title": "T", "part": 1}
    assert made[0].parents == (first.id,)


def test_made_by_names_version_and_parameters() -> None:
    names = {made_by(Repair()), made_by(Repair(quotes=True)), made_by(Repair(quotes=True))}
    assert len(names) == 2 and all(name.startswith("repair@") for name in names)


@settings(max_examples=40, deadline=None)
@given(strategies.batches(strategies.texts().map(lambda text: text.replace("\x00", ","))))
def test_spans_of_chains_hold_the_same_bytes(batch: object) -> None:
    for chain in (
        Chain([Parts(), Reverse()]),
        Chain([Reverse(), Repair(), Parts()]),
        Chain([Repair(quotes=True, ligatures=True, width=True), Repair(), Reverse(), Reverse()]),
    ):
        check_rows("chain", batch, chain.apply(batch))


@settings(max_examples=40, deadline=None)
@given(strategies.batches())
def test_a_chain_ends_with_the_texts_and_metadata_of_its_steps(batch: object) -> None:
    steps = [Repair(), Parts(), Reverse()]
    current = batch
    for step in steps:
        current = step.apply(current)
    made = Chain(steps).apply(batch)
    for name in ("text", "metadata", "source", "origin"):
        assert made.column(name).equals(current.column(name))
    assert set(made.column("made_by").to_pylist()) <= {made_by(Chain(steps))}


def test_compose_cuts_verbatim_spans_and_widens_rewritings() -> None:
    # The parent: bytes 0-4 from 10, byte 4-6 a rewriting of 20-21, the rest new.
    parent = [Span(0, 4, 10, 14), Span(4, 6, 20, 21)]
    assert compose([Span(0, 8, 0, 8)], parent) == parent
    assert compose([Span(5, 7, 1, 3)], parent) == [Span(5, 7, 11, 13)]
    assert compose([Span(0, 1, 2, 6)], parent) == [Span(0, 1, 12, 21)]
    assert compose([Span(0, 2, 6, 8)], parent) == []
    # One byte of the rewriting would map to one byte that need not be equal.
    assert compose([Span(0, 1, 4, 5)], parent) == []
    assert compose([Span(0, 3, 4, 6)], parent) == [Span(0, 3, 20, 21)]


@settings(max_examples=60)
@given(st.text("abc\n", max_size=12), st.data())
def test_compose_with_an_identity_changes_nothing(text: str, data: st.DataObject) -> None:
    (child,) = Reverse().edit(text)
    assert compose(child.spans, identity(text)[0].spans) == child.spans
    whole = identity(child.text)[0].spans
    assert compose(whole, child.spans) == child.spans
    check_spans("reverse", child.text, text, child.spans)


def test_a_chain_is_made_again_from_its_parameters() -> None:
    chain = Chain([Repair(quotes=True), Chain([Repair()])])
    again = Chain(**json.loads(json.dumps(chain.parameters())))
    assert made_by(again) == made_by(chain)
    with pytest.raises(UsageError, match="headers"):
        Chain([{"name": "header"}])
    with pytest.raises(UsageError, match="optoins"):
        Chain([{"name": "repair", "optoins": {}}])


def test_what_is_not_touched_is_copied() -> None:
    batch = to_batch([document("plain"), document("caf\u00e9 e\u0301", "b"), document("", "c")])
    made = Repair().apply(batch)
    assert made.column("text").to_pylist() == ["plain", "caf\u00e9 \u00e9", ""]
    spans = made.column("spans").to_pylist()
    assert [tuple(span.values()) for span in spans[0]] == [(0, 5, 0, 5)]
    assert spans[2] == []
