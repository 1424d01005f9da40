"""A task as token documents, and its rows: begin, text, separator, a second text if there is one.

`task_documents` keeps each text of an example as a piece of its own (`extra["pieces"]`) beside what
is to be learned (`extra["target"]`: a label, labels, tags, the number of a choice, a number). The
objectives lay the pieces out in rows, so what is cut to fit a row is known and counted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.data.task import Task
from tilth.errors import UsageError
from tilth.tokens.bpe import encode, end_id
from tilth.tokens.documents import TokenDocuments

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TARGETS = {
    "classify": "label", "multilabel": "labels", "tag": "tags", "choose": "answer",
    "pair": "label", "bag": "label", "regress": "target",
}  # fmt: skip
NOT_ONE = -100


def task_documents(task: Task, tokenizer: Tokenizer) -> TokenDocuments:
    """One document an example. Raises UsageError for kinds that no head of a task learns.

    `extra`: `pieces` (a list of id arrays: the text; text and other; text and choices; a bag's
    texts), `target`, and of a `tag` task `firsts`: for each word the place of its first sub-token,
    -1 for a word of which the tokenizer leaves nothing.
    """
    if task.kind not in TARGETS:
        raise UsageError(f"a {task.kind} task has no head to fine-tune", where=task.name)
    columns = {name: task.table[name].to_pylist() for name in task.table.column_names}
    extra: dict[str, list[Any]] = {"target": columns[TARGETS[task.kind]]}
    if task.kind == "tag":
        found = [_words(tokenizer, tokens) for tokens in columns["tokens"]]
        pieces = [[ids] for ids, _ in found]
        extra["firsts"] = [firsts for _, firsts in found]
    else:
        texts = [_texts(task.kind, columns, row) for row in range(task.table.num_rows)]
        flat = encode(tokenizer, [text for some in texts for text in some])
        arrays = iter([np.array(ids, dtype=np.int32) for ids in flat])
        pieces = [[next(arrays) for _ in some] for some in texts]
    extra["pieces"] = pieces
    tokens = [np.concatenate(some) for some in pieces]
    sizes = [len(text.encode("utf-8")) for text in task.texts()]
    return TokenDocuments(
        columns["id"], tokens, tokenizer.get_vocab_size(), end_id(tokenizer), sizes, extra
    )


def _texts(kind: str, columns: dict[str, list], row: int) -> list[str]:
    if kind == "bag":
        return list(columns["texts"][row])
    if kind == "choose":
        return [columns["text"][row], *columns["choices"][row]]
    both = kind == "pair" or (kind == "regress" and columns["other"][row])
    return [columns["text"][row], columns["other"][row]] if both else [columns["text"][row]]


def _words(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the words joined by blanks, and the place of each word's first sub-token."""
    found = tokenizer.encode(" ".join(words), add_special_tokens=False)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    # A sub-token belongs to the word in which its last character lies: it may begin with a blank.
    last = np.maximum([end for _, end in found.offsets], 1) - 1
    owner = np.searchsorted(ends, last, side="right")
    firsts = np.full(len(words), -1, dtype=np.int32)
    for place in range(len(owner) - 1, -1, -1):
        if owner[place] < len(words):
            firsts[owner[place]] = place
    return np.array(found.ids, dtype=np.int32), firsts


def one(text: np.ndarray, room: int, keep: str) -> np.ndarray:
    """At most `room` tokens of a text: its start or its end."""
    return text[:room] if keep == "start" or len(text) <= room else text[len(text) - room :]


def two(first: np.ndarray, second: np.ndarray, room: int, keep: str) -> tuple:
    """Two texts in `room` tokens: the longer one is cut first, the first one as `keep` says."""
    half = room // 2
    kept = min(len(second), max(half, room - len(first)))
    return one(first, room - kept, keep), second[:kept]


class Layout:
    """Pieces to rows of `length` ids, padded: (ids, real size, segment types) of each row."""

    def __init__(self, length: int, begin: int, separator: int, pad: int, keep: str) -> None:
        if length < 8:
            raise UsageError(f"a row of {length} tokens holds no text", hint="length >= 8")
        if keep not in ("start", "end"):
            raise UsageError(f"keep is 'start' or 'end', not {keep!r}")
        self.length, self.begin, self.separator = length, begin, separator
        self.pad, self.keep = pad, keep

    def row(self, pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
        """(ids, types, tokens that did not fit) of one or two pieces; not padded."""
        begin, separator = [self.begin], [self.separator]
        if len(pieces) == 1:
            text = one(pieces[0], self.length - 2, self.keep)
            ids = np.concatenate([begin, text, separator])
            return ids, np.zeros(len(ids), np.int8), len(pieces[0]) - len(text)
        first, second = two(*pieces, self.length - 3, self.keep)
        ids = np.concatenate([begin, first, separator, second, separator])
        types = np.repeat(np.array([0, 1], np.int8), [len(first) + 2, len(second) + 1])
        return ids, types, sum(map(len, pieces)) - len(first) - len(second)

    def rows(self, examples: Sequence[Sequence[np.ndarray]]) -> tuple[dict, int]:
        """Arrays `ids` (rows, length), `sizes` (rows,), `types` (rows, length), and the dropped."""
        arrays = {
            "ids": np.full((len(examples), self.length), self.pad, np.int32),
            "sizes": np.zeros(len(examples), np.int32),
            "types": np.zeros((len(examples), self.length), np.int8),
        }
        dropped = 0
        for number, pieces in enumerate(examples):
            ids, types, lost = self.row(pieces)
            arrays["ids"][number, : len(ids)] = ids
            arrays["types"][number, : len(ids)] = types
            arrays["sizes"][number] = len(ids)
            dropped += lost
        return arrays, dropped
