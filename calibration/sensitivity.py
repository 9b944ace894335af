"""How much each layer suffers from int8, and in which order layers go back to float.

A layer's noise is what its quantisation alone does to the head maps: the mean squared error there over the
variance of the map, averaged over the heads. Boxes and scores in one map count as two. Noise of several
layers adds up, nearly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.calibration.qdq import RoundedWeights, insert_qdq
from edgevision.calibration.ranges import Method
from edgevision.calibration.simulate import Simulation
from edgevision.graph.convolutions import Convolution, cut_model
from edgevision.graph.units import units_apart
from edgevision.types import FloatArray

ISLAND = 0.005
"""Share of the work that a float layer between int8 ones costs in conversions: an estimate."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One layer's noise at the heads when it alone is quantised; 0 where nothing changes."""

    layer: Convolution
    noise: float

    @property
    def sqnr_db(self) -> float:
        """See :func:`decibels`."""
        return decibels(self.noise)


def decibels(noise: float) -> float:
    """Signal over noise; infinite without noise."""
    return -10 * log10(noise) if noise > 0 else float("inf")


def measure_sensitivity(
    model: onnx.ModelProto,
    layers: Sequence[Convolution],
    thresholds: Mapping[str, float],
    heads: Sequence[str],
    frames: NDArray[np.uint8],
    on_layer: Callable[[int], None] = lambda done: None,
    rounded: Mapping[str, RoundedWeights] = MappingProxyType({}),
) -> tuple[Sensitivity, ...]:
    """Runs the frames once for each layer.

    Args:
        model: FP32, of the contract.
        layers: candidates for int8.
        thresholds: see :func:`edgevision.calibration.qdq.insert_qdq`.
        heads: tensors to look at.
        frames: uint8 ``[N, H, W, 3]``, a few.
        on_layer: called with the number of layers done.
        rounded: see :func:`edgevision.calibration.qdq.insert_qdq`.

    Returns:
        One for each layer, in the order given.
    """
    part = cut_model(model, heads)
    wanted = Simulation(part, heads)(frames)
    parts = _Parts(wanted)
    power = [max(float(np.var(one, dtype=np.float64)), 1e-30) for one in parts(wanted)]
    found = []
    for done, layer in enumerate(layers, start=1):
        seen = Simulation(insert_qdq(part, [layer], thresholds, rounded), heads)(frames)
        errors = [_squared_error(a, b) / p for a, b, p in zip(parts(wanted), parts(seen), power, strict=True)]
        found.append(Sensitivity(layer, float(np.mean(errors))))
        on_layer(done)
    return tuple(found)


def measure_noise(
    model: onnx.ModelProto,
    layers: Sequence[Convolution],
    thresholds: Mapping[Method, Mapping[str, float]],
    heads: Sequence[str],
    frames: NDArray[np.uint8],
    on_frame: Callable[[int], None] = lambda done: None,
    rounded: Mapping[str, RoundedWeights] = MappingProxyType({}),
) -> dict[Method, float]:
    """The noise at the heads with all of ``layers`` in int8, for each method of choosing ranges.

    It needs no labels, and on the shipped detector it falls as the loss of AP does.

    Args:
        thresholds: the ranges of each method; see :func:`edgevision.calibration.qdq.insert_qdq`.
        on_frame: called with the number of frames done, over all methods together.
        model, layers, heads, frames, rounded: see :func:`measure_sensitivity`.
    """
    part = cut_model(model, heads)
    as_float = Simulation(part, heads)
    quantised = {
        method: Simulation(insert_qdq(part, layers, thresholds[method], rounded), heads)
        for method in thresholds
    }
    parts = _Parts(as_float(frames[:1]))
    power = np.zeros(len(parts))
    errors = {method: np.zeros(len(parts)) for method in thresholds}
    done = 0
    for frame in frames:
        wanted = parts(as_float(frame[None]))
        power += [np.var(one, dtype=np.float64) for one in wanted]
        for method, simulation in quantised.items():
            seen = parts(simulation(frame[None]))
            errors[method] += [_squared_error(a, b) for a, b in zip(wanted, seen, strict=True)]
            done += 1
            on_frame(done)
    return {method: float(np.mean(error / np.maximum(power, 1e-30))) for method, error in errors.items()}


def sensitivity_frames(convolutions: Collection[Convolution]) -> int:
    """How many frames to rank with: four, or down to two where one takes billions of multiplications."""
    work = sum(layer.macs for layer in convolutions)
    return max(2, min(4, 6_000_000_000 // max(work, 1)))


def float_order(
    found: Sequence[Sensitivity], convolutions: Sequence[Convolution], min_share: float
) -> tuple[Sensitivity, ...]:
    """Layers in the order in which they go back to float: the most noise for the least work first.

    A layer is skipped where moving it would leave less than ``min_share`` of the work in int8.

    Args:
        found: the layers that are quantised.
        convolutions: all of the core, those that stay in float anyway included.
        min_share: 0..1.
    """
    total = sum(layer.macs for layer in convolutions)
    left = sum(one.layer.macs for one in found)
    ordered = sorted(found, key=lambda one: (-one.noise / (one.layer.macs / total + ISLAND), one.layer.name))
    chosen = []
    for one in ordered:
        if left - one.layer.macs >= min_share * total:
            left -= one.layer.macs
            chosen.append(one)
    return tuple(chosen)


def int8_share(quantised: Collection[Convolution], convolutions: Collection[Convolution]) -> float:
    """The share of the core's convolution work that is done in int8, 0..1."""
    return sum(layer.macs for layer in quantised) / sum(layer.macs for layer in convolutions)


class _Parts:
    """Cuts heads into the parts that have a unit of their own; see :mod:`edgevision.graph.units`.

    Args:
        heads: of the float model, which decide where.
    """

    def __init__(self, heads: Sequence[FloatArray]) -> None:
        self._units = [units_apart(one) for one in heads]

    def __len__(self) -> int:
        return sum(map(len, self._units))

    def __call__(self, heads: Sequence[FloatArray]) -> list[FloatArray]:
        return [
            one if len(units) == 1 else np.take(one, places, axis)
            for one, units in zip(heads, self._units, strict=True)
            for axis, places in units
        ]


def _squared_error(wanted: FloatArray, seen: FloatArray) -> float:
    return float(np.mean(np.square(wanted - seen, dtype=np.float64)))
