"""Words of token streams: where they begin, and which of them tell what a text is about.

Whole words matter to masked objectives: half a word is easily guessed from its other half (whole
word masking: Cui et al., 2019, arXiv 1906.08101). A tokenizer cuts text in words first; what a
token must look like to begin one follows from that cut, so a `word table` of one character a token
says it for any stream of ids, on disk or in memory, without the text.

    table = word_table(tokenizer)
    starts = word_starts(table, ids)     # True where a word begins

A word is: a run of letters, of digits or of other signs with the blank before it (byte-level
tokenizers, GPT-2's pattern); all up to the next blank (SentencePiece); a piece and those marked as
its continuation (WordPiece).
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.tokens.documents import TokenSource

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# One character a token: chr(FIRST + 64 kind + 8 class of its first character + class of its last).
FIRST = 48
ALWAYS, NEVER, BY_CLASS = 0, 64, 128
LETTER, DIGIT, OTHER, SPACE = 0, 1, 2, 3
# A first class: what GPT-2's pattern joins to an apostrophe. Last classes: an apostrophe of its
# own, and a blank of its own, which belongs to what follows.
SHORT, APOSTROPHE, BLANK = 4, 6, 7
SHORTENED = frozenset([b"s", b"t", b"m", b"d", b"re", b"ve", b"ll"])

Words = Sequence[tuple[tuple[int, ...], float]]


def word_table(tokenizer: Tokenizer) -> str:
    """One character a token id. Raises UsageError for a tokenizer of an unknown family."""
    made = json.loads(tokenizer.to_str())
    kinds = json.dumps([made.get("pre_tokenizer"), made.get("decoder"), made["model"]["type"]])
    pieces = [tokenizer.id_to_token(id) or "" for id in range(tokenizer.get_vocab_size())]
    special = {token["id"] for token in made["added_tokens"]}
    if "ByteLevel" in kinds:
        marks = [_byte_level(piece) for piece in pieces]
    elif made["model"]["type"] == "WordPiece":
        prefix = made["model"]["continuing_subword_prefix"]
        marks = [NEVER if piece.startswith(prefix) else ALWAYS for piece in pieces]
    elif "Metaspace" in kinds or "\u2581" in kinds:
        marks = [ALWAYS if piece.startswith("\u2581") else NEVER for piece in pieces]
    else:
        raise UsageError(
            "where the words of this tokenizer begin is not known",
            hint="byte-level, WordPiece and SentencePiece tokenizers say it",
        )
    return "".join(
        chr(FIRST + (ALWAYS if id in special else mark)) for id, mark in enumerate(marks)
    )


def word_starts(table: str, ids: np.ndarray) -> np.ndarray:
    """Where words begin in a document, bool (tokens,); its first token begins one."""
    marks = np.frombuffer(table.encode("latin-1"), dtype=np.uint8).astype(np.int64) - FIRST
    if len(ids) and int(ids.max()) >= len(marks):
        raise UsageError(f"a word table of {len(marks):,} tokens has no token {int(ids.max()):,}")
    found = marks[ids.astype(np.int64)]
    kind, first, last = found // 64 * 64, found % 64 // 8, found % 8
    starts = kind == ALWAYS
    joins = (first[1:] % SHORT == last[:-1] % SHORT) | (last[:-1] == BLANK)
    joins |= (first[1:] == SHORT) & (last[:-1] == APOSTROPHE)
    starts[1:] |= (kind[1:] == BY_CLASS) & ~joins
    starts[:1] = True
    return starts


def informative_words(
    documents: TokenSource, table: str, count: int = 1000, *, longest: int = 4
) -> list[tuple[tuple[int, ...], float]]:
    """The `count` words with the highest TF-IDF, as (their tokens, weight), best first.

    The weight of a word is its idf = ln((1 + documents) / (1 + documents with it)) + 1 times its
    count, over the documents with it (Sparck Jones, 1972). It is taken over words, not over their
    pieces. Words of more than `longest` tokens, and words seen once, are left out.
    """
    total: Counter[tuple[int, ...]] = Counter()
    seen_in: Counter[tuple[int, ...]] = Counter()
    for number in range(len(documents)):
        ids = documents.document(number)
        cuts = np.flatnonzero(word_starts(table, ids))
        found = Counter(
            tuple(ids[start:stop].tolist())
            for start, stop in zip(cuts, [*cuts[1:], len(ids)])
            if stop - start <= longest
        )
        total.update(found)
        seen_in.update(found.keys())
    weights = {
        word: (math.log((1 + len(documents)) / (1 + seen_in[word])) + 1) * seen / seen_in[word]
        for word, seen in total.items()
        if seen > 1
    }
    best = sorted(weights, key=lambda word: (-weights[word], word))[:count]
    return [(word, round(weights[word], 6)) for word in best]


def _byte_level(piece: str) -> int:
    """The mark of a piece in GPT-2's alphabet of bytes."""
    alphabet = _alphabet()
    if not piece or any(character not in alphabet for character in piece):
        return ALWAYS
    raw = bytes(alphabet[character] for character in piece)
    last = {b" ": BLANK, b"'": APOSTROPHE}.get(raw, _class(raw))
    if 0x80 <= raw[0] < 0xC0:
        return NEVER + last
    if raw[0] == 0x20:
        return ALWAYS + last
    first = SHORT if raw in SHORTENED else _class(raw, last=False)
    return BY_CLASS + 8 * first + last


def _class(raw: bytes, last: bool = True) -> int:
    """The class of the last (or first) character; a character that is cut counts as a letter."""
    text = raw.decode("utf-8", errors="replace")
    character = text[-1] if last else text[0]
    if character == "\ufffd":
        return LETTER
    if character.isspace():
        return SPACE
    return {"L": LETTER, "N": DIGIT}.get(unicodedata.category(character)[0], OTHER)


def _alphabet() -> dict[str, int]:
    """Character -> byte of byte-level tokenizers: printable bytes stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    found: dict[str, Any] = {chr(byte): byte for byte in plain}
    return {**found, **{chr(256 + place): byte for place, byte in enumerate(others)}}
