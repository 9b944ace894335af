"""Parameter groups, what is frozen when, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from edgevision.errors import ConfigError, nearest
from edgevision.training.config import LoopConfig, OptimiserConfig

BACKBONE = "backbone"

_ONE_CYCLE_START = 1 / 25  # of the highest rate, as in torch's OneCycleLR
_MOMENTUM_HIGH, _MOMENTUM_LOW = 0.95, 0.85
_ADAMW_MOMENTUM = 0.9

Tensors = tuple[Tensor, ...] | list[Tensor]


def parameter_groups(model: nn.Module, config: OptimiserConfig) -> list[dict[str, object]]:
    """Groups for AdamW: one for each entry of ``lr_factors`` and the rest, with and without weight decay.

    Parameters with a factor of 0 are left out.

    Raises:
        ConfigError: an entry fits no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for part in config.lr_factors:
        if not any(_inside(name, part) for name in names):
            parts = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}
            raise ConfigError(f"lr_factors: the model has no part '{part}'{nearest(part, parts)}")
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = lr_share(name, config)
        if factor > 0:
            groups.setdefault((factor, parameter.ndim >= 2), []).append(parameter)
    if not groups:
        raise ConfigError("lr_factors: every part of the model is frozen; nothing can be trained")
    return [
        {
            "params": parameters,
            "lr": config.lr * factor,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in groups.items()
    ]


def lr_share(name: str, config: OptimiserConfig) -> float:
    """The share of the learning rate for the parameter or module ``name``."""
    fitting = [part for part in config.lr_factors if _inside(name, part)]
    return config.lr_factors[max(fitting, key=len)] if fitting else 1.0


def is_backbone_frozen(seen: int, config: OptimiserConfig) -> bool:
    """Whether the backbone is still frozen after ``seen`` images; it learns later."""
    return seen < config.freeze_backbone_images


def set_training(model: nn.Module, config: OptimiserConfig, seen: int) -> None:
    """Training mode and gradients for what learns after ``seen`` images, and for nothing else.

    A part that is frozen as a whole is in evaluation mode: its BatchNorm statistics must not drift either.
    """
    frozen_backbone = is_backbone_frozen(seen, config)
    model.train()
    for name, parameter in model.named_parameters():
        learns = lr_share(name, config) > 0 and not (frozen_backbone and _inside(name, BACKBONE))
        parameter.requires_grad_(learns)
    for module in _frozen(model):
        module.eval()


def _frozen(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules inside ``module`` whose parameters are all frozen."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _frozen(child)


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and BatchNorm statistics.

    Early on the decay is lower, ``(1 + n) / (10 + n)``, so that the random start soon loses its influence.
    """

    def mix(averages: Tensors, current: Tensors, updates: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # BatchNorm's count of batches
            torch._foreach_copy_(averages, current)
            return
        taken = int(updates)
        share = min(decay, (1 + taken) / (10 + taken))
        torch._foreach_lerp_(averages, current, 1 - share)

    return AveragedModel(model, multi_avg_fn=mix, use_buffers=True)


PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]


class MixedPrecision:
    """Autocast for the forward pass, and scaled gradients where the type needs them.

    Args:
        name: what the configuration asks for.
        device: where the model is.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self._device = device
        self._dtype = _choose(name, device)
        # bfloat16 has the range of float32; float16 loses small gradients unless they are scaled.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)

    def autocast(self) -> torch.autocast:
        """The context of a forward pass and its losses."""
        dtype = self._dtype or torch.bfloat16
        return torch.autocast(self._device.type, dtype=dtype, enabled=self._dtype is not None)

    def prepare(self, model: nn.Module) -> None:
        """Changes ``model`` so that each layer has the type that it is quick in, and its parameters stay.

        On a processor the gradient of a depthwise convolution takes two to eight times as long in bfloat16
        as in float32 (torch 2.13), which can cost more than all other layers gain; so they stay in float32.
        """
        if self._device.type != "cpu" or self._dtype is None:
            return
        for module in model.modules():
            if type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
                module.__class__ = _Float32Conv2d


class _Float32Conv2d(nn.Conv2d):
    """A convolution that autocast leaves in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` of any type to ``[N, C, H', W']`` in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def _choose(name: PrecisionName, device: torch.device) -> torch.dtype | None:
    if name == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def lr_factor(seen: int, loop: LoopConfig, config: OptimiserConfig) -> float:
    """Share of the highest learning rate after ``seen`` images."""
    if config.schedule == "one_cycle":
        rising, progress = _cycle(seen, loop, config)
        if rising:
            return _half_cosine(_ONE_CYCLE_START, 1.0, progress)
        return _half_cosine(1.0, config.final_lr_factor, progress)
    if seen < config.warmup_images:
        return (seen + loop.batch_size) / (config.warmup_images + loop.batch_size)
    if config.schedule == "constant":
        return 1.0
    progress = (seen - config.warmup_images) / max(loop.images - config.warmup_images, 1)
    return _half_cosine(1.0, config.final_lr_factor, progress)


def momentum(seen: int, loop: LoopConfig, config: OptimiserConfig) -> float:
    """AdamW's first beta after ``seen`` images; it cycles against the rate in ``one_cycle``."""
    if config.schedule != "one_cycle":
        return _ADAMW_MOMENTUM
    rising, progress = _cycle(seen, loop, config)
    ends = (_MOMENTUM_HIGH, _MOMENTUM_LOW) if rising else (_MOMENTUM_LOW, _MOMENTUM_HIGH)
    return _half_cosine(*ends, progress)


def _cycle(seen: int, loop: LoopConfig, config: OptimiserConfig) -> tuple[bool, float]:
    """Whether the rate rises, and how far that half of the cycle is."""
    # As in torch's OneCycleLR, the last of the steps has the final rate and the first the starting rate.
    steps = max(math.ceil(loop.images / loop.batch_size) - 1, 1)
    turn = config.rise * (steps + 1) - 1
    step = min(seen / loop.batch_size, steps)
    if step <= turn:
        return True, step / max(turn, 1e-9)
    return False, (step - turn) / (steps - turn)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
