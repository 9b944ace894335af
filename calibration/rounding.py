"""Weights rounded together, so that what a convolution computes changes least.

The nearest step is best for a weight alone. What counts is the sum: with the patches ``x`` that a kernel
meets and their Gram matrix ``H = E[x x^T]``, rounding errors ``e`` of a kernel's weights change its answer by
``e H e^T`` in the mean square. GPTQ (Frantar et al. 2022, arXiv:2210.17323, algorithm 1) rounds one weight
after another, and after each moves those that are still to come so that they make up for it best:

    w_later -= e_j U_j,later / U_jj,    U upper triangular, U^T U = H^-1

The mean of ``x`` is in ``H``, so a shift of the answer's mean counts as well: no bias needs to be corrected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.cache import Cache
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.outcome import Rounding, Settings
from edgevision.calibration.qdq import LEVELS, RoundedWeights, weight_scales
from edgevision.calibration.quantiser import Quantiser
from edgevision.calibration.sampling.frames import CalibrationSet
from edgevision.calibration.sensitivity import decibels
from edgevision.calibration.simulate import Simulation
from edgevision.graph.convolutions import Convolution, cut_model
from edgevision.progress import OnDone, Progress
from edgevision.types import FloatArray

PATCHES = 256
"""Places of a frame, for each convolution, that the Gram matrix is taken over."""

LARGEST = 1200
"""Weights of a kernel that are rounded together, at most. The matrix grows with the square of their number,
its inverse with the cube, and the rounding errors of many weights make up for each other by themselves."""

_FRAMES = 24  # that the matrices are taken over, and both models compared on
_GAIN = 0.5  # decibels that it must gain, or weights go to the nearest step
_DAMPING = 0.01  # of the mean of the diagonal, added to it: the paper's share, which keeps H invertible

Grams = Mapping[str, NDArray[np.float64]]
"""For each weight, float64 ``[G, K, K]``: of each of its groups the mean of ``x x^T`` over patches."""


@dataclass(frozen=True, slots=True)
class _Geometry:
    """How a convolution without transposition lies over its input."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int

    @classmethod
    def of(cls, node: onnx.NodeProto, weight: Sequence[int]) -> _Geometry | None:
        """None where padding is computed by the engine."""
        found = {one.name: one for one in node.attribute}
        if "auto_pad" in found and found["auto_pad"].s not in (b"NOTSET", b"VALID"):
            return None

        def pair(name: str, default: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(found[name].ints) if name in found else default

        y, x = pair("strides", (1, 1))
        down, across = pair("dilations", (1, 1))
        top, left, bottom, right = pair("pads", (0, 0, 0, 0))
        groups = found["group"].i if "group" in found else 1
        return cls((weight[2], weight[3]), (y, x), (down, across), (top, left, bottom, right), groups)

    def patches(self, data: FloatArray, count: int, generator: np.random.Generator) -> FloatArray:
        """Up to ``count`` of the patches that the kernel meets in ``[C, H, W]``, as ``[G, P, K]``."""
        top, left, bottom, right = self.pads
        padded = np.pad(data, ((0, 0), (top, bottom), (left, right)))
        starts = []
        for size, kernel, stride, dilation in zip(
            padded.shape[1:], self.kernel, self.strides, self.dilations, strict=True
        ):
            starts.append(np.arange(0, size - dilation * (kernel - 1), stride))
        total = len(starts[0]) * len(starts[1])
        places = np.arange(total) if total <= count else generator.choice(total, count, replace=False)
        down, across = (np.arange(k) * d for k, d in zip(self.kernel, self.dilations, strict=True))
        rows = starts[0][places // len(starts[1])][:, None] + down
        columns = starts[1][places % len(starts[1])][:, None] + across
        taken = padded[:, rows[:, :, None], columns[:, None, :]]  # [C, P, kh, kw]
        grouped = taken.reshape(self.groups, -1, *taken.shape[1:]).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(grouped.reshape(self.groups, len(places), -1), np.float32)


def gram_matrices(
    model: onnx.ModelProto,
    layers: Sequence[Convolution],
    frames: Iterable[NDArray[np.uint8]],
    on_frame: OnDone = lambda done: None,
) -> Grams:
    """What the weights of convolutions meet in the float network.

    Args:
        model: FP32.
        layers: its convolutions; those that share a weight share its matrix. Transposed ones, those whose
            padding is left to the engine, and kernels of more than :data:`LARGEST` weights are passed over.
        frames: batches uint8 ``[1, H, W, 3]``, one or more.
        on_frame: called with the number of frames done.
    """
    nodes = {node.output[0]: node for node in model.graph.node}
    sizes = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    geometries = [
        (layer, geometry)
        for layer in layers
        if layer.kind == "Conv"
        and prod(sizes[layer.weight][1:]) <= LARGEST
        and (geometry := _Geometry.of(nodes[layer.name], sizes[layer.weight])) is not None
    ]
    names = sorted({layer.data for layer, _ in geometries})
    simulation = Simulation(cut_model(model, names), names)
    generator = np.random.default_rng(0)
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    for done, frame in enumerate(frames, start=1):
        seen = dict(zip(names, simulation(frame), strict=True))
        for layer, geometry in geometries:
            taken = geometry.patches(seen[layer.data][0], PATCHES, generator)
            gram = (taken.transpose(0, 2, 1) @ taken).astype(np.float64)
            sums[layer.weight] = sums[layer.weight] + gram if layer.weight in sums else gram
            counts[layer.weight] = counts.get(layer.weight, 0) + taken.shape[1]
        on_frame(done)
    return {name: total / counts[name] for name, total in sums.items()}


def round_weights(weights: FloatArray, gram: NDArray[np.float64], one_scale: bool = False) -> RoundedWeights:
    """int8 weights whose convolution comes closest to the float one's.

    Args:
        weights: float32 ``[M, C / G, kh, kw]``.
        gram: float64 ``[G, K, K]`` with ``K = C / G * kh * kw``, see :func:`gram_matrices`.
        one_scale: for all channels.

    Returns:
        int8 of the same shape and float32 scales ``[M]``, those of
        :func:`edgevision.calibration.qdq.quantise_weights`.
    """
    scales = weight_scales(weights, one_scale)
    groups, count = gram.shape[0], gram.shape[1]
    left = weights.astype(np.float64).reshape(groups, -1, count)
    steps = scales.astype(np.float64).reshape(groups, -1)
    diagonal = np.einsum("gkk->gk", gram)
    # The weights that meet the largest values are rounded first, while most can still make up for them.
    order = np.argsort(-diagonal, axis=1, kind="stable")
    damped = gram + np.eye(count) * np.maximum(
        _DAMPING * diagonal.mean(axis=1), np.finfo(np.float32).tiny
    ).reshape(-1, 1, 1)
    damped = np.take_along_axis(np.take_along_axis(damped, order[:, :, None], 1), order[:, None, :], 2)
    left = np.take_along_axis(left, order[:, None, :], 2)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    rounded = np.empty(left.shape, np.int8)
    for place in range(count):
        step = np.clip(np.rint(left[:, :, place] / steps), -LEVELS, LEVELS)
        rounded[:, :, place] = step
        error = (left[:, :, place] - step * steps) / upper[:, None, place, place]
        left[:, :, place + 1 :] -= error[:, :, None] * upper[:, None, place, place + 1 :]
    back = np.argsort(order, axis=1)
    rounded = np.take_along_axis(rounded, back[:, None, :], 2)
    return RoundedWeights(rounded.reshape(weights.shape), scales)


def round_together(
    model: onnx.ModelProto, grams: Grams, on_weight: OnDone = lambda done: None, one_scale: bool = False
) -> dict[str, RoundedWeights]:
    """Every weight that has a Gram matrix, rounded; see :func:`round_weights`."""
    constants = {constant.name: constant for constant in model.graph.initializer}
    found = {}
    for done, (name, gram) in enumerate(grams.items(), start=1):
        found[name] = round_weights(numpy_helper.to_array(constants[name]), gram, one_scale)
        on_weight(done)
    return found


def round_together_if_quieter(
    model: FloatModel, frames: CalibrationSet, settings: Settings, cache: Cache, progress: Progress
) -> tuple[Mapping[str, RoundedWeights], Rounding | None]:
    """Weights rounded together where int8 then changes the heads less, else none.

    Where activations make most of the noise, better weights gain nothing: what they make up for is then no
    longer what the int8 network computes. So loud layers are spared before.

    Args:
        model: to quantise, its channels equalised and its loud layers spared.
        frames: to calibrate on; up to 24 of them are used.
        settings: the method of the ranges to compare with, see :attr:`Settings.with_one_method`.
        cache: see :class:`~edgevision.calibration.quantiser.Quantiser`.
        progress: shows how far each step is.

    Returns:
        Weights by name, and what was found; None where no convolution can be treated so.
    """
    few = frames.spread(_FRAMES)
    one_method = settings.with_one_method
    one_scale = settings.weight_scale == "tensor"
    nearest = Quantiser(model, few, one_method, cache, progress)
    key = {**nearest.key, "kind": "weights rounded together", "patches": PATCHES, "damping": _DAMPING}
    weights = {constant.name: constant for constant in model.graph.graph.initializer}
    kept = cache.load(key, dict[str, bytes])
    if kept is None:
        with progress("looking at what weights meet", len(few.frames)) as on_done:
            grams = gram_matrices(model.graph, model.candidates, few.batches(1), on_done)
        with progress("rounding weights", len(grams)) as on_done:
            rounded = round_together(model.graph, grams, on_done, one_scale)
        cache.store(key, {name: one.steps.tobytes() for name, one in rounded.items()})
    else:
        rounded = {}
        for name, steps in kept.items():
            values = numpy_helper.to_array(weights[name])
            shaped = np.frombuffer(steps, np.int8).reshape(values.shape)
            rounded[name] = RoundedWeights(shaped, weight_scales(values, one_scale))
    if not rounded:
        return MappingProxyType({}), None
    together = Quantiser(model, few, one_method, cache, progress, rounded)
    before, after = (decibels(min(one.noises().values())) for one in (nearest, together))
    taken = after > before and after >= before + _GAIN  # both may be infinite
    found = Rounding(weights=len(rounded), before_db=before, after_db=after, is_taken=taken)
    return (rounded if taken else MappingProxyType({})), found
