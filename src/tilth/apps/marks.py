"""A model's answer as it comes: marks `[2]` are checked, what names no passage is taken out.

    marks = Marks({1, 2})
    marks.push("The rent is due [1, 7")     # "The rent is due"
    marks.push("].")                        # " [1]."
    marks.finish(); marks.found             # [(16, 1)]: where in the text, and which passage

What is given is never taken back, and is the same however the text is cut into pieces: letters
that may still become a mark, or code, are held back until that is settled. In code (between
backticks) nothing is a mark. Thoughts between tags, where the answer begins with them, are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from tilth.corpus.sentences import sentence_spans

MARK = re.compile(r"\[([0-9]{1,4}(?:, ?[0-9]{1,4}){0,12})\]")
# What may still become one: at most 78 letters are held back.
_MAYBE = re.compile(r"\[[0-9, ]{0,76}\Z")
_OPENER = re.compile(r"[`\[]")
_THOUGHT = re.compile(r"\s*<(think|thinking|reasoning)>", re.IGNORECASE)
_TAGS = ("<think>", "<thinking>", "<reasoning>")
_OPEN = re.compile(r"\[[0-9, ]*\Z")


class Marks:
    """`known`: the numbers of passages that may be cited.

    `text`: all that was given. `found`: (place in `text`, number) of each mark. `removed`: how many
    numbers named no passage.
    """

    def __init__(self, known: Collection[int]) -> None:
        self.known = frozenset(known)
        self.text, self.removed = "", 0
        self.found: list[tuple[int, int]] = []
        self._held, self._blanks, self._begun = "", "", False

    def push(self, piece: str) -> str:
        """What is settled now."""
        return self._take(piece, last=False)

    def finish(self) -> str:
        """What was held back: the answer ends here."""
        return self._take("", last=True)

    def _take(self, piece: str, last: bool) -> str:
        before = len(self.text)
        self._held += piece
        if not self._begun and not self._without_thought(last):
            return ""
        at = 0
        while (match := _OPENER.search(self._held, at)) is not None:
            self._give(self._held[at : match.start()])
            at = match.start()
            stop = self._code(at, last) if match[0] == "`" else self._mark(at, last)
            if stop < 0:
                break
            at = stop
        else:
            self._give(self._held[at:])
            at = len(self._held)
        self._held = self._held[at:]
        if last:
            self.text += self._blanks
            self._blanks = ""
        return self.text[before:]

    def _without_thought(self, last: bool) -> bool:
        """Whether it is settled with what the answer begins; drops the thought."""
        match = _THOUGHT.match(self._held)
        if match is None:
            start = self._held.lstrip().lower()
            if not last and (not start or any(tag.startswith(start) for tag in _TAGS)):
                return False
            self._begun = True
            return True
        end = re.compile(f"</{match[1]}>\\s*", re.IGNORECASE).search(self._held)
        if end is None:
            if last:
                self._held = ""
            return last
        if not last and end.end() == len(self._held):
            return False
        self._held, self._begun = self._held[end.end() :], True
        return True

    def _code(self, at: int, last: bool) -> int:
        """Where to go on behind the backtick at `at`; -1 where that is not settled."""
        held = self._held
        ticks = len(held) - at - len(held[at:].lstrip("`"))
        if at + ticks == len(held) and not last and ticks < 3:
            return -1
        if ticks >= 3:
            end = held.find("```", at + 3)
            if end < 0 and not last:
                return -1
            return self._verbatim(at, len(held) if end < 0 else end + 3)
        end, line = held.find("`", at + 1), held.find("\n", at + 1)
        if end >= 0 and (line < 0 or end < line):
            return self._verbatim(at, end + 1)
        return -1 if line < 0 and not last else self._verbatim(at, at + 1)

    def _mark(self, at: int, last: bool) -> int:
        """As `_code`, for the bracket at `at`."""
        match = MARK.match(self._held, at)
        if match is None:
            open = not last and _MAYBE.match(self._held, at)
            return -1 if open else self._verbatim(at, at + 1)
        numbers = [int(number) for number in match[1].split(",")]
        known = list(dict.fromkeys(number for number in numbers if number in self.known))
        self.removed += sum(number not in self.known for number in numbers)
        if known:
            self.text += self._blanks
        # What stands around a mark that is gone must not become one: [[9]8].
        elif _OPEN.search(self.text[-100:]):
            self.text += "?"
        self._blanks = ""
        for number in known:
            self.found.append((len(self.text), number))
            self.text += f"[{number}]"
        return match.end()

    def _verbatim(self, start: int, stop: int) -> int:
        self._give(self._held[start:stop])
        return stop

    def _give(self, text: str) -> None:
        """Add to the text; blanks wait, since they go with a mark that is taken out."""
        kept = text.rstrip(" ")
        if kept:
            self.text += self._blanks + kept
            self._blanks = ""
        self._blanks += text[len(kept) :]


def cited_sentences(text: str, found: list[tuple[int, int]]) -> list[tuple[str, tuple[int, ...]]]:
    """(sentence, numbers that it cites) of an answer with its marks, as `Marks` gives both.

    A mark belongs to the sentence before it, also where it stands behind the full stop. Sentences
    are without marks and without blanks around them; blank ones are left out.
    """
    plain, at = "", 0
    places: list[tuple[int, int]] = []
    for place, number in found:
        plain = (plain + text[at:place]).rstrip(" ")
        at = place + len(f"[{number}]")
        if not plain or plain.endswith("\n"):
            # At the beginning of a line it belongs to what follows.
            places.append((len(plain) + 1, number))
            at += len(text[at:]) - len(text[at:].lstrip(" "))
        else:
            places.append((len(plain), number))
    plain += text[at:]
    sentences: list[tuple[str, tuple[int, ...]]] = []
    for start, stop in sentence_spans(plain):
        sentence = plain[start:stop].strip()
        inside = [number for place, number in places if start < min(place, len(plain)) <= stop]
        if sentence:
            sentences.append((sentence, tuple(dict.fromkeys(inside))))
    return sentences
