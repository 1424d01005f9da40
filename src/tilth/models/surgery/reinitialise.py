"""Re-initialise the top layers (Zhang et al., 2021, "Revisiting Few-sample BERT Fine-tuning").

The layers nearest to the task forget what pre-training taught them: matrices are drawn from a
normal distribution of the configuration's `initializer_range`, biases become 0, gains of norms 1.
Useful where few labels make fine-tuning unstable; harmful where the top layers carry the task.
A pooler belongs to the top and is drawn anew with it. Every other tensor stays bit-equal.
"""

from __future__ import annotations

from tilth.errors import UsageError
from tilth.models.axes import layer_of
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.promise import Promise, Surgery


def reinitialise(
    checkpoint: Checkpoint, *, layers: int, pooler: bool = True, seed: int = 0
) -> Checkpoint:
    """The checkpoint with its top `layers` layers (and the pooler) drawn anew."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    deviation = getattr(checkpoint.config, "initializer_range", 0.02)
    made = dict(checkpoint.tensors)
    for name in sorted(_names(checkpoint, layers, pooler)):
        old = made[name]
        if old.dim() > 1:
            drawn = torch.randn(old.shape, generator=generator) * deviation
            made[name] = drawn.to(old.dtype)
        else:
            made[name] = torch.full_like(old, 0.0 if name.endswith("bias") else 1.0)
    return checkpoint.with_(made)


def _names(checkpoint: Checkpoint, layers: int, pooler: bool) -> set[str]:
    """The tensors that are drawn anew; none for 0 layers."""
    total = checkpoint.config.num_hidden_layers
    if not 0 <= layers <= total:
        raise UsageError(f"{layers} of {total} layers cannot be drawn anew")
    found = set()
    for name in checkpoint.tensors if layers else ():
        layer = layer_of(name, checkpoint.config)
        is_pooler = layer is None and ".pooler." in f".{name}"
        if (layer is not None and layer >= total - layers) or (pooler and is_pooler):
            found.add(name)
    return found


def promise(checkpoint: Checkpoint, *, layers: int, pooler: bool = True, seed: int = 0) -> Promise:
    """All but the named layers is bit-equal; no layers, no change."""
    drawn = _names(checkpoint, layers, pooler)
    kept = tuple(name for name in checkpoint.tensors if name not in drawn)
    return Promise(
        function=not drawn, bit_equal=kept, identical=not drawn,
        because="" if not drawn else "layers are drawn anew",
    )  # fmt: skip


SURGERY = Surgery("reinitialise", reinitialise, promise)
