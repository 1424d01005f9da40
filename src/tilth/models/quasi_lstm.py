"""The quasi-LSTM's recurrence, solved in blocks (Stanic et al., 2023, "The Languini Kitchen").

    c_t = f_t c_{t-1} + u_t          u_t = i_t tanh(z_t),  f_t = sigmoid(a_t + 1)

In an LSTM (Hochreiter and Schmidhuber, 1997) the gates look at the last output, so that time steps
must be taken one after the other. Where they look at the input alone, as in quasi-recurrent nets
(Bradbury et al., 2017), the recurrence is linear in c, and a block can be solved without knowing
the state before it, which is put in afterwards:

    c_t = inside_t + product_t c_before        product_t: of f from the block's start to t

`scan` takes the steps inside a block one after the other, but in all blocks at once, and then the
ends of blocks one after the other: time / b + b small operations in place of time. The paper's
program has a matrix of all products of f in a block in place of the steps inside; that is the same
sum for b times the memory, and slower on processors. Products are made from f itself: no logarithm,
no epsilon. All of it is float32, under autocast too: in half precision small products become 0.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError

if TYPE_CHECKING:
    import torch


def scan_sequentially(
    forget: torch.Tensor, update: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """The recurrence as it is defined, a step at a time. Shapes as in `scan`."""
    import torch

    state, states = before, []
    for kept, added in zip(forget.unbind(1), update.unbind(1)):
        state = kept * state + added
        states.append(state)
    return torch.stack(states, 1)


def scan(
    forget: torch.Tensor, update: torch.Tensor, before: torch.Tensor, block: int = 0
) -> torch.Tensor:
    """All states c (rows, time, width) of c_t = forget_t c_{t-1} + update_t, float32.

    forget, update: (rows, time, width), forget from 0 to 1; before: (rows, width), the state that
    is carried over from earlier text. Any `block` of 1 or more gives the same within rounding; 0
    takes the square root of time. Gradients are those of the sequential form, once.
    """
    import torch

    if block < 0:
        raise UsageError(f"a block of {block} steps", hint="block >= 0")
    with torch.autocast(update.device.type, enabled=False):
        return _function().apply(forget.float(), update.float(), before.float(), block)


def blocks(
    forget: torch.Tensor, update: torch.Tensor, before: torch.Tensor, block: int = 0
) -> torch.Tensor:
    """`scan` without gradients of its own: the formula of the module."""
    import torch
    import torch.nn.functional as F

    rows, time, width = update.shape
    block = min(block or math.isqrt(max(1, time - 1)) + 1, time)
    # A step that forgets nothing and adds nothing fills the last block.
    fill = -time % block
    kept = F.pad(forget, (0, 0, 0, fill), value=1.0).view(rows, -1, block, width)
    added = F.pad(update, (0, 0, 0, fill)).view(rows, -1, block, width)
    inside, products = torch.empty_like(added), torch.empty_like(kept)
    inside[:, :, 0], products[:, :, 0] = added[:, :, 0], kept[:, :, 0]
    for step in range(1, block):
        here = kept[:, :, step]
        torch.addcmul(added[:, :, step], here, inside[:, :, step - 1], out=inside[:, :, step])
        torch.mul(here, products[:, :, step - 1], out=products[:, :, step])
    starts = torch.empty_like(inside[:, :, 0])
    starts[:, 0] = before
    for number in range(1, inside.shape[1]):
        ended, product = inside[:, number - 1, -1], products[:, number - 1, -1]
        torch.addcmul(ended, product, starts[:, number - 1], out=starts[:, number])
    inside.addcmul_(products, starts.unsqueeze(2))
    return inside.view(rows, -1, width)[:, :time]


@functools.cache
def _function() -> Any:
    """The autograd function, made at first use: this module imports without torch."""
    import torch

    class Scan(torch.autograd.Function):
        """With g the gradient of c: du_t = g_t + f_{t+1} du_{t+1}, the same recurrence backwards.

        df_t = du_t c_{t-1}, and the state before the first step gets f_1 du_1.
        """

        @staticmethod
        def forward(ctx: Any, forget: Any, update: Any, before: Any, block: int) -> Any:
            with torch.no_grad():
                states = blocks(forget, update, before, block)
            ctx.save_for_backward(forget, before, states)
            ctx.block = block
            return states

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Any) -> Any:
            forget, before, states = ctx.saved_tensors
            following = torch.roll(forget.flip(1), 1, dims=1)
            nothing = torch.zeros_like(before)
            moved = blocks(following, gradient.flip(1), nothing, ctx.block).flip(1)
            earlier = torch.cat([before.unsqueeze(1), states[:, :-1]], 1)
            return moved * earlier, moved, forget[:, 0] * moved[:, 0], None

    return Scan
