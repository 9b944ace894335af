"""Sums over the processes that train together; in a single process they are the values themselves."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


def sum_of_all(values: Tensor) -> Tensor:
    """The sum over all processes.

    Its gradient is summed over them too, for each process's loss depends on all. Gradients that are
    averaged afterwards are then those that one process would have.
    """
    total: Tensor = _SumOfAll.apply(values) if _processes() > 1 else values
    return total


def even_share(values: Tensor, least: float) -> Tensor:
    """The sum over all processes, ``least`` or more, divided by their number; without a gradient.

    A loss that is a sum over a process's own images, divided by this, averages over the processes to what
    one process would compute. ``least`` keeps it from dividing by 0.
    """
    return sum_of_all(values.detach()).clamp(min=least) / _processes()


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _SumOfAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
