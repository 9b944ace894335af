"""Suppression at the end of a foreign graph, cut off so that ours takes its place, with the limits it had."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import helper

from edgevision.errors import ExportError

_PLUGINS = ("EfficientNMS_TRT", "EfficientNMS_ONNX_TRT")


@dataclass(frozen=True, slots=True)
class NmsEnd:
    """What a suppression node said of its inputs, ``boxes`` and ``scores``.

    Attributes:
        operator: its name.
        centre: boxes are centre and size, not corners.
        logits: scores are still to go through a sigmoid.
        background: the class that stands for nothing; -1 for none.
        iou, score: its limits.
    """

    operator: str
    centre: bool
    logits: bool
    background: int
    iou: float
    score: float


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
