"""Suppression at the end of a foreign graph, cut off so that ours takes its place, with the limits it had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgevision.errors import ExportError
from edgevision.graph.network import reads, subgraphs

SUPPRESSION = "NonMaxSuppression"
CHOOSING = frozenset({SUPPRESSION, "NonZero", "TopK", "Compress"})
"""Operators whose answers are some of their rows, by the image."""

WEAKEST = 1e-5
"""What limits on scores are lowered to, so that a probe image without objects is answered too."""
_HOPS = 6
_PASSING = frozenset({"And", "Or", "Cast", "Gather", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Where"})
_COMPARISONS = {"Greater": 1, "GreaterOrEqual": 1, "Less": 0, "LessOrEqual": 0}
"""Comparisons that let strong rows pass, and which input is then the limit."""

_PLUGINS = ("EfficientNMS_TRT", "EfficientNMS_ONNX_TRT")


@dataclass(frozen=True, slots=True)
class NmsEnd:
    """What a suppression node said of its inputs, ``boxes`` and ``scores``.

    Attributes:
        operator: its name.
        centre: boxes are centre and size, not corners.
        logits: scores are still to go through a sigmoid.
        background: the class that stands for nothing; -1 for none.
        iou, score, most: its limits.
    """

    operator: str
    centre: bool
    logits: bool
    background: int
    iou: float
    score: float
    most: int


def cut_plugin(model: onnx.ModelProto, origin: str) -> NmsEnd | None:
    """Cuts TensorRT's ``EfficientNMS_TRT`` off, in place; its two inputs become the outputs.

    The attributes are those of the plugin's own documentation (TensorRT, plugin/efficientNMSPlugin).

    Raises:
        ExportError: there are several, or it reads anchors of its own.
    """
    nodes = [node for node in model.graph.node if node.op_type in _PLUGINS]
    if not nodes:
        return None
    if len(nodes) > 1 or len(nodes[0].input) != 2:
        raise ExportError(
            f"{origin}: expected one {nodes[0].op_type} with boxes and scores; found {len(nodes)} with "
            f"{len(nodes[0].input)} inputs; export it without NMS"
        )
    (node,) = nodes
    said = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    said = {name: value[0] if isinstance(value, list) else value for name, value in said.items()}
    end = NmsEnd(
        node.op_type,
        centre=int(said.get("box_coding", 0)) == 1,
        logits=int(said.get("score_activation", 0)) == 1,
        background=int(said.get("background_class", -1)),
        iou=float(said.get("iou_threshold", 0.5)),
        score=float(said.get("score_threshold", 0.25)),
        most=int(said.get("max_output_boxes", 100)),
    )
    boxes, scores = node.input
    kind = _element_type(model, boxes)
    model.graph.node.remove(node)
    del model.graph.output[:]
    for name, last in ((boxes, 4), (scores, None)):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, [None, None, last]))
    used = {one.domain for one in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used or not opset.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return end


def _element_type(model: onnx.ModelProto, name: str) -> int:
    """The type of the boxes: that of the node's weights upstream is not told, so half only where all is."""
    for value in model.graph.value_info:
        if value.name == name:
            return int(value.type.tensor_type.elem_type)
    kinds = {constant.data_type for constant in model.graph.initializer}
    floats = kinds & {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    return floats.pop() if len(floats) == 1 else int(onnx.TensorProto.FLOAT)


def nodes_within(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of subgraphs too."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from nodes_within(inner)


def chooses(node: onnx.NodeProto) -> bool:
    """Whether a node, or one inside it, answers some of its rows, by the image."""
    return node.op_type in CHOOSING or any(
        one.op_type in CHOOSING for inner in subgraphs(node) for one in nodes_within(inner)
    )


def suppresses(model: onnx.ModelProto) -> bool:
    """Whether a NonMaxSuppression is anywhere in it."""
    return any(node.op_type == SUPPRESSION for node in nodes_within(model.graph))


def lowered(model: onnx.ModelProto) -> tuple[onnx.ModelProto, float]:
    """A copy whose suppression lets weak boxes pass, and the highest limit that was lowered; 0 for none.

    A trained detector finds nothing in noise at its own limits, and an empty answer shows nothing. What is
    lowered: the score limit of NonMaxSuppression, and constants that what feeds NonZero is compared with.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    values = {constant.name: constant for constant in copy.graph.initializer}
    added: dict[str, onnx.TensorProto] = {}
    limits = [0.0]

    def low(name: str) -> str:
        value = numpy_helper.to_array(values[name]) if name in values else np.zeros(0)
        if value.size != 1 or value.dtype.kind != "f" or not WEAKEST < value.ravel()[0] < 1:
            return name
        made = f"{name}/low"
        limits.append(float(value.ravel()[0]))
        added[made] = numpy_helper.from_array(np.full_like(value, WEAKEST), made)
        return made

    feeding = _feeding_nonzero(copy.graph)
    for node in nodes_within(copy.graph):
        if node.op_type == SUPPRESSION and len(node.input) > 4:
            node.input[4] = low(node.input[4])
        slot = _COMPARISONS.get(node.op_type)
        if slot is not None and node.output[0] in feeding:
            node.input[slot] = low(node.input[slot])
    copy.graph.initializer.extend(added.values())
    return copy, max(limits)


def _feeding_nonzero(graph: onnx.GraphProto) -> set[str]:
    """Tensors that NonZero or Compress reads, a few logical operators before it at most."""
    makers = {name: node for node in graph.node for name in node.output}
    level = {
        name for node in graph.node if node.op_type in ("NonZero", "Compress") for name in node.input if name
    }
    found: set[str] = set()
    for _ in range(_HOPS):
        found |= level
        level = {
            name
            for made in level
            if made in makers and makers[made].op_type in _PASSING
            for name in makers[made].input
        } - found
    return found


def cut(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The part of a model that ends in tensors of these names; their types are left to the engine."""
    makers = {name: position for position, node in enumerate(model.graph.node) for name in node.output}
    kept: set[int] = set()
    waiting = list(names)
    while waiting:
        position = makers.get(waiting.pop())
        if position is not None and position not in kept:
            kept.add(position)
            waiting += reads(model.graph.node[position])
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:]
    part.graph.node.extend(model.graph.node[position] for position in sorted(kept))
    read = {name for node in part.graph.node for name in reads(node)}
    del part.graph.initializer[:]
    part.graph.initializer.extend(one for one in model.graph.initializer if one.name in read)
    del part.graph.output[:]
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return part
