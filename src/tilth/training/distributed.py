"""One training on several processes, as `torchrun` starts them: rows are shared out, weights too.

    torchrun --nproc-per-node 2 train.py        # train.py: fit(..., workers=start("shard"))

`shard` splits weights, gradients and moments over the processes, layer by layer (FSDP2's
`fully_shard`; Zhao et al., 2023): for models that are too large for one. `replicate` keeps all on
each and adds the gradients up: simpler, faster for small models, and for objectives that ask a part
of the model for hidden states. Each process takes an equal share of a step's rows; the loss is
divided by the targets of all of them, so that any number of processes gives the same step up to
rounding (within 1e-5; a test says so for 2 and 1 on the CPU). Processors talk over gloo, GPUs over
NCCL. Checkpoints are written whole by the first process.

After `fit` with `shard` the model stays split: `whole_state` gathers its weights for saving.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.objectives.batch import Batch, Objective
from tilth.training.checkpoint import weights_of, whole
from tilth.training.policy import Trained, modules_of

if TYPE_CHECKING:
    import torch

MODES = ("shard", "replicate")


class Alone:
    """One process: what `fit` uses where no workers are given."""

    rank, count = 0, 1

    def split(self, model: torch.nn.Module, objective: Objective) -> None:
        """Make the model ready for all processes."""

    def share(self, batch: Batch) -> Batch:
        """The rows of this process."""
        return batch

    def add(self, total: float, targets: int) -> tuple[float, int]:
        """Sums over all processes."""
        return total, targets

    def agree(self, choice: str) -> str:
        """The choice of the first process, in all of them."""
        return choice

    def add_gradients(self, trained: list[Trained]) -> None:
        """The gradients of all processes, summed, in each of them."""

    def gather(self, row: torch.Tensor) -> torch.Tensor:
        """One row of each process."""
        return row[None]

    def wait(self) -> None:
        """Until all processes are here."""


class Workers(Alone):
    """Several processes of `torchrun`, in one of the two modes. Made by `start`."""

    def __init__(self, mode: str) -> None:
        import torch.distributed as dist

        self.mode, self.rank, self.count = mode, dist.get_rank(), dist.get_world_size()

    def split(self, model: torch.nn.Module, objective: Objective) -> None:
        import torch.distributed as dist

        for prefix, module in modules_of(model, objective).items():
            if getattr(module, "_tilth_split", False):
                continue
            for tensor in weights_of({prefix: module}).values():
                dist.broadcast(tensor.detach(), 0)
            if self.mode == "shard":
                self._shard(module)
                module._tilth_split = True  # type: ignore[assignment]

    def _shard(self, module: torch.nn.Module) -> None:
        from torch import nn
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        mesh = init_device_mesh(next(module.parameters()).device.type, (self.count,))
        for part in module.modules():
            if isinstance(part, nn.ModuleList):
                for layer in part:
                    fully_shard(layer, mesh=mesh)
        fully_shard(module, mesh=mesh)
        for part in module.modules():
            if isinstance(part, FSDPModule):
                # Losses are sums: `fit` divides by the targets of all processes. And gloo knows
                # no other reduction than the sum.
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)

    def share(self, batch: Batch) -> Batch:
        if len(batch) % self.count:
            raise UsageError(
                f"{len(batch)} rows a step cannot be shared by {self.count} processes",
                hint="a batch_tokens that gives a multiple of them",
            )
        each = len(batch) // self.count
        return batch.take(slice(self.rank * each, (self.rank + 1) * each))

    def add(self, total: float, targets: int) -> tuple[float, int]:
        import torch
        import torch.distributed as dist

        both = torch.tensor([total, float(targets)], dtype=torch.float64, device=_device())
        dist.all_reduce(both)
        return both[0].item(), int(both[1].item())

    def agree(self, choice: str) -> str:
        import torch.distributed as dist

        both = [choice]
        dist.broadcast_object_list(both, 0)
        return both[0]

    def add_gradients(self, trained: list[Trained]) -> None:
        import torch
        import torch.distributed as dist

        if self.mode == "shard":
            if any(one.mask is not None for one in trained):
                raise UsageError("masks and shards do not go together", hint='mode "replicate"')
            return
        for one in trained:
            if one.parameter.grad is None:
                one.parameter.grad = torch.zeros_like(one.parameter)
            dist.all_reduce(one.parameter.grad)

    def gather(self, row: torch.Tensor) -> torch.Tensor:
        import torch
        import torch.distributed as dist

        place = row.to(_device())
        rows = [torch.empty_like(place) for _ in range(self.count)]
        dist.all_gather(rows, place)
        return torch.stack(rows).cpu()

    def wait(self) -> None:
        import torch.distributed as dist

        dist.barrier()


def start(mode: str = "shard") -> Workers:
    """Join the processes that `torchrun` started. Raises UsageError outside of torchrun."""
    import torch
    import torch.distributed as dist

    if mode not in MODES:
        raise UsageError(f"no mode is called {mode!r}", hint=" or ".join(MODES))
    if not dist.is_initialized():
        if "RANK" not in os.environ:
            raise UsageError("this process was not started by torchrun", hint="type: torchrun …")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Workers(mode)


def stop() -> None:
    """Leave the group of processes."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def whole_state(model: torch.nn.Module) -> dict[str, Any]:
    """All weights and buffers on the CPU, gathered where they are split. All must call it."""
    return {name: whole(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
