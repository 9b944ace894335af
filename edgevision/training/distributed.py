"""One training in several processes, as ``torchrun`` starts them: gloo on CPUs, NCCL on GPUs.

Each process takes every n-th image of the same stream. Gradients are averaged, BatchNorm uses the
statistics of the whole batch, and losses are divided by what the whole batch holds: so n processes
compute what one process would, up to rounding.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgevision.models.collective import sum_of_all

_PATIENCE = timedelta(hours=2)  # the others wait while the first validates


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run.

    Attributes:
        rank: of this process; 0 writes files, validates and talks.
        size: how many there are.
        device: what this one computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are averaged over all processes."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        # Buffers are equal already: BatchNorm sees the whole batch, or is frozen.
        return DistributedDataParallel(model, device_ids=devices, **_without_buffers())

    def mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def wait(self) -> None:
        """Returns once every process has come here."""
        if self.size > 1:
            dist.barrier()


def _without_buffers() -> dict[str, Any]:
    """The option that keeps buffers from being sent before each step; torch 2.13 renamed it."""
    known = inspect.signature(DistributedDataParallel).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


@contextmanager
def open_world() -> Iterator[World]:
    """The world that ``torchrun`` describes in the environment, or a single process."""
    accelerated = torch.cuda.is_available()
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield World(device=torch.device("cuda" if accelerated else "cpu"))
        return
    device = torch.device("cpu")
    if accelerated:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if accelerated else "gloo", timeout=_PATIENCE)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def synchronise_norms(model: nn.Module, world: World) -> nn.Module:
    """The model with BatchNorm over the whole batch; parameters and their names stay."""
    if world.size == 1:
        return model
    if world.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    return _with_cpu_norms(model)


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes; torch's own works on GPUs only.

    As in BatchNorm, statistics of half-precision maps are float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same, of the same type; in evaluation mode exactly as BatchNorm."""
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = sum_of_all(wide.sum(dim=(0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = sum_of_all(centred.square().sum(dim=(0, 2, 3))) / count
        self._track(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _with_cpu_norms(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.BatchNorm2d):
        norm = SyncedBatchNorm2d(module.num_features, module.eps, module.momentum)
        norm.weight, norm.bias = module.weight, module.bias
        norm.running_mean, norm.running_var = module.running_mean, module.running_var
        norm.num_batches_tracked = module.num_batches_tracked
        return norm
    for name, child in module.named_children():
        setattr(module, name, _with_cpu_norms(child))
    return module
