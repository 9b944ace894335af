"""A foreign graph in the form that the rest of the program reads: sorted nodes, weights as initializers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import helper, numpy_helper

from edgevision.errors import ExportError
from edgevision.graph.constants import fold_constants
from edgevision.graph.network import reads, subgraphs

OPSET = 19  # of our own exports, see export/to_onnx.py

_SET_ASIDE = "edgevision.set_aside"
"""Domain of nodes that onnx's converter is not to see."""


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
    if kept and kept[0].version > OPSET:
        _lower(model.graph)
        model.opset_import.append(helper.make_opsetid(_SET_ASIDE, 1))
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
    _bring_back(model)
    constants = {constant.name for constant in model.graph.initializer}
    fold_constants(model.graph, OPSET)
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def _lower(graph: onnx.GraphProto) -> None:
    """Writes operators that are newer than our opset in older ones, in place; onnx's converter knows no way.

    GELU is ``x / 2 * (1 + erf(x / sqrt 2))``, or its form with tanh (Hendrycks and Gimpel 2016,
    arXiv:1606.08415). GridSample only calls its modes otherwise since opset 20: it is set aside for
    :func:`_bring_back`.
    """
    nodes: list[onnx.NodeProto] = []
    for position, node in enumerate(graph.node):
        for inner in subgraphs(node):
            _lower(inner)
        if node.op_type == "Gelu":
            nodes += _gelu(graph, node, f"{node.output[0]}/gelu{position}")
            continue
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        if node.op_type == "GridSample":
            copy.domain = _SET_ASIDE
        nodes.append(copy)
    del graph.node[:]
    graph.node.extend(nodes)


def _gelu(graph: onnx.GraphProto, node: onnx.NodeProto, prefix: str) -> list[onnx.NodeProto]:
    """The nodes of one GELU; its constants are float32 and take the type of its input."""
    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    by_tanh = given.get("approximate", b"none") == b"tanh"
    values = {
        "half": 0.5,
        "one": 1.0,
        "factor": np.sqrt(2 / np.pi) if by_tanh else np.sqrt(0.5),
        "cube": 0.044715,
    }
    x, made = node.input[0], []

    def add(op: str, out: str, *inputs: str) -> str:
        made.append(helper.make_node(op, list(inputs), [out], name=out))
        return out

    constants = {}
    for key, value in values.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"{prefix}/{key}32"))
        constants[key] = add("CastLike", f"{prefix}/{key}", f"{prefix}/{key}32", x)
    if by_tanh:
        square = add("Mul", f"{prefix}/square", x, x)
        cube = add("Mul", f"{prefix}/cubed", add("Mul", f"{prefix}/small", square, constants["cube"]), x)
        inner = add("Mul", f"{prefix}/inner", add("Add", f"{prefix}/sum", x, cube), constants["factor"])
        bent = add("Tanh", f"{prefix}/bent", inner)
    else:
        bent = add("Erf", f"{prefix}/bent", add("Mul", f"{prefix}/inner", x, constants["factor"]))
    share = add("Add", f"{prefix}/share", bent, constants["one"])
    add("Mul", node.output[0], add("Mul", f"{prefix}/halved", x, constants["half"]), share)
    return made


def _bring_back(model: onnx.ModelProto) -> None:
    """Gives what was set aside its own domain again, with the words of our opset, in place."""
    for node in _all_nodes(model.graph):
        if node.domain == _SET_ASIDE:
            node.domain = ""
            for entry in node.attribute:
                if entry.name == "mode":
                    entry.s = {b"linear": b"bilinear", b"cubic": b"bicubic"}.get(entry.s, entry.s)
    kept = [opset for opset in model.opset_import if not opset.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _all_nodes(body: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in body.node:
        yield node
        for inner in subgraphs(node):
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
        for inner in subgraphs(node):
            _sort(inner, path)
    makers = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    waits = [{makers[name] for name in reads(node) if name in makers} for node in nodes]
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
