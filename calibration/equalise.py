"""Cross-layer equalisation: channels of a tensor are brought to like ranges before one scale holds them.

An activation has one int8 scale for all its channels, so that a channel of small values has few steps left.
ReLU, LeakyReLU and pooling commute with a positive factor: dividing what one convolution makes in channel i
by ``s_i``, and multiplying the weights that read this channel by it, changes no answer in float (Nagel et al.
2019, arXiv:1906.04721, section 4.1). Here a channel is followed through concatenations, splits, shuffles and
sums, too (:mod:`edgevision.calibration.channels`), so one factor may be in many tensors.

With the reach ``a_i`` of the channels that a convolution reads, their mean squares ``x_i`` and its weights
``w_oi``, one scale for the tensor and one for each of the convolution's own channels make its answer noisy by

    A = max_i (a_i / s_i)^2 sum_oi w_oi^2 s_i^2,    B = sum_o max_i (w_oi s_i)^2 sum_i x_i / s_i^2

times the square of a step, from the rounding of activations and of weights. The factors are those for which
the sum of both, over the power of each answer, is least over all convolutions. It is convex in ``log s``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.cache import Cache
from edgevision.calibration.channels import Channels, find_channels
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.outcome import Equalisation, Settings
from edgevision.calibration.quantiser import Quantiser
from edgevision.calibration.ranges import check_finite
from edgevision.calibration.sampling.frames import CalibrationSet
from edgevision.calibration.sensitivity import decibels
from edgevision.calibration.simulate import Simulation
from edgevision.graph.convolutions import cut_model
from edgevision.progress import OnDone, Progress, no_progress
from edgevision.types import FloatArray

_ROUNDED = 0.1  # of the noise of weights that are rounded each to its nearest step: they are rounded together
_SILENT = 0.03  # smallest reach, as a share of the largest: a channel may wake up on other images
_FLOOR = 1e-4  # smallest weight, as a share of the largest
_SHARPNESS = 12  # of the p-norm that stands for the greatest of several, so that it has a slope
_RATE = 0.1  # of the descent at its start, in units of log s
_MOST_STEPS, _FEWEST_STEPS = 200, 40
_WORK = 3e8  # of pairs of channels looked at, all steps together: seconds, unless the fewest steps are more
_REACH_FRAMES = 96  # that channels are looked at on
_FRAMES = 24  # that both models are compared on
_GAIN = 0.5  # decibels that equalisation must gain, or the model stays as it is

Vector = NDArray[np.float64]


class Reach(NamedTuple):
    """How far each channel of a tensor goes.

    Attributes:
        greatest: float64 ``[C]``, its greatest magnitude in an image, mean over the images.
        power: float64 ``[C]``, its mean square.
    """

    greatest: Vector
    power: Vector


def channel_reach(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    frames: Iterable[NDArray[np.uint8]],
    on_frame: OnDone = lambda done: None,
    name_frame: Callable[[int], str] = lambda place: f"frame {place + 1}",
) -> dict[str, Reach]:
    """How far each channel of some tensors goes.

    Args:
        model: FP32, of the contract.
        tensors: float tensors ``[1, C, H, W]`` inside it.
        frames: batches uint8 ``[1, H, W, 3]``, one or more.
        on_frame: called with the number of frames done.
        name_frame: what users call the frame at a place, counted from 0.

    Raises:
        CalibrationError: a tensor holds a value that is not finite on any of the frames.
    """
    names = sorted(set(tensors))
    simulation = Simulation(cut_model(model, names), names)
    total: dict[str, Reach] = {}
    done = 0
    for frame in frames:
        for name, values in zip(names, simulation(frame), strict=True):
            check_finite(values.min(), values.max(), name, name_frame(done))
            flat = values[0].reshape(values.shape[1], -1)
            greatest = np.abs(flat).max(axis=1).astype(np.float64)
            power = np.square(flat, dtype=np.float64).mean(axis=1)
            before = total.get(name)
            total[name] = Reach(greatest, power) if before is None else _sum(before, greatest, power)
        done += 1
        on_frame(done)
    return {name: Reach(one.greatest / done, one.power / done) for name, one in total.items()}


def _sum(before: Reach, greatest: Vector, power: Vector) -> Reach:
    return Reach(before.greatest + greatest, before.power + power)


class _Noise:
    """What int8 makes of one convolution's answer, over the power of this answer, and its slope.

    Args:
        weights: ``[M, C, ...]``, or ``[C, 1, ...]`` depthwise.
        reach: of the tensor that it reads.
        places: ``[C]``, of the factors; the last one is 1.

    Attributes:
        is_silent: the answer is always 0, as of weights that are all pruned: there is nothing to be noisy.
        work: pairs of channels that one call looks at.
    """

    def __init__(
        self, weights: FloatArray, is_depthwise: bool, reach: Reach, places: NDArray[np.intp]
    ) -> None:
        self.places = places
        exact = weights.astype(np.float64)
        squares = np.square(exact).sum(axis=(1, 2, 3) if is_depthwise else (0, 2, 3))
        power = float(squares @ reach.power)
        self.is_silent = power == 0
        answer = max(power, 1e-30)
        self._reach = np.log(np.maximum(reach.greatest, max(reach.greatest.max() * _SILENT, 1e-30)))
        self._squares = squares / answer
        # Depthwise weights have a scale for each channel, so that factors change nothing of their rounding.
        greatest = None if is_depthwise else np.abs(exact).max(axis=(2, 3))
        self._weights = (
            None if greatest is None else np.log(np.maximum(greatest, max(greatest.max() * _FLOOR, 1e-30)))
        )
        self.work = places.size if greatest is None else greatest.size
        self._power = reach.power * (_ROUNDED * exact[0, 0].size / answer)

    def __call__(self, logs: Vector) -> tuple[float, Vector]:
        """The noise with factors of these logarithms, and its derivative by each channel's."""
        own = logs[self.places]
        up = np.exp(2 * own)
        step, share = _greatest_square(self._reach - own)
        reading = self._squares * up
        noise = float(step * reading.sum())
        slope = 2 * (step * reading - noise * share)
        if self._weights is not None:
            steps, shares = _greatest_square(self._weights + own)
            power = self._power / up
            noise += float(steps.sum() * power.sum())
            slope += 2 * (power.sum() * (steps @ shares) - steps.sum() * power)
        return noise, slope


def _greatest_square(logs: Vector) -> tuple[Vector, Vector]:
    """Of ``[..., C]`` logarithms the square of the greatest, nearly, and what share of it each one has."""
    top = logs.max(axis=-1, keepdims=True)
    parts = np.exp(_SHARPNESS * (logs - top))
    total = parts.sum(axis=-1, keepdims=True)
    greatest = np.exp(2 * top) * total ** (2 / _SHARPNESS)
    return greatest[..., 0], parts / total


def best_factors(
    model: onnx.ModelProto,
    channels: Channels,
    reach: Mapping[str, Reach],
    progress: Progress = no_progress,
) -> FloatArray:
    """float32 ``[count]``: what each channel is divided by.

    Args:
        model: FP32.
        channels: of this model, one factor or more.
        reach: of the tensors that are read.
        progress: shows how many steps of the descent are done.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    every = [
        _Noise(
            numpy_helper.to_array(constants[one.weight]),
            one.is_depthwise,
            reach[one.tensor],
            np.where(one.channels < 0, channels.count, one.channels),
        )
        for one in channels.readers
    ]
    noises = [one for one in every if not one.is_silent]
    work = sum(one.work for one in noises)
    count = int(np.clip(_WORK / max(work, 1), _FEWEST_STEPS, _MOST_STEPS))
    logs = np.zeros(channels.count + 1)
    mean, square = np.zeros_like(logs), np.zeros_like(logs)
    # Descent by the slope's sign, nearly (Kingma and Ba 2014, arXiv:1412.6980, algorithm 1, without its
    # corrections, which only matter at the start).
    with progress("finding factors", count) as on_done:
        for step in range(count):
            slope = np.zeros_like(logs)
            for noise in noises:
                np.add.at(slope, noise.places, noise(logs)[1])
            slope[-1] = 0
            mean = 0.9 * mean + 0.1 * slope
            square = 0.9 * square + 0.1 * slope**2
            logs -= _RATE * (1 - step / count) * mean / np.sqrt(np.maximum(square, 1e-60))
            on_done(step + 1)
    factors: FloatArray = np.exp(logs[:-1]).astype(np.float32)
    return factors


def equalise(model: onnx.ModelProto, channels: Channels, factors: FloatArray) -> onnx.ModelProto:
    """A copy of ``model`` with the same answers in float and channels divided by factors.

    Args:
        model: FP32.
        channels: of this model, see :func:`~edgevision.calibration.channels.find_channels`.
        factors: float32 ``[count]``, see :func:`best_factors`.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {constant.name: constant for constant in copy.graph.initializer}

    def scale(name: str, by_channel: FloatArray, axis: int) -> None:
        values = numpy_helper.to_array(constants[name])
        shape = [-1 if place == axis else 1 for place in range(values.ndim)]
        constants[name].CopyFrom(numpy_helper.from_array(values * by_channel.reshape(shape), name))

    for maker in channels.makers:
        inverse = np.reciprocal(of_channels(factors, maker.channels))
        scale(maker.weight, inverse, 0)
        if maker.bias:
            scale(maker.bias, inverse, 0)
    for reader in channels.readers:
        scale(reader.weight, of_channels(factors, reader.channels), 0 if reader.is_depthwise else 1)
    return copy


def of_channels(factors: FloatArray, channels: NDArray[np.intp]) -> FloatArray:
    """float32 ``[C]``: the factors of a maker's or a reader's channels; 1 for those that have none."""
    return np.append(factors, np.float32(1))[channels]


def equalise_if_quieter(
    model: FloatModel, frames: CalibrationSet, settings: Settings, cache: Cache, progress: Progress
) -> tuple[FloatModel, Equalisation | None]:
    """The model with its channels equalised where int8 then changes the heads less, else the model as it is.

    Args:
        model: to quantise.
        frames: to calibrate on; up to 96 of them are used.
        settings: the method of the ranges to compare with, see :attr:`Settings.with_one_method`.
        cache: see :class:`~edgevision.calibration.quantiser.Quantiser`.
        progress: shows how far each step is.

    Returns:
        The model to go on with, and what was found; None where it has no channels to equalise, or weights
        for which there are no finite factors.

    Raises:
        CalibrationError: a tensor holds a value that is not finite on any of the frames.
    """
    channels = find_channels(model.graph, {layer.weight for layer in model.candidates})
    if not channels.count:
        return model, None
    few, more = frames.spread(_FRAMES), frames.spread(_REACH_FRAMES)
    with progress("equalising channels", len(more.frames)) as on_done:
        reach = channel_reach(model.graph, channels.tensors, more.batches(1), on_done, more.frame_name)
    factors = best_factors(model.graph, channels, reach, progress)
    if not np.isfinite(factors).all():
        return model, None
    other = replace(model, graph=equalise(model.graph, channels, factors))
    before, after = (
        decibels(min(Quantiser(one, few, settings.with_one_method, cache, progress).noises().values()))
        for one in (model, other)
    )
    taken = after > before and after >= before + _GAIN  # both may be infinite
    found = Equalisation(tensors=len(channels.tensors), before_db=before, after_db=after, is_taken=taken)
    return (other if taken else model), found
