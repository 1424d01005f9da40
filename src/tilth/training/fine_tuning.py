"""Policies that steady fine-tuning on few labels, by the names of any `transformers` model.

- `freeze_lower`: the embeddings and the lowest layers stay as they are (Lee et al., 2019): general
  features are kept, fewer parameters move.
- `policy.layerwise`: rates that fall from the head down (Howard and Ruder, 2018).
- `models.surgery.reinitialise` draws the top layers anew before training (Zhang et al., 2021).

None helps everywhere: measure each at its own learning rate, over several seeds. Few labels make
the same recipe end well or badly by its seed; what is looked for is a higher mean *and* a smaller
spread. See `tilth run biomed-finetuning`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.errors import UsageError
from tilth.training.policy import Policy, PolicyRule, block_of, literal, names_of

if TYPE_CHECKING:
    import torch


def freeze_lower(model: torch.nn.Module, layers: int) -> Policy:
    """Nothing below block `layers` trains: the embeddings, and the blocks 0 to `layers` - 1.

    0 freezes nothing, the embeddings neither. What lies after the blocks (pooler, head) trains.
    Raises UsageError where the model has fewer blocks.
    """
    blocks = {name: block_of(name) for names in names_of(model).values() for name in names[:1]}
    total = 1 + max((n for n in blocks.values() if n is not None), default=-1)
    if not 0 <= layers <= total:
        raise UsageError(f"{layers} of {total} layers cannot be frozen")
    frozen, passed = [], False
    for name, block in blocks.items():
        passed = passed or block is not None
        lower = not passed if block is None else block < layers
        if layers and lower:
            frozen.append(PolicyRule(literal(name), trainable=False))
    return Policy(frozen)
