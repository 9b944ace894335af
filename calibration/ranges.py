"""How far activations reach: what each tensor showed over the frames, and the range that int8 is to hold.

Two passes over the frames, one frame in memory at a time: the first finds the extremes, the second counts
magnitudes in bins up to them. Zeros are counted apart, since int8 holds them exactly at any scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.calibration.simulate import Simulation
from edgevision.errors import CalibrationError
from edgevision.graph.convolutions import cut_model
from edgevision.progress import OnDone

Method = Literal["minmax", "peak", "percentile", "entropy", "trained"]
METHODS: tuple[Method, ...] = ("minmax", "peak", "percentile", "entropy")
"""Those that measure ranges on frames; ``trained`` are ranges that the model was trained with."""

BINS = 2048
PERCENTILE = 99.99
_ROOM = 1.1  # by which ``peak`` goes beyond what a frame reaches in the mean: half of the frames go further
_LEVELS = 128  # magnitudes that int8 can represent, as in TensorRT's own calibration

Frames = Callable[[], Iterable[NDArray[np.uint8]]]
"""Called once for each pass; yields batches uint8 ``[N, H, W, 3]``."""


class TensorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What one tensor showed.

    Attributes:
        low, high: extremes.
        mean: over all values.
        peak: the greatest magnitude of a frame, mean over the frames.
        histogram: counts of magnitudes above 0, in :data:`BINS` equal bins from 0 to the greatest; empty
            where only the extremes were asked for.
    """

    low: float
    high: float
    mean: float
    peak: float = 0.0
    histogram: tuple[int, ...] = ()

    @property
    def greatest(self) -> float:
        """The greatest magnitude."""
        return max(abs(self.low), abs(self.high))


def measure_ranges(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    frames: Frames,
    histograms: bool,
    on_frame: OnDone = lambda done: None,
    name_frame: Callable[[int], str] = lambda place: f"frame {place + 1}",
) -> dict[str, TensorStatistics]:
    """Runs the frames through a model and looks at some of its tensors.

    Args:
        model: FP32, of the contract; its own preprocessing is what the tensors see.
        tensors: float tensors inside it.
        frames: to measure on.
        histograms: count magnitudes too, which takes a second pass.
        on_frame: called with the number of frames done, over both passes together.
        name_frame: what users call the frame at a place, counted from 0.

    Raises:
        CalibrationError: there are no frames, or a tensor holds a value that is not finite on any of them.
    """
    names = sorted(set(tensors))
    simulation = Simulation(cut_model(model, names), names)
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    total, peaks = np.zeros(len(names)), np.zeros(len(names))
    done = 0
    for frame in _single(frames):
        for i, values in enumerate(simulation(frame)):
            least, most = values.min(), values.max()
            check_finite(least, most, names[i], name_frame(done))
            low[i], high[i] = min(low[i], least), max(high[i], most)
            total[i] += values.mean(dtype=np.float64)
            peaks[i] += max(-least, most)
        done += 1
        on_frame(done)
    if not done:
        raise CalibrationError("there are no frames to calibrate on; check `sources`")
    found = {
        name: TensorStatistics(
            low=float(low[i]), high=float(high[i]), mean=float(total[i] / done), peak=float(peaks[i] / done)
        )
        for i, name in enumerate(names)
    }
    return add_histograms(model, found, frames, lambda more: on_frame(done + more)) if histograms else found


def check_finite(least: float, most: float, tensor: str, frame: str) -> None:
    """Refuses a tensor with values that are not finite.

    Args:
        least, most: its extremes; NaN is both of any array that holds one.
        tensor, frame: their names, for the message.

    Raises:
        CalibrationError: one of them is not finite.
    """
    if not (np.isfinite(least) and np.isfinite(most)):
        raise CalibrationError(
            f"tensor {tensor} holds numbers that are not finite on {frame}; the model "
            "is broken: export it again, or leave that image out"
        )


def add_histograms(
    model: onnx.ModelProto,
    extremes: Mapping[str, TensorStatistics],
    frames: Frames,
    on_frame: OnDone = lambda done: None,
) -> dict[str, TensorStatistics]:
    """Counts magnitudes in a second pass over the frames.

    Args:
        model, frames: those that ``extremes`` were measured with.
        extremes: see :func:`measure_ranges`.
        on_frame: called with the number of frames done.
    """
    names = sorted(extremes)
    simulation = Simulation(cut_model(model, names), names)
    greatest = np.array([extremes[name].greatest for name in names])
    counts = _count(simulation, frames, greatest, on_frame)
    return {
        name: msgspec.structs.replace(extremes[name], histogram=counts[i]) for i, name in enumerate(names)
    }


def thresholds(
    statistics: Mapping[str, TensorStatistics], method: Method, percentile: float = PERCENTILE
) -> dict[str, float]:
    """For each tensor the greatest magnitude that int8 is to hold; beyond it values are cut.

    Args:
        statistics: with histograms, unless the method is ``minmax``.
        method: ``minmax`` cuts nothing, ``percentile`` all but a share, ``entropy`` what costs least;
            ``peak`` is ``percentile``, but reaches a tenth further than a frame does in the mean, for in a
            large map the values that an object makes are so few that a share of all leaves them out.
        percentile: of the magnitudes above 0 that ``percentile`` and ``peak`` hold, in per cent.
    """
    if method == "minmax":
        return {name: one.greatest for name, one in statistics.items()}
    bins = {name: np.array(one.histogram, np.float64) for name, one in statistics.items()}
    if method == "entropy":
        upto = {name: entropy_bin(counts) for name, counts in bins.items()}
    else:
        upto = {name: percentile_bin(counts, percentile) for name, counts in bins.items()}
    held = {name: upto[name] / len(bins[name]) * one.greatest for name, one in statistics.items()}
    if method == "peak":
        return {
            name: max(held[name], min(_ROOM * one.peak, one.greatest)) for name, one in statistics.items()
        }
    return held


def percentile_bin(counts: NDArray[np.float64], percentile: float) -> int:
    """How many bins from the first hold at least ``percentile`` per cent of the counts; all where none do."""
    total = counts.sum()
    if not total:
        return len(counts)
    # Rounding must not push a percentile of 100 over the last bin.
    reached = np.cumsum(counts) >= total * min(percentile, 100) / 100 * (1 - 1e-12)
    return int(np.argmax(reached)) + 1


def entropy_bin(counts: NDArray[np.float64], levels: int = _LEVELS) -> int:
    """How many bins to hold so that int8 represents the distribution best.

    The number for which the Kullback-Leibler divergence of the distribution, its tail cut to the last bin,
    from its quantised form is least (Migacz, 8-bit inference with TensorRT, GTC 2017). Tried in steps of
    ``levels / 8`` bins; of equals, the most bins.

    Args:
        counts: float ``[B]``, magnitudes above 0.
        levels: steps of the quantised form.
    """
    size = len(counts)
    if size <= levels or not counts.any():
        return size
    best, least = size, np.inf
    for held in sorted({*range(levels, size, max(1, levels // 8)), size}):
        divergence = _divergence(counts, held, levels)
        if divergence <= least:
            best, least = held, divergence
    return best


def _divergence(counts: NDArray[np.float64], held: int, levels: int) -> float:
    """KL divergence of the first ``held`` bins, the rest added to the last, from their quantised form."""
    inside = counts[:held]
    if not inside.any():
        return float(np.inf)
    wanted = inside.copy()
    wanted[-1] += counts[held:].sum()
    # Each step's count is spread over those of its bins that hold anything.
    step = np.arange(held) * levels // held
    filled = inside > 0
    each = np.bincount(step, inside, levels) / np.maximum(np.bincount(step, filled, levels), 1)
    coarse = np.where(filled, each[step], 0)
    present = wanted > 0
    if (coarse[present] == 0).any():  # only the last bin can be: the tail fell into an empty one
        coarse[present & (coarse == 0)] = 1.0
    p, q = wanted[present] / wanted.sum(), coarse[present] / coarse.sum()
    return float(np.sum(p * np.log(p / q)))


def _count(
    simulation: Simulation, frames: Frames, greatest: NDArray[np.float64], on_frame: OnDone
) -> list[Any]:
    counts = np.zeros((len(greatest), BINS), np.int64)
    for done, frame in enumerate(_single(frames), start=1):
        for i, values in enumerate(simulation(frame)):
            if greatest[i] == 0:
                continue
            magnitudes = np.abs(values.ravel())
            bins = (magnitudes[magnitudes > 0] * np.float32(BINS / greatest[i])).astype(np.int64)
            counts[i] += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
        on_frame(done)
    return [tuple(row.tolist()) for row in counts]


def _single(frames: Frames) -> Iterator[NDArray[np.uint8]]:
    """One frame at a time: the tensors of a whole batch would take gigabytes."""
    for batch in frames():
        for frame in batch:
            yield frame[None]
