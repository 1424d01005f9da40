"""CacheBlend: the caches of chunks that were read apart become one (Yao et al., 2024).

    blender = Blender(engine)
    for passage in passages:
        blender.keep(passage)                    # read once, apart, for all later questions
    reading = blender.blend([passage, other], question, share=0.16)
    print(blender.write(reading, tokens=20, temperature=0))

Chunks are put behind one another, their keys turned to where they stand. A chunk that was read
apart has not read those before it; what that changes is made good for a share of the tokens: the
first layer is run for all, the second tells whose values changed most, and these, with the
question, go through the rest; the others keep what they had. Queries see by position.

Here a chunk is read behind the token that begins a document, and kept without it: so chunks are no
beginnings, and the first chunk of a blend is exact, and never chosen. `share` 1 is a full reading,
0 joins the caches as they are.

Use it for questions over passages that come again in other company and order (retrieval), some
hundred tokens and more. Not where the beginning is always the same: prefix sharing is exact and
cheaper. How much is lost depends on the model and the kind of text, and cannot be known beforehand:
`Blender.loss` measures it on a few questions, and should be asked before blending is relied upon.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.serving.cache import Chain, KVCache, Rows
from tilth.serving.edits.reading import Desk, Reading, blank, read
from tilth.serving.model_runner import ModelRunner, Segment

if TYPE_CHECKING:
    import torch

    from tilth.serving.engine import Engine

SHARE = 0.16
# The layer whose values tell which tokens changed.
CHECK = 1
MEMORY = 256 * 2**20


def read_chunk(
    runner: ModelRunner, cache: KVCache, ids: Sequence[int], head: Sequence[int] = ()
) -> Rows:
    """The rows of a chunk that is read apart, behind `head`, whose own rows are left out."""
    if not ids:
        raise UsageError("a chunk without tokens cannot be read")
    reading = read(runner, cache, [*head, *ids])
    rows = cache.slice(reading.chain, len(head))
    cache.free(reading.chain)
    return rows


def blend(
    runner: ModelRunner,
    cache: KVCache,
    chunks: Sequence[tuple[Sequence[int], Rows]],
    suffix: Sequence[int],
    *,
    head: Sequence[int] = (),
    share: float = SHARE,
    chosen: Sequence[int] | None = None,
) -> Reading:
    """A reading of head, chunks and suffix. `chunks`: ids and rows of each, read behind `head`.

    `share` of the tokens of all chunks is run again. `chosen`: these positions in place of those
    that changed most, to compare with. Raises UsageError for a share outside 0 to 1, or where there
    is no suffix.
    """
    if not 0 <= share <= 1 or not suffix:
        raise UsageError("the share lies from 0 to 1, and a blend ends in a suffix of its own")
    for ids, rows in chunks:
        if len(ids) != len(rows):
            raise UsageError(f"{len(rows):,} rows are not those of {len(ids):,} tokens")
    chain, ids = cache.chain(), list(head)
    if head:
        runner.forward(cache, [Segment(chain, list(head))])
    for one, rows in chunks:
        cache.fill(chain, rows)
        ids += one
    exact = len(head) + (len(chunks[0][0]) if chunks else 0)
    context = len(ids)
    if share == 0 or context == exact:
        # Nothing is chosen, or nothing is inexact: the suffix is read as any prompt behind others.
        logits = runner.forward(cache, [Segment(chain, list(suffix))])[-1]
        return Reading(chain, [*ids, *suffix], logits, len(head) + len(suffix))
    ids += suffix
    cache.fill(chain, blank(runner, len(suffix)))
    stale, end = range(exact, context), range(context, len(ids))
    part = min(1.0, share * (context - len(head)) / len(stale))
    logits, _, run = rerun(runner, cache, chain, ids, stale, part, end, chosen)
    return Reading(chain, ids, logits, len(head) + run)


def rerun(
    runner: ModelRunner,
    cache: KVCache,
    chain: Chain,
    ids: Sequence[int],
    stale: Sequence[int],
    share: float,
    always: Sequence[int],
    chosen: Sequence[int] | None = None,
) -> tuple[torch.Tensor, list[int], float]:
    """Run a share of the `stale` positions again, and all of `always`, the last of all among them.

    Logits after the last one, the positions that were run, and what that has cost in tokens.
    """
    layers = runner.shape.layers
    where = [*stale, *always]
    first = min(CHECK, layers)
    x = runner.part(cache, _at(chain, ids, where), None, 0, first)
    if layers <= CHECK:
        return runner.logits(x[-1:])[0], where, len(where)
    kept = where
    count = round(share * len(stale)) if chosen is None else len(chosen)
    if count < len(stale):
        if chosen is None:
            changed = deviation(runner, cache, chain, stale, x[: len(stale)])
            picked = sorted(changed.topk(count).indices.tolist())
        else:
            place = {position: number for number, position in enumerate(stale)}
            picked = sorted(place[position] for position in chosen)
        rows = [*picked, *range(len(stale), len(where))]
        x, kept = x[rows], [where[row] for row in rows]
    x = runner.part(cache, _at(chain, ids, kept), x, first, layers)
    cost = (first * len(where) + (layers - first) * len(kept)) / layers
    return runner.logits(x[-1:])[0], kept, cost


def deviation(
    runner: ModelRunner, cache: KVCache, chain: Chain, at: Sequence[int], x: torch.Tensor
) -> torch.Tensor:
    """How far the values that layer `CHECK` would keep for x lie from those kept, squared; of each
    position."""
    import torch

    slots = torch.tensor(cache.places(chain, at), device=cache.device)
    fresh = runner.values(CHECK, x)
    return (fresh - cache.values[CHECK][slots]).float().square().sum(dim=(1, 2))


def _at(chain: Chain, ids: Sequence[int], where: Sequence[int]) -> Segment:
    return Segment(chain, [ids[one] for one in where], at=list(where))


class Blender:
    """Keeps the caches of chunks, and blends them. See the module; errors as for `Desk`.

    `memory`: bytes of chunks that are kept; those that were asked for longest ago go first.
    """

    def __init__(self, engine: Engine, *, memory: int = MEMORY) -> None:
        self.desk, self.memory = Desk(engine), memory
        self.head = [engine.begin]
        self._kept: OrderedDict[tuple[int, ...], Rows] = OrderedDict()

    def keep(self, text: str) -> tuple[list[int], Rows]:
        """The tokens and rows of a chunk, read now if they are not kept already."""
        ids = self.desk.engine.encode(text)[1:]
        self.desk.fits(len(ids) + 1)
        name = tuple(ids)
        if name not in self._kept:
            self._kept[name] = read_chunk(self.desk.runner, self.desk.cache, ids, self.head)
        self._kept.move_to_end(name)
        rows = self._kept[name]
        each = self.desk.runner.bytes_per_token()
        while len(self._kept) > 1 and each * sum(map(len, self._kept)) > self.memory:
            self._kept.popitem(last=False)
        return ids, rows

    def blend(self, texts: Sequence[str], question: str, *, share: float = SHARE) -> Reading:
        """A reading of the texts and the question; give it to `write`, then to `drop`."""
        chunks = [self.keep(text) for text in texts]
        suffix = self.desk.engine.encode(question)[1:]
        self.desk.fits(len(self.head) + sum(len(ids) for ids, _ in chunks) + len(suffix))
        runner, cache = self.desk.runner, self.desk.cache
        return blend(runner, cache, chunks, suffix, head=self.head, share=share)

    def write(self, reading: Reading, tokens: int = 64, **settings: Any) -> str:
        """What the model writes behind a blend. `settings`: those of `Sampling`."""
        return self.desk.write(reading, tokens, settings)

    def drop(self, reading: Reading) -> None:
        """Give the blocks of a reading back; room is for one text at a time."""
        self.desk.cache.free(reading.chain)

    def loss(
        self, samples: Sequence[tuple[Sequence[str], str]], *, share: float = SHARE
    ) -> list[float]:
        """KL in nats, of each sample (texts, question): the next token's chances after a full
        reading, against those after a blend."""
        import torch

        found = []
        for texts, question in samples:
            chances = []
            for one in (1.0, share):
                reading = self.blend(texts, question, share=one)
                chances.append(torch.log_softmax(reading.logits.double(), -1))
                self.drop(reading)
            full, blended = chances
            found.append(float((full.exp() * (full - blended)).sum()))
        return found
