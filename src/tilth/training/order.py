"""The order of rows: a seeded permutation of each epoch, and a cursor in it.

The documents of an epoch are permuted and cut in groups of about `GROUP_TOKENS`, each group is
prepared by the objective, and its rows are permuted. All this is a pure function of (seed, epoch,
group), so the cursor, three numbers, says all that a checkpoint must know, and memory stays at one
group however large the data. Data smaller than a group are permuted row by row as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tilth.errors import DataError
from tilth.objectives.batch import Batch, Draws, Objective
from tilth.tokens.documents import TokenSource

GROUP_TOKENS = 16_000_000


@dataclass(frozen=True)
class Cursor:
    """The next row: `row` in the permuted rows of `group` in `epoch`."""

    epoch: int = 0
    group: int = 0
    row: int = 0


class RowOrder:
    """Endless rows of a data set, epoch after epoch; `take` moves the cursor on.

    `dropped` counts the tokens that the objective dropped in the groups prepared so far; `counted`
    is the last of them, (epoch, group). A training that goes on hands both in again.
    """

    def __init__(
        self,
        objective: Objective,
        data: TokenSource,
        seed: int,
        cursor: Cursor = Cursor(),
        group_tokens: int = GROUP_TOKENS,
    ) -> None:
        self.objective, self.data, self.seed = objective, data, seed
        self.cursor, self.group_tokens = cursor, group_tokens
        self.dropped, self.counted = 0, (-1, -1)
        self._epoch = -1
        self._groups: list[np.ndarray] = []
        self._prepared: tuple[int, int, Batch, np.ndarray] | None = None

    def take(self, rows: int) -> Batch:
        """The next rows. Raises DataError where a whole epoch gives none."""
        parts = []
        empty = 0
        while rows > 0:
            batch, order = self._group()
            start = self.cursor.row
            part = order[start : start + rows]
            if len(part):
                parts.append(batch.take(part))
                rows -= len(part)
                empty = 0
            self.cursor = replace(self.cursor, row=start + len(part))
            if rows > 0:
                empty += 1
                if empty > len(self._groups) + 1:
                    raise DataError(
                        f"{self.data.total_tokens:,} tokens in {len(self.data):,} documents are "
                        f"too few for one row of {self.objective.length:,} tokens"
                    )
                self.cursor = replace(self.cursor, group=self.cursor.group + 1, row=0)
        return Batch.join(parts)

    def groups(self) -> Iterator[Batch]:
        """The prepared groups of the cursor's epoch, in turn. Nothing moves."""
        for numbers in self._cut(self.cursor.epoch):
            documents = self.data.select(numbers.tolist())
            yield self.objective.prepare(documents, Draws(self.seed, self.cursor.epoch))

    def _group(self) -> tuple[Batch, np.ndarray]:
        """The prepared group under the cursor, and the order of its rows."""
        if self._epoch != self.cursor.epoch:
            self._groups, self._epoch = self._cut(self.cursor.epoch), self.cursor.epoch
        if self.cursor.group >= len(self._groups):
            self.cursor = Cursor(epoch=self.cursor.epoch + 1)
            return self._group()
        epoch, group = self.cursor.epoch, self.cursor.group
        if self._prepared is None or self._prepared[:2] != (epoch, group):
            documents = self.data.select(self._groups[group].tolist())
            batch = self.objective.prepare(documents, Draws(self.seed, epoch))
            order = np.random.default_rng([self.seed, epoch, group + 1]).permutation(len(batch))
            self._prepared = (epoch, group, batch, order)
            if (epoch, group) > self.counted:
                self.dropped += batch.dropped
                self.counted = (epoch, group)
        return self._prepared[2], self._prepared[3]

    def _cut(self, epoch: int) -> list[np.ndarray]:
        """The documents of an epoch, permuted, in groups; one group where there is none."""
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.data))
        ends = np.cumsum(self.data.lengths[order])
        cuts = np.flatnonzero(np.diff(np.maximum(ends - 1, 0) // self.group_tokens)) + 1
        return np.split(order, cuts)


def tokens_seen(
    objective: Objective, data: TokenSource, *, rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(tokens, offsets) of what a training has seen after its first `rows` rows.

    For a baseline that is to learn from the same text: pieces of documents, cut where a row or a
    document ends, in the order of training; each token once, so after the first epoch all of it.
    """
    first = RowOrder(objective, data, seed)
    pieces: list[np.ndarray] = []
    while rows > 0:
        batch = first.take(min(rows, 4096))
        if first.cursor.epoch > 0:
            return _flat(data)
        rows -= len(batch)
        for row in batch["tokens"][:, 1:]:
            pieces += [part for part in np.split(row, np.flatnonzero(row == data.end)) if len(part)]
    pieces = [piece[1:] if piece[0] == data.end else piece for piece in pieces]
    return _joined([piece for piece in pieces if len(piece)])


def _flat(data: TokenSource) -> tuple[np.ndarray, np.ndarray]:
    return _joined([data.document(number) for number in range(len(data))])


def _joined(pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)])
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.uint16), offsets
