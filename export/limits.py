"""Other limits in a file of the contract: score floor, IoU, candidates, several classes a box.

They are constants and shapes of the graph's end, so that end is written again, from the tensors that it chose
from. The network and everything before its answers stay as they are, at whatever precision. Needs onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgevision.contract.manifest import BOX_TASKS, Manifest
from edgevision.contract.model_file import read_sound_manifest
from edgevision.errors import ExportError, UsageError
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.compose import check, save_model
from edgevision.graph.dense import best_pairs
from edgevision.graph.load import load_onnx
from edgevision.graph.network import reads
from edgevision.graph.retinanet import add_detection_outputs, add_final_outputs

_BOXES = {"boxes": 4, "rotated_boxes": 5}


@dataclass(frozen=True, slots=True)
class _End:
    """The tensors that the end of a graph chooses from.

    Attributes:
        boxes, scores, labels: as :func:`~edgevision.graph.retinanet.add_detection_outputs` takes them.
        further: outputs with a row for each detection, by name.
        total: rows of each.
        classes: the scores of all classes ``[N, M, C]``, of which ``scores`` is the greatest; empty where
            the graph does not hold them.
    """

    boxes: str
    scores: str
    labels: str
    further: dict[str, str]
    total: int
    classes: str


def change_limits(
    path: Path,
    out: Path,
    *,
    min_score: float | None = None,
    iou: float | None = None,
    candidates: int | None = None,
    several: bool | None = None,
) -> Manifest:
    """Writes a copy of a model file of the contract with other limits; None leaves one as it is.

    Figures that were measured with the old limits are left out of the copy.

    Args:
        path: an ONNX file of the contract, ours or an imported one.
        out: the file to write.
        min_score: detections at or below it are not in the output.
        iou: a box is suppressed above this overlap.
        candidates: boxes that enter suppression, the best-scoring ones.
        several: True lets a box be several classes. The way back needs the original file.

    Returns:
        The manifest as stored. Its ``nms.candidates`` are fewer than wanted where the graph has no more.

    Raises:
        ModelError: the file is missing or damaged.
        ManifestError: it is not in the contract.
        UsageError: its task, or its end, has no such limit.
        ExportError: its end is not one that edgevision writes.
    """
    manifest = read_sound_manifest(path)
    nms, floor = manifest.nms, manifest.score_threshold
    if manifest.task not in BOX_TASKS or nms is None or floor is None or manifest.max_detections is None:
        raise UsageError(f"{path} is for {manifest.task}, which has neither a score floor nor suppression")
    if nms.form == "none" and (iou is not None or candidates is not None or several is not None):
        raise UsageError(
            f"{path} has no suppression of ours in its graph, so `iou`, `candidates` and several classes a "
            "box cannot change; `min_score` can"
        )
    model = load_onnx(path)
    end = _find_end(model, manifest, path)
    boxes, scores, labels, total = end.boxes, end.scores, end.labels, end.total
    wanted = candidates or nms.candidates
    if several is not None:
        _check_several(end, manifest, several, path)
    floor = floor if min_score is None else min_score
    _keep_only(model, [boxes, scores, labels, *end.further.values(), end.classes, "prototypes"])
    g = GraphBuilder(_free_prefix(model))
    if several:
        boxes, scores, labels, total = best_pairs(
            g, boxes, end.classes, total, len(manifest.classes), max(wanted, manifest.max_detections)
        )
    limits = nms
    if nms.form != "none":
        overlap = nms.iou_threshold if iou is None else iou
        limits = msgspec.structs.replace(nms, iou_threshold=overlap, candidates=wanted)
    full = msgspec.structs.replace(manifest, score_threshold=floor, nms=limits, figures={}, sha256="")
    full = full.within(total)
    if nms.form == "none":
        strong = g("Greater", scores, g.constant(floor, np.float32))
        ranked = g("Where", strong, scores, g.constant(-1.0, np.float32))
        add_final_outputs(g, boxes, ranked, labels, full, end.further)
    else:
        add_detection_outputs(g, boxes, scores, labels, total, full, end.further)
    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.constants)
    model.graph.ClearField("value_info")
    for output, spec in zip(model.graph.output, manifest.output_specs(), strict=True):
        if spec.name != "count" and spec.name != "prototypes":
            output.type.tensor_type.shape.dim[1].dim_value = full.max_detections or 0
    check(model, manifest.name)
    return save_model(model, out, full)


def _check_several(end: _End, manifest: Manifest, several: bool, path: Path) -> None:
    """Refuses what the graph cannot do about several classes a box."""
    if manifest.task != "detection":
        raise UsageError(f"{path} is for {manifest.task}; only a box of detection can be several classes")
    if end.classes and not several:
        raise UsageError(f"{path} takes the best class of each box already")
    if not end.classes:
        raise UsageError(
            f"{path} does not hold the scores of all classes of a box where suppression chooses, or takes "
            "several classes a box already; import the original file again"
        )


def _find_end(model: onnx.ModelProto, manifest: Manifest, path: Path) -> _End:
    """The tensors before the end, found from the outputs upwards.

    Raises:
        ExportError: a node is not where edgevision puts it.
    """
    makers = {name: node for node in model.graph.node for name in node.output}

    def up(name: str, *steps: tuple[str, int]) -> str:
        """From a tensor upwards: each step is the operator that made it, and which of its inputs to take."""
        for operator, position in steps:
            node = makers.get(name)
            if node is None or node.op_type != operator:
                raise ExportError(
                    f"{path}: the end of its graph is not one that edgevision writes (expected {operator} "
                    f"before {name}); import or export the original again"
                )
            name = node.input[position]
        return name

    clusters = manifest.nms is not None and manifest.nms.form == "cluster"
    ranked = up("scores", ("Where", 1), ("TopK", 0))
    chosen = up(ranked, ("Where", 1))
    picked = (("GatherElements", 0),) * (2 if clusters else 1)
    box_name = "rotated_boxes" if manifest.task == "obb" else "boxes"
    boxes = up(box_name, ("Where", 1), *picked)
    labels = up("labels", ("Where", 1), ("Cast", 0), *picked)
    scores = up(chosen, ("TopK", 0)) if clusters else chosen
    rows = {spec.name for spec in manifest.output_specs()} - {
        *_BOXES, "scores", "labels", "count", "prototypes"
    }  # fmt: skip
    further = {name: up(name, ("Reshape", 0), ("Where", 1), ("GatherElements", 0)) for name in sorted(rows)}
    return _End(
        boxes, scores, labels, further, _rows(model, manifest, scores), _dense(makers, scores, labels)
    )


def _dense(makers: dict[str, onnx.NodeProto], scores: str, labels: str) -> str:
    """The scores of all classes, where labels and scores are the greatest of them; else empty."""
    best, which = makers.get(scores), makers.get(labels)
    if best is None or which is None or (best.op_type, which.op_type) != ("ReduceMax", "ArgMax"):
        return ""
    return best.input[0] if best.input[0] == which.input[0] else ""


def _rows(model: onnx.ModelProto, manifest: Manifest, scores: str) -> int:
    """How many rows there are to choose from; at least those that enter suppression now."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value.type.tensor_type.shape.dim for value in inferred.graph.value_info}
    sizes = known.get(scores, ())
    count = sizes[1].dim_value if len(sizes) == 2 else 0
    least = manifest.nms.candidates if manifest.nms is not None else 0
    return count or max(least, manifest.max_detections or 0)


def _keep_only(model: onnx.ModelProto, wanted: list[str]) -> None:
    """Takes out the nodes and constants that none of the tensors needs."""
    needed = set(wanted) - {""}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed |= reads(node)
            kept.append(node)
    constants = [constant for constant in model.graph.initializer if constant.name in needed]
    for field, values in (("node", kept[::-1]), ("initializer", constants)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(copies)


def _free_prefix(model: onnx.ModelProto) -> str:
    """A prefix that no earlier change of limits left in the graph."""
    taken = {node.name.split("/")[1] for node in model.graph.node if node.name.startswith("post/limits_")}
    return next(f"post/{name}/" for i in range(len(taken) + 1) if (name := f"limits_{i}") not in taken)
