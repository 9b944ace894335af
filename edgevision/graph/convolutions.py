"""The convolutions of a model's core: where quantisation happens, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx
from onnx import helper

from edgevision.errors import ModelError
from edgevision.graph.network import reads, upstream

CONVOLUTIONS = ("Conv", "ConvTranspose")
"""Operators with convolution work."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution between the normalised input and the heads.

    Attributes:
        name: of its output tensor, which is unique in a graph as node names are not.
        kind: ``Conv`` or ``ConvTranspose``.
        data: the tensor it reads.
        weight: a tensor ``[M, C / group, kh, kw]``, transposed ``[C, M / group, kh, kw]``.
        constant: the weight is an initializer; others are computed as the model runs, and stay in float.
        macs: multiplications with addition for one image.
        feeds_head: no other convolution lies between its output and a head.
        text: its shape, for people.
        groups: of its channels; 1 for a dense one.
    """

    name: str
    kind: str
    data: str
    weight: str
    macs: int
    feeds_head: bool
    text: str
    constant: bool = True
    groups: int = 1


def cut_model(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of a model that ends in ``outputs``, float tensors inside it; weights are copied."""
    nodes = upstream(model.graph, outputs)
    read = {name for node in nodes for name in reads(node)}
    constants = [constant for constant in model.graph.initializer if constant.name in read]
    # Their shapes are left to the engine, which infers them itself.
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, model.graph.name, list(model.graph.input), ends, constants)
    part = helper.make_model(graph, opset_imports=list(model.opset_import))
    part.ir_version = model.ir_version
    return part


Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors by name; 0 for sizes that are not fixed, such as the batch."""


def find_convolutions(
    model: onnx.ModelProto,
    heads: Sequence[str],
    origin: str = "the model",
    measure: Callable[[Sequence[str]], Shapes] | None = None,
) -> tuple[Convolution, ...]:
    """Every convolution that the heads are computed from, in the graph's order.

    Args:
        model: a whole model of the contract.
        heads: its head tensors, as its manifest names them.
        origin: the file it came from, for messages.
        measure: gives the shapes of float tensors that ONNX cannot infer, as where a size is computed in the
            graph; None refuses such a model.

    Raises:
        ModelError: the graph has no such tensors, no convolution above them, or one whose size is unknown.
    """
    made = {name for node in model.graph.node for name in node.output}
    missing = [name for name in heads if name not in made]
    if missing or not heads:
        what = f"head tensors {', '.join(missing)}" if missing else "the names of its head tensors"
        raise ModelError(f"{origin} lacks {what}; export it again")
    weights = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    shapes: Shapes = _shapes(model)
    if measure is not None:
        shapes = _completed(model.graph, heads, weights, shapes, measure)
    last = _last_convolutions(model.graph, heads)
    found = []
    for node in upstream(model.graph, heads):
        if node.op_type not in CONVOLUTIONS:
            continue
        name, data, weight = node.output[0], node.input[0], node.input[1]
        shape = weights.get(weight) or shapes.get(weight, ())
        area = shapes.get(name if node.op_type == "Conv" else data, ())[2:]
        for tensor, size in ((weight, shape), (name, area)):
            if not all(size) or not size:
                raise ModelError(f"{origin}: the size of tensor {tensor} cannot be inferred; export it again")
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        found.append(
            Convolution(
                name=name,
                kind=node.op_type,
                data=data,
                weight=weight,
                macs=prod(shape) * prod(area),
                feeds_head=name in last,
                text=_describe(node.op_type, shape, group, area),
                constant=weight in weights,
                groups=group,
            )
        )
    if not found:
        raise ModelError(f"{origin} has no convolution before its heads; there is nothing to quantise")
    return tuple(found)


def takes_int8(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a node's data and weights are both dequantised in front of it: TensorRT computes it in int8.

    Args:
        node: an operator that multiplies, such as a convolution.
        makers: the node that makes each tensor.
    """
    before = [makers[name].op_type if name in makers else "" for name in node.input[:2]]
    return before == ["DequantizeLinear", "DequantizeLinear"]


def int8_convolutions(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Names of the convolutions that are to run in int8, in the graph's order; the nameless are left out."""
    makers = {name: node for node in graph.node for name in node.output}
    return tuple(
        node.name
        for node in graph.node
        if node.op_type in CONVOLUTIONS and node.name and takes_int8(node, makers)
    )


def _last_convolutions(graph: onnx.GraphProto, heads: Sequence[str]) -> set[str]:
    """Outputs of the convolutions that a walk upwards from the heads meets first."""
    makers = {name: node for node in graph.node for name in node.output}
    last: set[str] = set()
    seen: set[str] = set()
    waiting = list(heads)
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in CONVOLUTIONS:
            last.add(name)
        else:
            waiting += reads(node)
    return last


def _completed(
    graph: onnx.GraphProto,
    heads: Sequence[str],
    weights: Shapes,
    shapes: Shapes,
    measure: Callable[[Sequence[str]], Shapes],
) -> Shapes:
    """``shapes`` with those of convolutions and computed weights that are not known."""
    wanted = []
    for node in upstream(graph, heads):
        if node.op_type in CONVOLUTIONS:
            wanted += [node.output[0], node.input[0]]
            wanted += [] if node.input[1] in weights else [node.input[1]]
    lacking = [name for name in dict.fromkeys(wanted) if not all(shapes.get(name, (0, 0))[1:])]
    return {**shapes, **measure(lacking)} if lacking else shapes


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every tensor of four axes; 0 for those whose size is not fixed, such as the batch."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {}
    for value in (*inferred.value_info, *inferred.output, *inferred.input):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4:
            shapes[value.name] = tuple(max(dim.dim_value, 0) for dim in dims)
    return shapes


def _describe(kind: str, shape: tuple[int, ...], group: int, area: tuple[int, ...]) -> str:
    outputs, inputs = shape[0], shape[1] * group
    if kind == "ConvTranspose":
        outputs, inputs = shape[1] * group, shape[0]
    sort = "transposed " if kind == "ConvTranspose" else "depthwise " if 1 < group == inputs else ""
    return f"{sort}{shape[2]}x{shape[3]}, {inputs} to {outputs} channels, {area[1]}x{area[0]}"
