"""Cross-layer equalisation: channels of a tensor are brought to like ranges before one scale holds them.

An activation has one int8 scale for all its channels, so that a channel of small values has few steps left.
ReLU, LeakyReLU and pooling commute with a positive factor: dividing what one convolution makes in channel i
by ``s_i``, and multiplying the weights that read this channel by it, changes no answer in float (Nagel et al.
2019, arXiv:1906.04721, section 4.1). With the reach ``a_i`` of the channel and the largest weight ``w_i``
that reads it,

    s_i ~ sqrt(a_i / w_i)

shares the difference between activations and weights, as in SmoothQuant (Xiao et al. 2023, arXiv:2211.10438,
equation 4, alpha 0.5). Depthwise weights have a scale for each channel and lose nothing: there ``s_i ~ a_i``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.cache import Cache
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.outcome import Equalisation, Settings
from edgevision.calibration.quantiser import Quantiser
from edgevision.calibration.sampling.frames import CalibrationSet
from edgevision.calibration.sensitivity import decibels
from edgevision.calibration.simulate import Simulation
from edgevision.graph.convolutions import cut_model
from edgevision.progress import OnDone, Progress
from edgevision.types import FloatArray

_COMMUTES = ("LeakyRelu", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity")
_REACH = 99.9  # percentile of a channel's magnitudes in one image: one outlier is not its reach
_LIMIT = 8.0  # largest ratio of two factors: a channel that is nearly silent must not blow its weights up
_FLOOR = 1e-4  # smallest reach and weight, as a share of the largest
_FRAMES = 24  # that both models are compared on
_GAIN = 0.5  # decibels that equalisation must gain, or the model stays as it is


@dataclass(frozen=True, slots=True)
class Link:
    """A convolution whose channels are read by convolutions only, through nothing but scale-free operators.

    Attributes:
        maker: weight of the convolution that makes the channels.
        bias: its bias, or empty.
        readers: for each convolution that reads them, its weight and whether it is depthwise.
        tensor: what one of the readers reads: the channels as they are quantised.
    """

    maker: str
    bias: str
    readers: tuple[tuple[str, bool], ...]
    tensor: str


def find_links(model: onnx.ModelProto) -> tuple[Link, ...]:
    """The places where channels can be scaled without changing an answer, in the graph's order.

    Left out are weights that are shared or computed, grouped convolutions other than depthwise ones, and
    channels that anything else reads, an output of the graph included.
    """
    graph = model.graph
    constants = {constant.name: tuple(constant.dims) for constant in graph.initializer}
    reads: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            reads.setdefault(name, []).append((node, place))
    outputs = {value.name for value in graph.output}
    links = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        found = _readers(node.output[0], reads, outputs)
        bias = node.input[2] if len(node.input) > 2 else ""
        weights = [node.input[1], *([bias] if bias else []), *(one.input[1] for one, _ in found)]
        own = all(name in constants and len(reads[name]) == 1 for name in weights)
        if not found or not own:
            continue
        channels = constants[node.input[1]][0]
        kinds = [_is_depthwise(one, constants[one.input[1]], channels) for one, _ in found]
        if None not in kinds:
            readers = tuple((one.input[1], bool(kind)) for (one, _), kind in zip(found, kinds, strict=True))
            links.append(Link(node.input[1], bias, readers, found[0][1]))
    return tuple(links)


def _readers(
    tensor: str, reads: Mapping[str, Sequence[tuple[onnx.NodeProto, int]]], outputs: set[str]
) -> list[tuple[onnx.NodeProto, str]]:
    """The convolutions that read a tensor and what they read; none where anything else does."""
    found: list[tuple[onnx.NodeProto, str]] = []
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in outputs or name not in reads:
            return []
        for node, place in reads[name]:
            if node.op_type == "Conv" and place == 0:
                found.append((node, name))
            elif node.op_type in _COMMUTES and len(node.output) == 1:
                waiting.append(node.output[0])
            else:
                return []
    return found


def _is_depthwise(node: onnx.NodeProto, weight: tuple[int, ...], channels: int) -> bool | None:
    """Whether each channel has weights of its own; None for other groups, which are left alone."""
    groups = next((one.i for one in node.attribute if one.name == "group"), 1)
    if groups == 1:
        return False
    return True if groups == channels == weight[0] and weight[1] == 1 else None


def channel_reach(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    frames: Iterable[NDArray[np.uint8]],
    on_frame: OnDone = lambda done: None,
) -> dict[str, FloatArray]:
    """How far each channel of some tensors goes: the 99.9th percentile of magnitudes, mean over the frames.

    Args:
        model: FP32, of the contract.
        tensors: float tensors ``[1, C, H, W]`` inside it.
        frames: batches uint8 ``[1, H, W, 3]``, one or more.
        on_frame: called with the number of frames done.

    Returns:
        float32 ``[C]`` for each tensor.
    """
    names = sorted(set(tensors))
    simulation = Simulation(cut_model(model, names), names)
    total: dict[str, FloatArray] = {}
    done = 0
    for frame in frames:
        for name, values in zip(names, simulation(frame), strict=True):
            flat = np.abs(values[0]).reshape(values.shape[1], -1)
            reach = np.percentile(flat, _REACH, axis=1).astype(np.float32)
            total[name] = total[name] + reach if name in total else reach
        done += 1
        on_frame(done)
    return {name: reach / np.float32(done) for name, reach in total.items()}


def equalise(
    model: onnx.ModelProto, links: Sequence[Link], reach: Mapping[str, FloatArray]
) -> tuple[onnx.ModelProto, tuple[FloatArray, ...]]:
    """A copy of ``model`` with the same answers in float and channels of like ranges.

    Args:
        model: FP32.
        links: of this model, see :func:`find_links`.
        reach: float32 ``[C]`` for the tensor of each link, see :func:`channel_reach`.

    Returns:
        The copy, and for each link float32 ``[C]``: what the channels were divided by, and the weights that
        read them multiplied.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {constant.name: constant for constant in copy.graph.initializer}

    def scale(name: str, factors: FloatArray, axis: int) -> None:
        values = numpy_helper.to_array(constants[name])
        shape = [-1 if place == axis else 1 for place in range(values.ndim)]
        constants[name].CopyFrom(numpy_helper.from_array(values * factors.reshape(shape), name))

    taken = []
    for link in links:
        dense = [
            np.abs(numpy_helper.to_array(constants[name])).max(axis=(0, 2, 3))
            for name, is_depthwise in link.readers
            if not is_depthwise
        ]
        factors = _factors(reach[link.tensor], np.max(dense, axis=0) if dense else None)
        scale(link.maker, np.reciprocal(factors), 0)
        if link.bias:
            scale(link.bias, np.reciprocal(factors), 0)
        for name, is_depthwise in link.readers:
            scale(name, factors, 0 if is_depthwise else 1)
        taken.append(factors)
    return copy, tuple(taken)


def _factors(reach: FloatArray, weights: FloatArray | None) -> FloatArray:
    """float32 ``[C]``, at most 1; ``weights`` is None where depthwise ones alone read the channels."""
    factors = _share(reach) if weights is None else np.sqrt(_share(reach) / _share(weights))
    limited: FloatArray = np.maximum(factors / factors.max(), np.float32(1 / _LIMIT)).astype(np.float32)
    return limited


def _share(values: FloatArray) -> FloatArray:
    """Of the greatest, and no less than a floor; ones where all are zero."""
    greatest = float(values.max())
    return np.maximum(values / greatest, _FLOOR) if greatest > 0 else np.ones_like(values)


def equalise_if_quieter(
    model: FloatModel, frames: CalibrationSet, settings: Settings, cache: Cache, progress: Progress
) -> tuple[FloatModel, Equalisation | None]:
    """The model with its channels equalised where int8 then changes the heads less, else the model as it is.

    Args:
        model: to quantise.
        frames: to calibrate on; up to 24 of them are used.
        settings: the method of the ranges to compare with, see :attr:`Settings.with_one_method`.
        cache: see :class:`~edgevision.calibration.quantiser.Quantiser`.
        progress: shows how far each step is.

    Returns:
        The model to go on with, and what was found; None where it has no channels to equalise.
    """
    links = find_links(model.graph)
    candidates = {layer.weight for layer in model.candidates}
    links = tuple(one for one in links if candidates.issuperset(name for name, _ in one.readers))
    if not links:
        return model, None
    few = frames.spread(_FRAMES)
    with progress("equalising channels", len(few.frames)) as on_done:
        reach = channel_reach(model.graph, [one.tensor for one in links], few.batches(1), on_done)
    other = replace(model, graph=equalise(model.graph, links, reach)[0])
    before, after = (
        decibels(min(Quantiser(one, few, settings.with_one_method, cache, progress).noises().values()))
        for one in (model, other)
    )
    taken = after > before and after >= before + _GAIN  # both may be infinite
    found = Equalisation(tensors=len(links), before_db=before, after_db=after, is_taken=taken)
    return (other if taken else model), found
