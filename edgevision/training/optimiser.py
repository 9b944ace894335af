"""Parameter groups, the learning-rate schedule and averaged weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from edgevision.training.config import LoopConfig, OptimiserConfig


def parameter_groups(model: nn.Module, config: OptimiserConfig) -> list[dict[str, object]]:
    """Groups for AdamW: backbone and the rest, each with and without weight decay.

    Parameters of a frozen backbone are marked and left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        in_backbone = name.startswith("backbone.")
        if in_backbone and config.backbone_lr_factor == 0:
            parameter.requires_grad_(False)
            continue
        groups.setdefault((in_backbone, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * (config.backbone_lr_factor if in_backbone else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in groups.items()
    ]


def lr_factor(seen: int, loop: LoopConfig, config: OptimiserConfig) -> float:
    """Share of the highest learning rate after ``seen`` images: linear warm-up, then half a cosine."""
    if seen < config.warmup_images:
        return (seen + loop.batch_size) / (config.warmup_images + loop.batch_size)
    if config.schedule == "constant":
        return 1.0
    progress = (seen - config.warmup_images) / max(loop.images - config.warmup_images, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return config.final_lr_factor + (1 - config.final_lr_factor) * cosine


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and BatchNorm statistics.

    Early on the decay is lower, ``(1 + n) / (10 + n)``, so that the random start is soon forgotten.
    """

    def mix(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return current
        share = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return torch.lerp(current, average, share)

    return AveragedModel(model, avg_fn=mix, use_buffers=True)
