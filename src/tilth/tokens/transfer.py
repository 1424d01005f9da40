"""From one vocabulary to another: what they share, what a new token is made of, how to extend one.

`extend` adds tokens of a new language or domain to a byte-level BPE tokenizer. Old ids stay; the
new merges come after all old ones, so a text in which none of them applies is cut as before, and
`decode(encode(x)) == x` stays true. `transfer` compares two tokenizers: which old id a new id
equals, and into which old ids the old tokenizer cuts it otherwise. From that
`models.surgery.vocabulary` makes a model's tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.tokens import bpe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# More merges are learned than asked for, because some make tokens that are there already.
SPARE = 2


@dataclass(frozen=True)
class Transfer:
    """`shared`: for each new id the old id of the same token, -1 where there is none. `pieces`: for
    each new id the old ids that it is made of; one for shared tokens, none where unknown."""

    old_size: int
    shared: np.ndarray
    pieces: tuple[np.ndarray, ...]

    @property
    def new_size(self) -> int:
        return len(self.shared)

    @property
    def new_of(self) -> dict[int, int]:
        """Old id -> new id of the same token."""
        return {int(old): new for new, old in enumerate(self.shared) if old >= 0}

    @property
    def fresh(self) -> np.ndarray:
        """The new ids that no old token equals."""
        return np.flatnonzero(self.shared < 0)

    @property
    def identity(self) -> bool:
        """Whether nothing changes."""
        return np.array_equal(self.shared, np.arange(self.old_size))


def transfer(old: Tokenizer, new: Tokenizer) -> Transfer:
    """Compare two tokenizers. Tokens are the same where text and kind of tokenizer are."""
    same_kind = _kind(old) == _kind(new)
    special = {token.content for token in new.get_added_tokens_decoder().values()}
    unknown = {old.token_to_id(token) for token in ("[UNK]", "<unk>")} - {None}
    shared = np.full(_size(new), -1, np.int64)
    pieces: list[np.ndarray] = [np.empty(0, np.int64)] * len(shared)
    for token, number in new.get_vocab(with_added_tokens=True).items():
        there = old.token_to_id(token) if same_kind or token in special else None
        if there is not None:
            shared[number] = there
            pieces[number] = np.array([there])
        elif token not in special:
            ids = [n for n in _cut(old, new, token, number, same_kind) if n not in unknown]
            pieces[number] = np.array(ids, np.int64)
    return Transfer(_size(old), shared, tuple(pieces))


def _cut(old: Tokenizer, new: Tokenizer, token: str, number: int, same_kind: bool) -> list[int]:
    """The old ids of a new token."""
    if same_kind and _kind(old)[0] == "BPE":
        # The model itself knows the alphabet of bytes; a part of a character is no text.
        return [piece.id for piece in old.model.tokenize(token)]
    text = new.decode([number], skip_special_tokens=False).removeprefix("##")
    return list(old.encode(text, add_special_tokens=False).ids)


def _kind(tokenizer: Tokenizer) -> tuple[str, str]:
    state = json.loads(tokenizer.to_str())
    decoder = state.get("decoder") or {}
    return state["model"].get("type") or "BPE", decoder.get("type", "")


def _size(tokenizer: Tokenizer) -> int:
    """Ids in use, the highest plus one."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def extend(tokenizer: Tokenizer, texts: Iterable[str], more: int) -> Tokenizer:
    """A tokenizer with at most `more` new tokens, learned on `texts` and appended.

    Fewer where the texts do not hold as many frequent pairs. Raises UsageError where nothing is
    asked for, DataError for a tokenizer that is no byte-level BPE.
    """
    from tokenizers import Tokenizer as Made

    if more < 1:
        raise UsageError(f"{more} new tokens are none")
    state = json.loads(tokenizer.to_str())
    if _kind(tokenizer) != ("BPE", "ByteLevel"):
        raise DataError("only a byte-level BPE tokenizer can be extended")
    learned = json.loads(bpe.train(texts, bpe.BYTES + 1 + SPARE * more).to_str())["model"]
    vocabulary: dict[str, int] = dict(state["model"]["vocab"])
    merges: list[Any] = list(state["model"]["merges"])
    number = _size(tokenizer)
    end = number + more
    for pair in learned["merges"]:
        left, right = pair if isinstance(pair, list) else pair.split(" ")
        token = left + right
        if token in vocabulary or left not in vocabulary or right not in vocabulary:
            continue
        if number == end:
            break
        vocabulary[token] = number
        merges.append([left, right])
        number += 1
    state["model"] |= {"vocab": vocabulary, "merges": merges}
    made = Made.from_str(json.dumps(state))
    made.encode_special_tokens = tokenizer.encode_special_tokens
    return made
