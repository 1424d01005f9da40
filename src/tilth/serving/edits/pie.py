"""Positional Integrity Encoding: the cache of a text follows an edit of it (He et al., 2024).

    file = OpenText(engine, source)              # read once, whole
    file.edit(changed)                           # only what is new is run
    print(file.write(tokens=20, temperature=0))

Rows before the edit stay; what is new is run over them; what stands behind it keeps its values and
has its keys turned to where it stands now. Rotations add up, so positions are exact. What the rows
behind were computed from is not: beyond the first layer they still know the old text. An edit at
the end, and one that changes nothing, are exact.

Use it for a long text that is changed in small ways again and again, a file in an editor, where an
answer at once is worth more than the last bit of likeness. Not where what stands behind the edit
must have read it (a definition that the rest only repeats in other words), and not for short texts:
reading 100 tokens anew costs next to nothing. `refresh` runs a share of the tail again, those whose
values changed most (as CacheBlend does): dearer and nearer.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.serving.cache import KVCache, Rows
from tilth.serving.edits.cacheblend import rerun
from tilth.serving.edits.reading import Desk, Reading, blank, read
from tilth.serving.model_runner import ModelRunner, Segment

if TYPE_CHECKING:
    from tilth.serving.engine import Engine


@dataclass(frozen=True)
class Edit:
    """The old tokens [start, stop) give way to `ids`. Places are those of the old text."""

    start: int
    stop: int
    ids: tuple[int, ...]


def edit_script(
    before: Sequence[int], after: Sequence[int], line_ends: Collection[int] = ()
) -> list[Edit]:
    """The edits that make `after` of `before`, left to right.

    With `line_ends`, the tokens that end a line, whole lines are compared and replaced: no bracket
    of a new line then takes over the row of another line's bracket.
    """
    old, new = (_lines(ids, line_ends) for ids in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    places = [0]
    for line in old:
        places.append(places[-1] + len(line))
    return [
        Edit(places[i], places[j], tuple(one for line in new[k:m] for one in line))
        for kind, i, j, k, m in matcher.get_opcodes()
        if kind != "equal"
    ]


def _lines(ids: Sequence[int], ends: Collection[int]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    line: list[int] = []
    for one in ids:
        line.append(one)
        if not ends or one in ends:
            found.append(tuple(line))
            line = []
    return [*found, tuple(line)] if line else found


def edited(
    runner: ModelRunner,
    cache: KVCache,
    reading: Reading,
    edits: Sequence[Edit],
    *,
    turn: bool = True,
    refresh: float = 0.0,
) -> Reading:
    """A reading of the edited text; the old one's chain becomes its chain.

    `turn` False leaves the keys behind an edit turned as they were, which is wrong, and what the
    paper compares with. `refresh`: the share of the rows behind the first edit that is run again.
    Raises UsageError for edits that do not fit or overlap, LimitError where blocks are short for
    the new rows (the chain is then cut at the edit that did not fit).
    """
    chain, old, at = reading.chain, reading.ids, 0
    for edit in edits:
        if not at <= edit.start <= edit.stop <= len(old):
            raise UsageError(f"no edit of [{edit.start:,}, {edit.stop:,}) fits {len(old):,} tokens")
        at = edit.stop
    if not edits:
        return Reading(chain, list(old), reading.logits, 0)
    if not len(old) + sum(len(edit.ids) - (edit.stop - edit.start) for edit in edits):
        raise UsageError("nothing of the text is left to be read")
    behind = [
        (stop, cache.slice(chain, stop, start))
        for stop, start in zip(
            [edit.stop for edit in edits], [*(edit.start for edit in edits[1:]), len(old)]
        )
    ]
    ids = list(old[: edits[0].start])
    fresh: list[int] = []
    stale: list[int] = []
    cache.truncate(chain, len(ids))
    for edit, (origin, rows) in zip(edits, behind):
        fresh += range(len(ids), len(ids) + len(edit.ids))
        cache.fill(chain, blank(runner, len(edit.ids)))
        ids += edit.ids
        stale += range(len(ids), len(ids) + len(rows))
        cache.fill(chain, rows if turn else _left(runner, rows, origin, len(ids)))
        ids += old[origin : origin + len(rows)]
    # All that is new in one go, each token over what stands before it; with the last token, for its
    # logits.
    last = len(ids) - 1
    fresh += [] if fresh and fresh[-1] == last else [last]
    if refresh:
        some = [at for at in stale if at < last]
        logits, _, run = rerun(runner, cache, chain, ids, some, refresh, fresh)
    else:
        segment = Segment(chain, [ids[at] for at in fresh], at=fresh)
        logits, run = runner.forward(cache, [segment])[-1], float(len(fresh))
    return Reading(chain, ids, logits, run)


def _left(runner: ModelRunner, rows: Rows, origin: int, place: int) -> Rows:
    """Rows that come to stand at `place` with their keys turned as they were at `origin`."""
    rotary = runner.weights.rotary
    assert rotary is not None
    return Rows(rotary.move(rows.keys, origin - place), rows.values)


class OpenText:
    """A text that stays read while it is changed. See the module; errors as for `Desk`.

    `lines`: compare whole lines. Tokens of the changed text are made from all of it, so they are
    those of a fresh reading; only rows whose tokens stayed the same are kept.
    """

    def __init__(self, engine: Engine, text: str, *, lines: bool = True) -> None:
        self.desk = Desk(engine)
        tokenizer, size = engine.tokenizer, engine.runner.shape.vocabulary
        self.line_ends = frozenset(
            one for one in range(size) if lines and "\n" in tokenizer.decode([one])
        )
        ids = engine.encode(text)
        self.desk.fits(len(ids))
        self.reading = read(self.desk.runner, self.desk.cache, ids)

    def edit(self, text: str, *, refresh: float = 0.0) -> float:
        """The text is now this; how many tokens were run for it."""
        ids = self.desk.engine.encode(text)
        self.desk.fits(len(ids))
        edits = edit_script(self.reading.ids, ids, self.line_ends)
        runner, cache = self.desk.runner, self.desk.cache
        self.reading = edited(runner, cache, self.reading, edits, refresh=refresh)
        return self.reading.run

    def write(self, tokens: int = 64, **settings: Any) -> str:
        """What the model writes behind the text, which stays. `settings`: those of `Sampling`."""
        return self.desk.write(self.reading, tokens, settings)

    def reread(self) -> None:
        """Read the text whole: from time to time, what became inexact is made exact again."""
        ids = self.reading.ids
        self.desk.cache.free(self.reading.chain)
        self.reading = read(self.desk.runner, self.desk.cache, ids)
