"""Learning rate and momentum as functions of the images seen, so that a resumed run needs no state."""

from __future__ import annotations

import math

from edgevision.training.config import LoopConfig, OptimiserConfig

_ONE_CYCLE_START = 1 / 25  # of the highest rate, as in torch's OneCycleLR
_MOMENTUM_HIGH, _MOMENTUM_LOW = 0.95, 0.85
_ADAMW_MOMENTUM = 0.9


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
