"""Weights that are written as Constant nodes, or that pass other nodes first, become initializers."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
import onnx.reference
from onnx import TensorProto, helper, numpy_helper

from edgevision.graph.network import reads

MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that weights pass before a convolution reads them. Not DequantizeLinear: it says what is int8."""

_PLAIN = frozenset(
    (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT8,
        TensorProto.UINT8,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.BOOL,
    )
)
"""Element types that NumPy has too."""

_FROM_LISTS = {
    "value_float": TensorProto.FLOAT,
    "value_floats": TensorProto.FLOAT,
    "value_int": TensorProto.INT64,
    "value_ints": TensorProto.INT64,
}


def fold_constants(graph: onnx.GraphProto, opset: int, moves: Collection[str] = MOVES) -> None:
    """Constant nodes, and what only moves a constant, become initializers, where weights are looked for.

    Paddle2ONNX writes every weight as a Constant node; others put Identity, Cast or Transpose between.

    Args:
        graph: it is changed.
        opset: version of the standard that its nodes are written in.
        moves: operators that are computed here where all that they read is constant.
    """
    values = {constant.name: constant for constant in graph.initializer}
    outputs = {entry.name for entry in graph.output}
    kept = []
    for node in graph.node:
        made = None
        if not outputs.intersection(node.output):
            made = _constant(node) or _moved(node, values, opset, moves)
        if made is None:
            kept.append(node)
            continue
        made.name = node.output[0]
        values[made.name] = made
    read = {name for node in kept for name in reads(node)} | outputs
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    constants = [
        onnx.TensorProto.FromString(one.SerializeToString()) for one in values.values() if one.name in read
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of a Constant node; None for other nodes, strings and sparse tensors."""
    if node.op_type != "Constant":
        return None
    (attribute,) = node.attribute
    if attribute.name == "value":
        copy = onnx.TensorProto()
        copy.CopyFrom(attribute.t)
        return copy
    kind = _FROM_LISTS.get(attribute.name)
    if kind is None:
        return None
    value = helper.get_attribute_value(attribute)
    return numpy_helper.from_array(np.asarray(value, helper.tensor_dtype_to_np_dtype(kind)))


def _moved(
    node: onnx.NodeProto, values: dict[str, onnx.TensorProto], opset: int, moves: Collection[str]
) -> onnx.TensorProto | None:
    """The value of a node that moves or casts a constant; None for others."""
    if node.op_type not in moves or not all(name in values for name in node.input if name):
        return None
    kinds = [values[name].data_type for name in node.input if name]
    kinds += [attribute.i for attribute in node.attribute if attribute.name == "to"]
    if not _PLAIN.issuperset(kinds):
        return None
    feeds = {name: numpy_helper.to_array(values[name]) for name in node.input if name}
    inputs = [helper.make_tensor_value_info(name, values[name].data_type, None) for name in feeds]
    ends = [helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)]
    graph = helper.make_graph([node], "constant", inputs, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    (value,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    return numpy_helper.from_array(np.asarray(value))
