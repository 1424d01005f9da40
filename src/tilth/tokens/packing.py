"""Whole pieces in rows of a fixed size: best fit, decreasing (Johnson, 1973).

For pieces that must not be cut: pairs of sentences, conversations. Running text loses nothing by
being joined and cut (`objectives.causal`); this leaves a little room empty instead.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from tilth.errors import UsageError


def best_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of piece numbers, each row of at most `capacity`; every piece is in one row.

    The longest pieces first, each in the row that it fills best. A row lists its pieces in their
    order, and rows are ordered by their first piece. Raises UsageError for a piece that is longer
    than a row.
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, row), sorted
    for piece in sorted(range(len(sizes)), key=lambda number: (-sizes[number], number)):
        if sizes[piece] > capacity:
            raise UsageError(f"a piece of {sizes[piece]:,} tokens fits no row of {capacity:,}")
        place = bisect.bisect_left(rooms, (sizes[piece], -1))
        if place < len(rooms):
            room, row = rooms.pop(place)
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(piece)
        bisect.insort(rooms, (room - sizes[piece], row))
    return sorted((sorted(row) for row in rows), key=lambda row: row[0])
