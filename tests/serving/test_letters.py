"""Letters come whole, in order, and nothing of a stop text is ever given."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.serving.letters import Letters
from tilth.tokens import bpe


def stream(ids, before=(), stop=()):
    letters = Letters(tiny.tokenizer(), before, stop)
    pieces = [letters.push(token) for token in ids]
    return [*pieces, letters.finish()], letters


@settings(max_examples=150, deadline=None)
@given(ids=st.lists(st.integers(0, 279), max_size=40), before=st.lists(st.integers(1, 97)))
def test_any_tokens_give_what_they_give_at_once(ids, before):
    pieces, _ = stream(ids)
    assert "".join(pieces) == bpe.decode(tiny.tokenizer(), ids)
    # Letters of ASCII before it change nothing.
    assert stream(ids, [id for id in before if id < 95])[0] == pieces


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30))
def test_no_half_letters(text):
    (ids,) = bpe.encode(tiny.tokenizer(), [text])
    pieces, _ = stream(ids)
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text("abc", max_size=20),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_the_first_stop_text_ends_it(text, stops):
    (ids,) = bpe.encode(tiny.tokenizer(), [text])
    pieces, letters = stream(ids, stop=stops)
    ends = [text.find(stop) for stop in stops if stop in text]
    assert letters.stopped == bool(ends)
    made = "".join(pieces)
    # Whichever is complete first ends it; nothing of it is given.
    if ends:
        assert text.startswith(made) and not any(stop in made for stop in stops)
    else:
        assert made == text


def test_letters_are_given_as_soon_as_they_are_settled():
    (ids,) = bpe.encode(tiny.tokenizer(), ["xyz"])
    assert stream(ids)[0] == ["x", "y", "z", ""]
    assert stream(ids, stop=["yq"])[0] == ["x", "", "yz", ""]
    assert stream(ids, stop=["z"])[0] == ["x", "y", "", ""]
    (euro,) = bpe.encode(tiny.tokenizer(), ["\U0001f331"])
    assert stream(euro)[0] == [""] * (len(euro) - 1) + ["\U0001f331", ""]


@pytest.mark.parametrize("count", [10, 700])
def test_broken_bytes_are_not_held_for_ever(count):
    (first, *_) = bpe.encode(tiny.tokenizer(), ["\U0001f331"])[0]
    pieces, _ = stream([first] * count)
    assert "".join(pieces) == "\ufffd" * count
    assert sum(map(bool, pieces)) > count - 20
