"""What a surgery promises to keep, and whether it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tilth.errors import TilthError

if TYPE_CHECKING:
    import torch

    from tilth.models.checkpoint import Checkpoint

# Logits before and after may differ by this much, of the largest logit where that is above 1.
TOLERANCE = 1e-5
# Rows and places of the random tokens that both models read.
ROWS, PLACES = 2, 12
# Above, the check runs in the precision of the checkpoint instead of in float64.
DOUBLE = 50_000_000


@dataclass(frozen=True)
class Promise:
    """What must be equal after a surgery.

    `function`: logits of the same tokens, within `TOLERANCE`. `bit_equal`: the tensors of these
    names. `identical`: all of it, as with parameters that ask for no change. `rows`: old and new
    row numbers of tables that are bit-equal there, tensor name -> (old rows, new rows). `tokens`:
    (old ids, new ids) of the tokens that both know, where vocabularies differ. `because`: why
    there is no promise about the function, for people.
    """

    function: bool = False
    bit_equal: tuple[str, ...] = ()
    identical: bool = False
    rows: dict[str, tuple] | None = None
    tokens: tuple | None = None
    because: str = ""


class Surgery(NamedTuple):
    """A surgery and its promise; both take the checkpoint and the same parameters."""

    name: str
    apply: Callable[..., Checkpoint]
    promise: Callable[..., Promise]


@dataclass(frozen=True)
class Kept:
    """What was compared: largest difference of logits (None where not comparable), and what
    broke, empty where all promises hold."""

    logit_difference: float | None
    broken: tuple[str, ...]


def check(promise: Promise, before: Checkpoint, after: Checkpoint) -> Kept:
    """Compare two checkpoints by a promise."""
    import torch

    broken = []
    for name in promise.bit_equal:
        if name not in after.tensors or not equal_bits(before.tensors[name], after.tensors[name]):
            broken.append(f"tensor {name} is bit-equal")
    for name, (old, new) in (promise.rows or {}).items():
        there = before.tensors[name][torch.as_tensor(old)]
        if not equal_bits(there, after.tensors[name][torch.as_tensor(new)]):
            broken.append(f"rows of {name} are bit-equal")
    if promise.identical and before.digest != after.digest:
        broken.append("nothing changes")
    difference = logit_difference(before, after, tokens=promise.tokens)
    if promise.function and (difference is None or not difference <= TOLERANCE):
        broken.append(f"logits are equal within {TOLERANCE:g} (they differ by {difference})")
    return Kept(difference, tuple(broken))


def equal_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Same type, shape and bits: NaN equals itself, 0.0 is not -0.0."""
    import torch

    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    as_bytes = [t.contiguous().reshape(-1).view(torch.uint8) for t in (left, right)]
    return bool(torch.equal(*as_bytes))


def logits_of(checkpoint: Checkpoint, ids: torch.Tensor) -> torch.Tensor:
    """Logits, or the last hidden states of a model without a head, for rows of token ids."""
    import torch

    model = checkpoint.model()
    if sum(tensor.numel() for tensor in checkpoint.tensors.values()) <= DOUBLE:
        model = model.double()
    if checkpoint.architecture.endswith("ForMultipleChoice"):
        ids = ids[:, None]
    with torch.inference_mode():
        out = model(input_ids=ids)
    names = ("logits", "prediction_logits", "last_hidden_state", "start_logits")
    return next(out[name] for name in names if name in out)


def logit_difference(
    before: Checkpoint, after: Checkpoint, *, tokens: tuple | None = None, seed: int = 0
) -> float | None:
    """Largest difference of logits over random tokens, as a share of the largest logit (at least
    1). `tokens`: (old ids, new ids) of what both vocabularies hold. None where the two give logits
    of different shapes."""
    import torch

    size = min(before.config.vocab_size, after.config.vocab_size)
    old, new = tokens if tokens is not None else (range(size), range(size))
    old, new = torch.as_tensor(old), torch.as_tensor(new)
    longest = min(PLACES, *(c.config.max_position_embeddings - 2 for c in (before, after)))
    # Low ids are special tokens; a model may treat padding apart.
    chosen = torch.randint(
        min(5, len(old) - 1), len(old), (ROWS, max(1, longest)),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    left, right = logits_of(before, old[chosen]), logits_of(after, new[chosen])
    if tokens is not None and left.shape[-1] == before.config.vocab_size:
        left, right = left[..., old], right[..., new]
    if before.architecture.endswith("Model"):
        # Hidden states, not logits: a wider model's first units are the old ones.
        right = right[..., : left.shape[-1]]
    if left.shape != right.shape:
        return None
    largest = max(1.0, float(left.abs().max()))
    return float((left - right).abs().max()) / largest


class BrokenPromise(TilthError):
    """A surgery changed what it must not change."""
