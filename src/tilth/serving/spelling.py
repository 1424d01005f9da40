"""The letters of single tokens, for log-probabilities: a token may be a part of a letter; and how
few tokens a text can take.

Byte-level tokenizers write each byte as a letter (Radford et al., 2019); others write bytes that
they have no letter for as <0xE2>, and a blank as a lower eighth block.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

from tilth.tokens.words import _alphabet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BLANK = "\u2581"
# Steps before the model that lose no byte of a text.
LOSSLESS = ("ByteLevel", "Digits", "Split")
# By what a normaliser divides the bytes of a text at most: NFC makes two of seven (U+0390), and of
# nothing fewer.
SHRINKS = {None: 1, "NFC": 4}


class Spelling:
    """The tokens of one tokenizer as bytes and as letters. `longest`: of how many bytes of a text a
    token can stand at most; 0 where that is not known."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        state = json.loads(tokenizer.to_str())
        self._tokenizer = tokenizer
        self._added = {token["id"]: token for token in state["added_tokens"]}
        self._bytewise = "ByteLevel" in json.dumps(state.get("decoder"))
        self._letters = _alphabet()
        self.longest = self._longest(state) if self._bytewise else 0

    def _longest(self, state: dict[str, Any]) -> int:
        model, added = state["model"], state["added_tokens"]
        cut, normaliser = state["pre_tokenizer"] or {}, (state["normalizer"] or {}).get("type")
        steps = cut.get("pretokenizers", [cut])
        known = model["type"] == "BPE" and self._letters.keys() <= model["vocab"].keys()
        kept = all(one.get("type") in LOSSLESS and one.get("behavior") != "Removed"
                   for one in steps)  # fmt: skip
        # Added tokens may swallow blanks before and behind them.
        if not (known and kept) or any(one["lstrip"] or one["rstrip"] for one in added):
            return 0
        sizes = [*map(len, model["vocab"]), *(len(one["content"].encode()) for one in added)]
        return max(sizes) * SHRINKS.get(normaliser, 0)

    def bytes(self, token: int) -> bytes:
        """What a token adds to a text, in UTF-8; nothing where it is a special token."""
        if token in self._added:
            added = self._added[token]
            return b"" if added["special"] else str(added["content"]).encode("utf-8")
        written = self._tokenizer.id_to_token(token) or ""
        if self._bytewise:
            return bytes(self._letters[letter] for letter in written if letter in self._letters)
        if found := re.fullmatch("<0x([0-9A-Fa-f]{2})>", written):
            return bytes([int(found[1], 16)])
        return written.replace(BLANK, " ").encode("utf-8")

    def name(self, token: int) -> str:
        """The token as a text; `bytes:\\xe2` where it is a part of a letter, as OpenAI writes it.
        Special tokens by their names."""
        if token in self._added:
            return str(self._added[token]["content"])
        found = self.bytes(token)
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in found)


class Offsets:
    """Where tokens begin in a text, in letters: `before` of them, then those of tokens taken."""

    def __init__(self, spelling: Spelling, before: int = 0) -> None:
        self._spelling, self._whole = spelling, before
        # Broken bytes become letters as where a text is decoded: U+FFFD, one for each beginning.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, token: int) -> int:
        """How many letters have begun before this token, which is the next."""
        begun = bool(self._decoder.getstate()[0])
        at = self._whole + begun
        self._whole += len(self._decoder.decode(self._spelling.bytes(token)))
        return at
