"""Quantisation scales that FP16 can hold.

Below 2**-14 FP16 has fewer and fewer digits and then none, and a scale of zero is refused by every
compiler. Such scales belong to channels that hardly speak; they are rounded up, and the weights that they
scale are quantised anew, so that no weight moves by more than half a step of the new scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

_SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
_OPERATORS = ("QuantizeLinear", "DequantizeLinear")


def half_scales(graph: onnx.GraphProto, nodes: Iterable[int]) -> None:
    """Replaces float32 scales of Q/DQ nodes that are too small for FP16, in place.

    Args:
        graph: holds the nodes and their constants.
        nodes: positions of the nodes to look at.
    """
    constants = {constant.name: constant for constant in graph.initializer}
    quantisers = [graph.node[i] for i in sorted(nodes) if graph.node[i].op_type in _OPERATORS]
    raised: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for node in quantisers:
        name = node.input[1]
        if name not in constants or name in raised:
            continue
        old = numpy_helper.to_array(constants[name])
        small = (old > 0) & (old < _SMALLEST_NORMAL)
        if old.dtype == np.float32 and small.any():
            raised[name] = old, np.where(small, _rounded_up(old), old)
    done: set[str] = set()
    for node in quantisers:
        name, data = node.input[1], node.input[0]
        if name in raised and data in constants and data not in done:
            done.add(data)
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
            _requantise(constants[data], *raised[name], axis)
    for name, (_, new) in raised.items():
        constants[name].CopyFrom(numpy_helper.from_array(new, name))


def _rounded_up(values: NDArray[Any]) -> NDArray[Any]:
    """The next float16 that is not smaller, as float32."""
    with np.errstate(over="ignore", under="ignore"):
        nearest = values.astype(np.float16)
    upper = np.where(nearest.astype(np.float32) < values, np.nextafter(nearest, np.float16(np.inf)), nearest)
    return upper.astype(np.float32)


def _requantise(data: onnx.TensorProto, old: NDArray[Any], new: NDArray[Any], axis: int) -> None:
    """The same weights in steps of ``new`` instead of ``old``; zero points are 0."""
    steps = numpy_helper.to_array(data)
    factor = np.asarray(old, np.float64) / np.where(new > 0, new, 1)
    if factor.ndim:
        shape = [1] * steps.ndim
        shape[axis] = -1
        factor = factor.reshape(shape)
    # The new scale is never smaller, so nothing leaves the range.
    data.CopyFrom(numpy_helper.from_array(np.rint(steps * factor).astype(steps.dtype), data.name))
