"""Packed rows: several texts in one row, each with what it gets alone, and nothing padded.

Texts of different lengths in one batch are usually padded to the longest. Here the tokens of a
batch are laid out as one long row, segments of equal length side by side; positions begin again in
each segment, and an attention function that is registered with `transformers` works segment by
segment, so that no segment sees another (sequence packing: Krell et al., 2021, arXiv 2107.02027).
Logits and gradients are those of each segment alone, up to rounding.

    segments = row_segments(ids, end)            # rows of joined documents
    logits = forward(model, ids, segments)       # (rows, length, vocabulary)

`PACKS` lists the architectures for which this is tested; windows of attention are kept. Any other
one (Longformer among them, whose attention is not exchangeable) runs padded, one segment a row with
an attention mask: the same result for more work. `packs` says which.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tilth.errors import UsageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    Array = TypeVar("Array", np.ndarray, torch.Tensor)

ATTENTION = "tilth_segments"
PACKS = frozenset("bert roberta electra modernbert gpt2 llama mistral qwen2 qwen3 olmo2".split())
# Architectures whose position 0 has the number padding_idx + 1.
SHIFTED = frozenset("roberta longformer camembert xlm-roberta roberta-prelayernorm".split())


@dataclass(frozen=True)
class Groups:
    """How the one long row is made up: `counts[i]` segments of `lengths[i]` tokens, one by one."""

    counts: tuple[int, ...]
    lengths: tuple[int, ...]
    window: int | None = None

    @classmethod
    def of(cls, lengths: np.ndarray, window: int | None = None) -> Groups:
        found, counts = np.unique(lengths, return_counts=True)
        return cls(tuple(counts.tolist()), tuple(found.tolist()), window)


_groups: ContextVar[Groups] = ContextVar("tilth_segments")


def packs(model: PreTrainedModel) -> bool:
    """Whether rows of several segments run without padding on this model.

    Not while it recomputes activations on the way back (gradient checkpointing): that happens when
    the attention of this module is no longer in place.
    """
    if model.config.model_type not in PACKS:
        return False
    return not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def row_segments(ids: Array, end: int) -> Array:
    """Segments of rows of joined documents, (rows, length): each `end` token begins a new one.

    A row may begin inside a document; its rest is then a segment of its own.
    """
    starts = (ids == end).cumsum(1)
    return starts - starts[:, :1]


def forward(
    model: PreTrainedModel,
    ids: torch.Tensor,
    segments: torch.Tensor | None = None,
    *,
    hidden: bool = False,
    token_types: torch.Tensor | None = None,
    at: torch.Tensor | None = None,
    window: int | None = None,
    states: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Logits (rows, length, vocabulary) of `ids` (rows, length), int64; each segment for itself.

    `segments` (rows, length), int64: the number of the segment of each position within its row,
    0, 1, 2 ... side by side, -1 for padding; None takes each row as one segment. With `hidden` the
    last hidden states (rows, length, width). What lies at padding means nothing, but is finite.
    Attention is causal or not as the model says, and so are dropout and the rest.

    `token_types`: (rows, length), for models that take them. `at`: a mask (rows, length); only
    these positions go through the head, and the answer is (chosen, vocabulary), row by row.
    `window`: a position sees at most so many neighbours on each side (before it only, in a causal
    model), in time linear in the length; only for models that pack.
    Raises UsageError where segments are not numbered as said, or are longer than the context.
    """
    import torch

    if segments is None:
        segments = torch.zeros_like(ids)
    starts, lengths = _runs(segments.cpu().numpy())
    _check(model, lengths, window)
    layout = (_side_by_side if packs(model) else _one_a_row)(starts, lengths)
    put, places, positions = (torch.from_numpy(part).to(ids.device) for part in layout[:3])
    shape = layout[3]

    def laid_out(values: torch.Tensor) -> torch.Tensor:
        row = values.reshape(-1)[put]
        return row.new_zeros(shape).view(-1).index_copy(0, places, row).view(shape)

    # Padding keeps the first position: any would do, as long as the model has it.
    arguments = {"input_ids": laid_out(ids), "position_ids": positions + _first_position(model)}
    if token_types is not None:
        arguments["token_type_ids"] = laid_out(token_types)
    base = model.base_model
    hook = base.register_forward_hook(_restoring(put, places, ids.shape, at, states))
    try:
        if packs(model):
            running: Any = _attending(model, Groups.of(lengths, window))
        else:
            running = contextlib.nullcontext()
            arguments["attention_mask"] = laid_out(torch.ones_like(ids))
        called = base if hidden else model
        if "use_cache" in inspect.signature(called.forward).parameters:
            arguments["use_cache"] = False  # type: ignore[assignment]
        with running:
            answer = called(**arguments)
    finally:
        hook.remove()
    found = answer.last_hidden_state if hidden else answer.logits
    return found if at is None else found[0]


def _runs(segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First positions (in the rows joined) and lengths of the segments, row by row."""
    rows, length = segments.shape
    first = np.ones((rows, length), dtype=bool)
    first[:, 1:] = segments[:, 1:] != segments[:, :-1]
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=rows * length)
    numbers, row = segments.reshape(-1)[starts], starts // max(1, length)
    real = numbers >= 0
    starts, lengths, numbers, row = starts[real], lengths[real], numbers[real], row[real]
    if np.any((np.diff(numbers) <= 0) & (np.diff(row) == 0)):
        raise UsageError("segments of a row are to be numbered 0, 1, 2 ..., each side by side")
    if not len(starts):
        raise UsageError("there is no segment in these rows")
    return starts, lengths


def _check(model: PreTrainedModel, lengths: np.ndarray, window: int | None) -> None:
    context = getattr(model.config, "max_position_embeddings", None)
    context = None if context is None else context - _first_position(model)
    if context is not None and lengths.max() > context:
        raise UsageError(
            f"a segment of {lengths.max():,} tokens, but the model's context is {context:,}"
        )
    if window is not None and (window < 0 or not packs(model)):
        raise UsageError(f"no window of {window} on a {model.config.model_type} model")


def _first_position(model: PreTrainedModel) -> int:
    """The number of position 0: RoBERTa counts from the padding id + 1."""
    if model.config.model_type not in SHIFTED:
        return 0
    return int(model.get_input_embeddings().padding_idx) + 1  # type: ignore[arg-type]


def _side_by_side(
    starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """One long row, the shortest segments first: (where each token comes from, its place, its
    position, the shape of what the model gets)."""
    order = np.argsort(lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    places = np.arange(lengths.sum())
    positions = places - np.repeat(np.cumsum(lengths) - lengths, lengths)
    put = np.repeat(starts, lengths) + positions
    return put, places, positions[None], (1, len(places))


def _one_a_row(
    starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """One segment a row, padded to the longest; as `_side_by_side`."""
    shape = (len(lengths), int(lengths.max()))
    real = np.arange(shape[1]) < lengths[:, None]
    positions = np.where(real, np.arange(shape[1]), 0)
    put = (starts[:, None] + positions)[real]
    return put, np.flatnonzero(real), positions, shape


def _restoring(
    put: torch.Tensor, places: torch.Tensor, shape: torch.Size,
    at: torch.Tensor | None, states: list[torch.Tensor] | None,
) -> Any:  # fmt: skip
    """A hook that brings the last hidden states back to the rows of the caller."""
    import torch

    def restore(_module: Any, _inputs: Any, output: Any) -> Any:
        found = output.last_hidden_state
        found = found.reshape(-1, found.shape[-1])
        if at is None or states is not None:
            rows = found.new_zeros(shape[0] * shape[1], found.shape[-1])
            rows = rows.index_copy(0, put, found[places]).view(*shape, -1)
            output.last_hidden_state = rows
            if states is not None:
                states.append(rows)
        if at is not None:
            place_of = torch.full((shape[0] * shape[1],), -1, device=put.device)
            place_of[put] = places
            output.last_hidden_state = found[place_of[at.reshape(-1).nonzero()[:, 0]]][None]
        return output

    return restore


@contextlib.contextmanager
def _attending(model: PreTrainedModel, groups: Groups) -> Iterator[None]:
    """The model attends segment by segment for a while; what was there comes back."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, segment_attention)
    config = model.config
    before, token = config._attn_implementation_internal, _groups.set(groups)
    config._attn_implementation_internal = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation_internal = before
        _groups.reset(token)


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **_others: Any,
) -> tuple[torch.Tensor, None]:
    """softmax(scaling q k^T) v within each segment. q (1, heads, tokens, head), k and v with as
    many heads or a divisor of them; gives (1, tokens, heads, head). For `transformers`."""
    import torch

    groups = _groups.get()
    causal = module.is_causal if is_causal is None else is_causal
    window = groups.window
    if sliding_window is not None:
        # Theirs counts the position itself; where all look both ways, it is one side's.
        window = sliding_window - 1 if window is None else min(window, sliding_window - 1)
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
    heads, head = query.shape[1], query.shape[3]
    sizes = [count * length for count, length in zip(groups.counts, groups.lengths)]
    # One split, not many slices: the way back through a slice fills the whole row with zeros.
    pieces = zip(*(torch.split(part[0], sizes, dim=1) for part in (query, key, value)))
    found = []
    for count, length, parts in zip(groups.counts, groups.lengths, pieces):
        q, k, v = (part.reshape(heads, count, length, head).transpose(0, 1) for part in parts)
        if window is None or window >= length - 1:
            made = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, dropout_p=dropout, scale=scaling, is_causal=bool(causal) and length > 1
            )
        else:
            made = _windowed(q, k, v, window, bool(causal), dropout, scaling)
        found.append(made.transpose(1, 2).reshape(count * length, heads, head))
    return torch.cat(found)[None], None


def _windowed(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
    window: int, causal: bool, dropout: float, scaling: float | None,
) -> torch.Tensor:  # fmt: skip
    """Attention to `window` neighbours on each side, in chunks of queries with the keys around.

    q, k, v (segments, heads, length, head); time and memory are linear in the length.
    """
    import torch
    import torch.nn.functional as F

    count, heads, length, head = q.shape
    size = min(max(window, 32), length)
    chunks = -(-length // size)
    after = 0 if causal else window
    rest = chunks * size - length
    span = size + window + after
    asked = F.pad(q, (0, 0, 0, rest)).view(count, heads, chunks, size, head)
    # (segments, heads, chunks, head, span) -> (segments, chunks, heads, span, head)
    keys, values = (
        F.pad(part, (0, 0, window, rest + after)).unfold(2, span, size).permute(0, 2, 1, 4, 3)
        for part in (k, v)
    )
    place = torch.arange(chunks * size, device=q.device).view(chunks, size, 1)
    other = torch.arange(span, device=q.device) - window
    other = (torch.arange(chunks, device=q.device) * size)[:, None, None] + other
    near = (other >= place - window) & (other <= place + after) & (other >= 0) & (other < length)
    # Places beyond the end look at something, so that their softmax is a number; they are cut off.
    near = (near | (place >= length)).view(1, chunks, 1, size, span)
    made = F.scaled_dot_product_attention(
        asked.transpose(1, 2).flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1),
        attn_mask=near.expand(count, -1, -1, -1, -1).flatten(0, 1),
        dropout_p=dropout, scale=scaling,
    )  # fmt: skip
    made = made.view(count, chunks, heads, size, head).transpose(1, 2)
    return made.reshape(count, heads, chunks * size, head)[:, :, :length]
