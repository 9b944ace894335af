"""A foreign graph in the form that the rest of the program reads: sorted nodes, weights as initializers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx.reference
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ExportError

OPSET = 19  # of our own exports, see export/to_onnx.py

_MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
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


def standard(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model in the standard's operators of opset 19, its nodes sorted, its constants all initializers.

    Args:
        model: as read; it is changed.
        path: where it came from, for messages.

    Raises:
        ExportError: it has operators outside the standard, an opset that cannot be converted, or nodes that
            wait for each other.
    """
    _spell_domains(model)
    for body in (model.graph, *model.functions):
        _sort(body, path)
    model = onnx.inliner.inline_local_functions(model)
    del model.functions[:]
    used = {node.domain for node in _all_nodes(model.graph)} - {""}
    if used:
        raise ExportError(f"{path}: uses operators of {', '.join(sorted(used))}; expected standard ONNX only")
    kept = [opset for opset in model.opset_import if not opset.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    try:
        model = onnx.version_converter.convert_version(model, OPSET)
    except (
        RuntimeError,
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
    ) as error:
        text = " ".join(str(error).split())[:200]
        raise ExportError(
            f"{path}: its opset cannot be converted to {OPSET} ({text}); export it with that opset"
        ) from error
    constants = {constant.name for constant in model.graph.initializer}
    _collect_constants(model.graph)
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _all_nodes(body: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in body.node:
        yield node
        for inner in _subgraphs(node):
            yield from _all_nodes(inner)


def _spell_domains(model: onnx.ModelProto) -> None:
    """The standard's domain is '' and 'ai.onnx'; onnx's own tools know the first only."""
    bodies = (model.graph, *model.functions)
    for node in (node for body in bodies for node in _all_nodes(body)):
        if node.domain == "ai.onnx":
            node.domain = ""
    for owner in (model, *model.functions):
        versions: dict[str, int] = {}
        for opset in owner.opset_import:
            domain = "" if opset.domain == "ai.onnx" else opset.domain
            versions[domain] = max(versions.get(domain, 0), opset.version)
        del owner.opset_import[:]
        owner.opset_import.extend(helper.make_opsetid(*entry) for entry in versions.items())


def _sort(body: onnx.GraphProto | onnx.FunctionProto, path: Path) -> None:
    """Puts every node behind those that it reads from, and otherwise leaves the order (Kahn 1962).

    ONNX asks for that; ONNX Runtime does not, and the FP16 converters append their casts at the end.
    """
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in body.node]
    for node in nodes:
        for inner in _subgraphs(node):
            _sort(inner, path)
    makers = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    waits = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    followers: list[list[int]] = [[] for _ in nodes]
    for position, earlier in enumerate(waits):
        for other in earlier:
            followers[other].append(position)
    left = [len(earlier) for earlier in waits]
    ready = [position for position, count in enumerate(left) if count == 0]
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for follower in followers[position]:
            left[follower] -= 1
            if left[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) != len(nodes):
        stuck = next(node for node, count in zip(nodes, left, strict=True) if count)
        name = stuck.name or stuck.op_type
        raise ExportError(
            f"{path}: its nodes wait for each other in a circle, {name} among them; export it again"
        )
    del body.node[:]
    body.node.extend(nodes[position] for position in order)


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads, in its subgraphs too."""
    names = set(node.input)
    for inner in _subgraphs(node):
        own = {entry.name for entry in (*inner.input, *inner.initializer)}
        own.update(name for one in inner.node for name in one.output)
        for one in inner.node:
            names.update(_reads(one) - own)
        names.update({entry.name for entry in inner.output} - own)
    return names - {""}


def _collect_constants(graph: onnx.GraphProto) -> None:
    """Constant nodes, and what only moves a constant, become initializers, where weights are looked for.

    Paddle2ONNX writes every weight as a Constant node; others put Identity, Cast or Transpose between.
    """
    values = {constant.name: constant for constant in graph.initializer}
    outputs = {entry.name for entry in graph.output}
    kept = []
    for node in graph.node:
        made = None if outputs.intersection(node.output) else _constant(node) or _moved(node, values)
        if made is None:
            kept.append(node)
            continue
        made.name = node.output[0]
        values[made.name] = made
    read = {name for node in kept for name in _reads(node)} | outputs
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


def _moved(node: onnx.NodeProto, values: dict[str, onnx.TensorProto]) -> onnx.TensorProto | None:
    """The value of a node that moves or casts a constant; None for others."""
    if node.op_type not in _MOVES or not all(name in values for name in node.input if name):
        return None
    kinds = [values[name].data_type for name in node.input if name]
    kinds += [attribute.i for attribute in node.attribute if attribute.name == "to"]
    if not _PLAIN.issuperset(kinds):
        return None
    feeds = {name: numpy_helper.to_array(values[name]) for name in node.input if name}
    inputs = [helper.make_tensor_value_info(name, values[name].data_type, None) for name in feeds]
    ends = [helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)]
    graph = helper.make_graph([node], "constant", inputs, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    (value,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    return numpy_helper.from_array(np.asarray(value))
