"""Quantisation as Q/DQ nodes, in the form that every TensorRT fuses and accepts.

Symmetric int8 with zero points of 0; one scale a tensor for activations, one a channel for weights, or one
for all channels of a weight; biases stay float. Q and DQ stand before a convolution only, never between it
and its activation, so TensorRT makes one int8 kernel of both and of the Q that follows. Sums,
concatenations and the like that read a quantised tensor read the dequantised one, so that residuals travel
in int8 too. Convolutions that stay in float read the float tensor: they were kept for what int8 loses.

The nodes are placed here and not by ``onnxruntime.quantization``, which needs over a second for each graph,
and sensitivity needs a graph for every layer. A test holds the numbers of both against each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.errors import CalibrationError
from edgevision.graph.convolutions import CONVOLUTIONS, Convolution
from edgevision.graph.network import QDQ, reads
from edgevision.types import FloatArray

LEVELS = 127
"""Steps on either side of zero. Weights keep within them; of activations Q holds -128, too."""


class RoundedWeights(NamedTuple):
    """Weights in int8: ``[M, ...]``, and float32 scales ``[M]``, one for each channel; all may be equal."""

    steps: NDArray[np.int8]
    scales: FloatArray


def insert_qdq(
    model: onnx.ModelProto,
    layers: Collection[Convolution],
    thresholds: Mapping[str, float],
    rounded: Mapping[str, RoundedWeights] = MappingProxyType({}),
) -> onnx.ModelProto:
    """A copy of ``model`` in which ``layers`` compute in int8.

    Args:
        model: FP32.
        layers: its convolutions to quantise.
        thresholds: for each tensor that they read, the greatest magnitude that int8 is to hold.
        rounded: weights in int8; those that are not in it are rounded to the nearest step.

    Raises:
        CalibrationError: a threshold is missing, negative or not finite.
    """
    chosen = {layer.name for layer in layers}
    weights = {layer.weight for layer in layers}
    scales = {layer.data: _activation_scale(layer.data, thresholds) for layer in layers}
    before = [pair for value in model.graph.input for pair in _pair(value.name, scales)]
    nodes = []
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        quantised = node.output[0] in chosen
        if quantised or node.op_type not in CONVOLUTIONS:
            for i, name in enumerate(node.input):
                if name in scales:
                    node.input[i] = f"{name}/dq"
        if quantised:
            node.input[1] = f"{node.input[1]}/dq"
        nodes += [node, *(one for name in node.output for one in _pair(name, scales))]
    still_read = {name for node in nodes for name in reads(node)}
    constants = [c for c in model.graph.initializer if c.name not in weights or c.name in still_read]
    for constant in model.graph.initializer:
        if constant.name in weights:
            found = rounded.get(constant.name) or quantise_weights(numpy_helper.to_array(constant))
            before.append(_weight_node(constant.name, _has_one_scale(found)))
            constants += _weight_constants(constant.name, found)
    for name, scale in scales.items():
        constants.append(numpy_helper.from_array(scale, f"{name}/scale"))
        constants.append(numpy_helper.from_array(np.array(0, np.int8), f"{name}/zero"))
    ends = (list(model.graph.input), list(model.graph.output))
    graph = helper.make_graph([*before, *nodes], model.graph.name, *ends, constants)
    made = helper.make_model(graph, opset_imports=list(model.opset_import))
    made.ir_version, made.producer_name = model.ir_version, model.producer_name
    made.producer_version = model.producer_version
    return made


def weight_scales(weights: FloatArray, one_scale: bool = False) -> FloatArray:
    """float32 ``[M]``: one a channel, so that its largest weight is 127 steps; 1 for a channel of zeros.

    With ``one_scale`` all are that of the channel with the largest weight.
    """
    greatest = np.abs(weights).reshape(len(weights), -1).max(axis=1, initial=0)
    return _scale(np.full_like(greatest, greatest.max(initial=0)) if one_scale else greatest)


def quantise_weights(weights: FloatArray, one_scale: bool = False) -> RoundedWeights:
    """Weights ``[M, ...]``, each rounded to the nearest step of its channel; see :func:`weight_scales`."""
    scales = weight_scales(weights, one_scale)
    steps = np.rint(weights / scales.reshape(-1, *[1] * (weights.ndim - 1)))
    return RoundedWeights(np.clip(steps, -LEVELS, LEVELS).astype(np.int8), scales)


def check_qdq(model: onnx.ModelProto, origin: str) -> None:
    """Holds a quantised graph against what TensorRT's parser accepts.

    Raises:
        CalibrationError: a scale that is not positive and finite, a zero point that is not int8 and 0, or
            weights with scales along another axis than their channels.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in QDQ:
            continue
        scale = numpy_helper.to_array(constants[node.input[1]])
        zero = numpy_helper.to_array(constants[node.input[2]])
        axis = next((a.i for a in node.attribute if a.name == "axis"), None)
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise CalibrationError(
                f"{origin}: a scale of {node.input[0]} is not positive; calibrate on other frames"
            )
        if zero.dtype != np.int8 or zero.any() or zero.shape != scale.shape:
            raise CalibrationError(f"{origin}: the zero points of {node.input[0]} are not int8 zeros")
        quantised = constants.get(node.input[0])
        by_channel = quantised is not None and axis == 0 and scale.shape == (quantised.dims[0],)
        fits = scale.ndim == 0 or by_channel
        if not fits:
            raise CalibrationError(f"{origin}: the scales of {node.input[0]} lie along the wrong axis")


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether the graph holds integer arithmetic already, in any of ONNX's forms."""
    known = (*QDQ, "QLinearConv", "QLinearMatMul", "ConvInteger", "DynamicQuantizeLinear")
    return any(node.op_type in known for node in model.graph.node)


def _scale(greatest: NDArray[np.floating]) -> FloatArray:
    # A scale of 0 is what TensorRT's parser refuses; where everything is 0, any other will do.
    scale = np.asarray(greatest, np.float32) / np.float32(LEVELS)
    return np.where(scale < np.finfo(np.float32).tiny, 1, scale).astype(np.float32)


def _activation_scale(name: str, thresholds: Mapping[str, float]) -> FloatArray:
    threshold = thresholds.get(name)
    if threshold is None or not np.isfinite(threshold) or threshold < 0:
        raise CalibrationError(f"tensor {name} has the range {threshold}; expected a finite one")
    return _scale(np.array(threshold))


def _pair(name: str, scales: Mapping[str, FloatArray]) -> list[onnx.NodeProto]:
    """Q and DQ of an activation, or nothing where it stays float."""
    if name not in scales:
        return []
    numbers = [f"{name}/scale", f"{name}/zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *numbers], [f"{name}/q"], name=f"{name}/q"),
        helper.make_node("DequantizeLinear", [f"{name}/q", *numbers], [f"{name}/dq"], name=f"{name}/dq"),
    ]


def _has_one_scale(weights: RoundedWeights) -> bool:
    """Whether the scale is written as one number, which TensorRT then folds into the convolution."""
    return len(weights.scales) > 1 and bool((weights.scales == weights.scales[0]).all())


def _weight_node(name: str, one_scale: bool) -> onnx.NodeProto:
    inputs = [f"{name}/int8", f"{name}/scale", f"{name}/zero"]
    node = helper.make_node("DequantizeLinear", inputs, [f"{name}/dq"], name=f"{name}/dq")
    if not one_scale:
        node.attribute.append(helper.make_attribute("axis", 0))
    return node


def _weight_constants(name: str, weights: RoundedWeights) -> list[onnx.TensorProto]:
    scales = weights.scales[0] if _has_one_scale(weights) else weights.scales
    return [
        numpy_helper.from_array(weights.steps, f"{name}/int8"),
        numpy_helper.from_array(np.asarray(scales, np.float32), f"{name}/scale"),
        numpy_helper.from_array(np.zeros(np.shape(scales), np.int8), f"{name}/zero"),
    ]
