"""Rotary positions (Su et al., 2021, arXiv 2104.09864): pairs of numbers turned by the position.

Dimension i of the first half of a head and dimension i of the second are one pair; at position p it
is turned by p times the frequency of i. Turns add up, R(a) R(b) = R(a + b), so a key can be moved
from one position to another without the token it came from. Frequencies are those of
`transformers`, with its scalings whose frequencies do not depend on the length (linear; YaRN, Peng
et al., 2023; Llama 3): the others cannot be moved, and are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

KINDS = ("default", "linear", "yarn", "llama3")


@dataclass
class Rotary:
    """`frequencies` (head / 2), float32, in radians a position. `factor`: what turned queries and
    keys are multiplied with as well (YaRN's temperature), 1 for most."""

    frequencies: torch.Tensor
    factor: float = 1.0

    @classmethod
    def of(cls, config: Any, head: int, device: Any) -> Rotary:
        """That of a configuration whose type is one of `KINDS`."""
        import torch
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        kind = config.rope_parameters.get("rope_type", "default")
        if kind == "default":
            steps = torch.arange(0, head, 2, dtype=torch.float) / head
            frequencies, factor = 1.0 / config.rope_parameters["rope_theta"] ** steps, 1.0
        else:
            frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config)
        return cls(frequencies.to(device, torch.float32), float(factor))

    def angles(self, positions: torch.Tensor, dtype: torch.dtype) -> tuple[Any, Any]:
        """cos and sin for positions (tokens), each (tokens, 1, head / 2), times the factor."""
        turns = positions[:, None, None].float() * self.frequencies
        return (turns.cos() * self.factor).to(dtype), (turns.sin() * self.factor).to(dtype)

    def turn(self, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Keys before rotary, (..., tokens, heads, head), to keys at `positions` (tokens)."""
        return turned(rows, *self.angles(positions, rows.dtype))

    def turn_back(self, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """What `turn` made of keys, to the keys before rotary."""
        cos, sin = self.angles(-positions, rows.dtype)
        return turned(rows, cos / self.factor**2, sin / self.factor**2)

    def move(self, rows: torch.Tensor, steps: int) -> torch.Tensor:
        """Keys at positions p to the same keys at p + steps."""
        import torch

        cos, sin = self.angles(torch.tensor([steps], device=rows.device), rows.dtype)
        return turned(rows, cos / self.factor, sin / self.factor)


def turned(rows: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(a, b) -> (a cos - b sin, b cos + a sin) for the halves a, b of the last dimension."""
    pairs = rows.unflatten(-1, (2, -1))
    found = pairs * cos.unsqueeze(-2)
    found[..., 0, :].addcmul_(pairs[..., 1, :], sin, value=-1)
    found[..., 1, :].addcmul_(pairs[..., 0, :], sin)
    return found.flatten(-2)
