"""The end of a RetinaNet graph: head maps to final detections, as the contract wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from edgevision.contract.manifest import Manifest
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.nms import add_cluster_nms
from edgevision.models.anchors import MAX_LOG_SIZE
from edgevision.types import FloatArray


def add_retinanet_decoder(
    g: GraphBuilder,
    logits: Sequence[str],
    deltas: Sequence[str],
    anchors: Sequence[FloatArray],
    manifest: Manifest,
    level_candidates: int,
    per_cell: int,
) -> None:
    """Adds decoding, suppression and the four outputs of the contract.

    Of the anchors of a cell, only the best for each class is a candidate: the others are boxes of the same
    object, which would crowd small objects out of the limits.

    Args:
        g: where the nodes go.
        logits: float ``[N, A * C, H, W]`` for each level.
        deltas: float ``[N, A * 4, H, W]`` for each level.
        anchors: float32 ``[H * W * A, 4]`` for each level, in input pixels.
        manifest: classes, input size, thresholds and limits.
        level_candidates: best predictions of each level that are decoded.
        per_cell: A, anchors of a cell.
    """
    classes = len(manifest.classes)
    parts = [
        _level(g, logit, delta, grid, classes, level_candidates, per_cell)
        for logit, delta, grid in zip(logits, deltas, anchors, strict=True)
    ]
    scores, labels, boxes = (g("Concat", *column, axis=1) for column in zip(*parts, strict=True))
    limits = np.array([manifest.input_width, manifest.input_height] * 2, np.float32)
    boxes = g("Min", g("Max", boxes, g.constant(0.0, np.float32)), g.constant(limits, np.float32))
    total = sum(min(level_candidates, len(grid) // per_cell * classes) for grid in anchors)
    add_detection_outputs(g, boxes, scores, labels, total, manifest)


def add_detection_outputs(
    g: GraphBuilder, boxes: str, scores: str, labels: str, total: int, manifest: Manifest
) -> None:
    """Sorts, suppresses and pads decoded predictions into ``boxes``, ``scores``, ``labels`` and ``count``.

    Args:
        g: where the nodes go.
        boxes: float ``[N, M, 4]`` corners in input pixels, cut to the input.
        scores: float ``[N, M]``.
        labels: int64 ``[N, M]``.
        total: M.
        manifest: thresholds and limits; its ``nms`` and ``score_threshold`` are set.
    """
    if manifest.nms is None or manifest.score_threshold is None or manifest.max_detections is None:
        raise ValueError("a detector's manifest states its score threshold, NMS limits and max_detections")
    count = min(manifest.nms.candidates, total)
    scores, order = g.many("TopK", 2, scores, g.ints(count), axis=1, largest=1, sorted=1)
    boxes = _gather_boxes(g, boxes, order)
    labels = g("GatherElements", labels, order, axis=1)
    # Boxes of different classes are moved apart, so that one suppression serves all classes.
    apart = float(max(manifest.input_width, manifest.input_height) + 1)
    offset = g("Mul", g("Cast", labels, to=TensorProto.FLOAT), g.constant(apart, np.float32))
    keep = add_cluster_nms(
        g,
        g("Add", boxes, g("Unsqueeze", offset, g.ints(2))),
        scores,
        count,
        manifest.nms.iou_threshold,
        manifest.score_threshold,
        manifest.nms.rounds,
    )
    ranked = g("Where", keep, scores, g.constant(-1.0, np.float32))
    add_final_outputs(g, boxes, ranked, labels, min(manifest.max_detections, count))


def add_final_outputs(g: GraphBuilder, boxes: str, ranked: str, labels: str, kept: int) -> None:
    """Sorts and pads what is left into ``boxes``, ``scores``, ``labels`` and ``count``.

    Args:
        g: where the nodes go.
        boxes: float ``[N, M, 4]`` corners in input pixels, cut to the input.
        ranked: float ``[N, M]``: the score, or -1 for what is not to be an answer.
        labels: int64 ``[N, M]``.
        kept: length of the outputs, at most M.
    """
    final, order = g.many("TopK", 2, ranked, g.ints(kept), axis=1, largest=1, sorted=1)
    valid = g("Greater", final, g.constant(0.0, np.float32))
    zero = g.constant(0.0, np.float32)
    picked = g("Cast", g("GatherElements", labels, order, axis=1), to=TensorProto.INT32)
    g("Where", g("Unsqueeze", valid, g.ints(2)), _gather_boxes(g, boxes, order), zero, out="boxes")
    g("Where", valid, final, zero, out="scores")
    g("Where", valid, picked, g.constant(-1, np.int32), out="labels")
    # Summed as floats, which are exact here: NVIDIA's parsers list floats only for ReduceSum.
    summed = g("ReduceSum", g("Cast", valid, to=TensorProto.FLOAT), g.ints(1), keepdims=0)
    g("Cast", summed, to=TensorProto.INT32, out="count")


def _level(
    g: GraphBuilder,
    logits: str,
    deltas: str,
    anchors: FloatArray,
    classes: int,
    candidates: int,
    per_cell: int,
) -> tuple[str, str, str]:
    """Scores ``[N, k]``, labels ``[N, k]`` and boxes ``[N, k, 4]`` of one level's best predictions."""
    cells = len(anchors) // per_cell
    k = min(candidates, cells * classes)
    by_anchor = g("Reshape", logits, g.ints(0, per_cell, classes * cells))
    of_cell = g("ReduceMax", by_anchor, g.ints(1), keepdims=0)
    which = g("ArgMax", by_anchor, axis=1, keepdims=0)
    best, index = g.many("TopK", 2, of_cell, g.ints(k), axis=1, largest=1, sorted=1)
    per_class = g.constant(cells, np.int64)
    labels = g("Div", index, per_class)
    cell = g("Sub", index, g("Mul", labels, per_class))
    first = g("Mul", cell, g.constant(per_cell, np.int64))
    anchor = g("Add", first, g("GatherElements", which, index, axis=1))
    offsets = g("Reshape", g("Transpose", deltas, perm=[0, 2, 3, 1]), g.ints(0, -1, 4))
    return g("Sigmoid", best), labels, _decode(g, _gather_boxes(g, offsets, anchor), anchor, anchors)


def _decode(g: GraphBuilder, offsets: str, anchor: str, anchors: FloatArray) -> str:
    """The graph's form of :func:`edgevision.models.anchors.decode_boxes`: ``[N, k, 4]`` corners."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre_size = np.concatenate([anchors[:, :2] + size / 2, size], axis=1)
    chosen = g("Gather", g.constant(centre_size, np.float32), anchor, axis=0)
    halves = g.ints(2, 2)
    shift, log_size = g.many("Split", 2, offsets, halves, axis=2)
    anchor_centre, anchor_size = g.many("Split", 2, chosen, halves, axis=2)
    centre = g("Add", g("Mul", shift, anchor_size), anchor_centre)
    growth = g("Exp", g("Min", log_size, g.constant(MAX_LOG_SIZE, np.float32)))
    half = g("Mul", g("Mul", growth, anchor_size), g.constant(0.5, np.float32))
    return g("Concat", g("Sub", centre, half), g("Add", centre, half), axis=2)


def _gather_boxes(g: GraphBuilder, boxes: str, index: str) -> str:
    """``boxes[n, index[n, k]]``: ``[N, M, 4]`` and ``[N, k]`` to ``[N, k, 4]``."""
    wide = g("Expand", g("Unsqueeze", index, g.ints(2)), g.ints(1, 1, 4))
    return g("GatherElements", boxes, wide, axis=1)
