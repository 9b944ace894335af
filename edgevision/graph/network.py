"""Which nodes of a composed model are the network itself, and what type each of its tensors has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgevision.errors import ExportError

PREPROCESSING = "pre/"
"""Prefix of the nodes between ``frames`` and the normalised input."""

WHOLE_PIXELS = f"{PREPROCESSING}whole"
"""Prefix of those that a quantised file has instead, where convolutions read pixels as they are."""

QDQ = ("QuantizeLinear", "DequantizeLinear")
"""Operators that say where values are int8."""

TYPED_BY_ATTRIBUTE = ("Cast", "ConstantOfShape")
"""Operators that say the type of their output in an attribute instead of taking it from an input."""


def upstream(graph: onnx.GraphProto, tensors: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that ``tensors`` are computed from, in the graph's order."""
    makers = {name: node for node in graph.node for name in node.output}
    wanted: set[str] = set()
    waiting = list(tensors)
    while waiting:
        name = waiting.pop()
        if name in makers and name not in wanted:
            wanted.update(makers[name].output)
            waiting += reads(makers[name])
    return [node for node in graph.node if not wanted.isdisjoint(node.output)]


def is_preprocessing(node: onnx.NodeProto) -> bool:
    """Whether a node lies before the network; Q and DQ of its input do not, although named after it."""
    return node.name.startswith(PREPROCESSING) and node.op_type not in QDQ


def core_nodes(graph: onnx.GraphProto, heads: Sequence[str]) -> set[int]:
    """Positions of the nodes between the normalised input and the head tensors.

    Args:
        graph: a model of the contract.
        heads: the tensors that feed the decoder, as the manifest names them.

    Raises:
        ExportError: a head is not in the graph.
    """
    made = {name for node in graph.node for name in node.output}
    missing = [head for head in heads if head not in made]
    if missing:
        raise ExportError(
            f"the contract names head tensors that are not in the graph: {', '.join(missing)}; "
            "export the model again"
        )
    inside = {name for node in upstream(graph, heads) if not is_preprocessing(node) for name in node.output}
    return {i for i, node in enumerate(graph.node) if not inside.isdisjoint(node.output)}


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """ONNX's element type of every tensor whose type can be inferred, by name.

    Raises:
        ExportError: the graph contradicts itself.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"the graph's types contradict each other ({error}); export it again") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types.update((constant.name, constant.data_type) for constant in graph.initializer)
    return types


def set_output_type(node: onnx.NodeProto, kind: int) -> None:
    """Changes the float type that one of :data:`TYPED_BY_ATTRIBUTE` makes; others follow their inputs."""
    if node.op_type == "Cast":
        next(entry for entry in node.attribute if entry.name == "to").i = kind
    elif node.op_type == "ConstantOfShape":
        given = [numpy_helper.to_array(entry.t) for entry in node.attribute if entry.name == "value"]
        values = given[0] if given else np.zeros(1, np.float32)
        value = numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)))
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("value", value))


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node: the branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads, in its subgraphs too."""
    names = set(node.input)
    for inner in subgraphs(node):
        own = {entry.name for entry in (*inner.input, *inner.initializer)}
        own.update(name for one in inner.node for name in one.output)
        for one in inner.node:
            names.update(reads(one) - own)
        names.update({entry.name for entry in inner.output} - own)
    return names - {""}
