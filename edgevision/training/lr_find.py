"""The learning-rate range test (Smith 2017, arXiv:1506.01186, section 3.3): which rate to train with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgevision.errors import TrainingError, UsageError
from edgevision.evaluation.plots import blank_figure, save_figure
from edgevision.training.config import TrainingRun
from edgevision.training.distributed import World
from edgevision.training.loop import Task, torch_errors
from edgevision.training.optimiser import MixedPrecision, parameter_groups, set_training

_SMOOTHING = 0.9  # share of the past in the running mean of the loss
_DIVERGED = 3.0  # times the lowest smoothed loss
_MARGIN = 0.1  # of the steps at the start, which only settle the running mean
_SMALL_FALL = 0.05  # of the loss at the start


@dataclass(frozen=True, slots=True)
class RateCurve:
    """What the test saw.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step.
        smoothed: its running mean.
        suggestion: the rate at which the smoothed loss falls fastest, per factor of the rate.
        lowest: the rate at which it is lowest; more makes it rise.
        fall: how far the smoothed loss falls, as a share of where it starts.
        noise: standard deviation between batches that differ by chance, as such a share.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float
    lowest: float
    fall: float
    noise: float

    @property
    def is_clear(self) -> bool:
        """Whether the loss fell enough for the suggestion to mean something.

        Of batches that only differ by chance, the running mean wanders by less than their deviation.
        """
        return self.fall > max(self.noise, _SMALL_FALL)


def find_rate(
    config: TrainingRun,
    task: Task,
    world: World,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    on_step: Callable[[int, float, float], None] = lambda step, rate, loss: None,
) -> RateCurve:
    """Trains for a few steps while the rate rises by a constant factor; ends early when the loss explodes.

    The task's model is changed. Parts keep their ``lr_factors``; a backbone that is frozen at first
    stays frozen.

    Args:
        config: the run.
        task: its model and data.
        world: where to compute.
        low, high: first and last rate.
        steps: the most steps.
        on_step: called with the number of the step, its rate and its loss.

    Raises:
        UsageError: the range is empty or the steps are fewer than 20.
        TrainingError: the loss explodes at once, so no rate can be suggested.
    """
    if not 0 < low < high or steps < 20:
        raise UsageError(
            f"a range test from {low:g} to {high:g} in {steps} steps; expected 0 < low < high, 20 steps"
        )
    model = task.model.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(parameter_groups(model, config.optimiser), lr=config.optimiser.lr)
    shares = [float(group["lr"]) / config.optimiser.lr for group in optimiser.param_groups]
    precision = MixedPrecision(config.loop.precision, world.device)
    precision.prepare(model)
    set_training(model, config.optimiser, 0)
    batches = task.batches(0, world)
    rates: list[float] = []
    losses: list[float] = []
    for step, rate in enumerate(np.geomspace(low, high, steps).tolist(), start=1):
        for group, share in zip(optimiser.param_groups, shares, strict=True):
            group["lr"] = rate * share
        with torch_errors("training"), precision.autocast():
            total = torch.stack(list(task.losses(model, next(batches), world.device).values())).sum()
        loss = float(total.detach())
        if math.isfinite(loss):
            rates.append(rate)
            losses.append(loss)
            on_step(step, rate, loss)
        smoothed = smooth(losses)
        if not math.isfinite(loss) or (
            len(losses) > steps * _MARGIN and smoothed[-1] > _DIVERGED * min(smoothed)
        ):
            break
        optimiser.zero_grad(set_to_none=True)
        precision.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        precision.scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip_norm or math.inf)
        precision.scaler.step(optimiser)
        precision.scaler.update()
    return describe(rates, losses)


def describe(rates: Sequence[float], losses: Sequence[float]) -> RateCurve:
    """The curve of losses over rates, with its steepest and its lowest point.

    Raises:
        TrainingError: there are too few finite losses.
    """
    smoothed = smooth(losses)
    skipped = max(round(len(losses) * _MARGIN), 1)
    lowest = skipped + int(np.argmin(smoothed[skipped:])) if len(losses) > skipped else 0
    if lowest - skipped < 2:
        raise TrainingError(
            f"the loss did not fall in {len(losses)} steps, so no rate can be suggested; "
            "start lower or look at the data"
        )
    # Not the lowest point itself: the slope there is only that of the last step, and a higher rate diverges.
    falling = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))[skipped:lowest]
    steepest = skipped + int(np.argmin(falling))
    start = max(abs(smoothed[skipped]), 1e-12)
    return RateCurve(
        tuple(rates),
        tuple(losses),
        tuple(smoothed),
        suggestion=rates[steepest],
        lowest=rates[lowest],
        fall=(smoothed[skipped] - smoothed[lowest]) / start,
        noise=_deviation(losses[: lowest + 1]) / start,
    )


def _deviation(losses: Sequence[float]) -> float:
    """Standard deviation by chance, from the steps between neighbours: trend and outliers count little."""
    # The median of |x| is 0.6745 deviations of a normal x, and a difference of two has sqrt(2) of them.
    return float(np.median(np.abs(np.diff(losses)))) / (0.6745 * math.sqrt(2))


def smooth(losses: Sequence[float]) -> list[float]:
    """The running mean, corrected for its start at 0 as in Adam."""
    mean, smoothed = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed.append(mean / (1 - _SMOOTHING**step))
    return smoothed


def plot_rates(curve: RateCurve, path: Path) -> None:
    """Draws loss over learning rate as PNG.

    Raises:
        UsageError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    figure = blank_figure(8, 5)
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(curve.rates, curve.losses, lw=0.6, alpha=0.4)
    axes.plot(curve.rates, curve.smoothed, lw=1.8)
    axes.axvline(curve.suggestion, ls="--", label=f"falls fastest: {curve.suggestion:.1e}")
    axes.axvline(curve.lowest, ls=":", label=f"lowest: {curve.lowest:.1e}")
    low, high = min(curve.smoothed), max(curve.smoothed[: len(curve.smoothed) // 2])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    save_figure(figure, path)
