"""Tokens to letters, one by one: what is settled is given at once, the rest is held back.

A token may end within a letter (UTF-8 has up to four bytes for one) and within a text that would
end the answer. Both are held back until the next tokens decide. What is given is never taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "\ufffd"
# A letter lacks at most so many bytes' worth of U+FFFD when it is incomplete.
INCOMPLETE = 3
# Tokens before the text that are decoded with it: some tokenizers write a first word otherwise.
CONTEXT = 5
WINDOW = 256


class Letters:
    """The text of one request. `before`: the tokens it follows; `stop`: texts that end it."""

    def __init__(
        self, tokenizer: Tokenizer, before: Sequence[int] = (), stop: Sequence[str] = ()
    ) -> None:
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._ids = list(before[-CONTEXT:])
        # Characters of the decoded window that were given or are in `_held`.
        self._sent = len(self._decode())
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The letters that are settled now, with this token. `stopped` says whether one of the stop
        texts is complete: the text before it has been given, and nothing comes after."""
        if self.stopped:
            return ""
        self._ids.append(token)
        text = self._decode()
        settled = len(text)
        # A run of broken bytes is not held, and decoded again, for ever.
        full = len(self._ids) > WINDOW
        least = len(text) if full else max(self._sent, len(text) - INCOMPLETE)
        while settled > least and text[settled - 1] == UNKNOWN:
            settled -= 1
        self._held += text[self._sent : settled]
        self._sent = max(self._sent, settled)
        if settled == len(text):
            # A new window: its last tokens, for how they join with what follows.
            self._ids = self._ids[-CONTEXT:]
            self._sent = len(self._decode())
        return self._release()

    def finish(self) -> str:
        """All that was held back: the answer ends here."""
        if self.stopped:
            return ""
        text = self._held + self._decode()[self._sent :]
        self._ids, self._sent, self._held = [], 0, ""
        return text

    def _decode(self) -> str:
        return self._tokenizer.decode(self._ids, skip_special_tokens=True)

    def _release(self) -> str:
        found = [at for at in (self._held.find(text) for text in self._stop) if at >= 0]
        if found:
            self.stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = max((_begun(self._held, text) for text in self._stop), default=0)
        at = len(self._held) - keep
        text, self._held = self._held[:at], self._held[at:]
        return text


def _begun(text: str, stop: str) -> int:
    """How many letters at the end of `text` are a beginning of `stop`, at most."""
    for count in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:count]):
            return count
    return 0
