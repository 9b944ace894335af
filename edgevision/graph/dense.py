"""The end of a graph that answers a box and class scores for each of many places."""

from __future__ import annotations

import numpy as np

from edgevision.contract.manifest import Manifest
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.retinanet import add_detection_outputs


def add_dense_decoder(g: GraphBuilder, boxes: str, scores: str, places: int, manifest: Manifest) -> None:
    """Adds the choice of the best, suppression and the four outputs of the contract.

    Args:
        g: where the nodes go.
        boxes: float ``[N, K, 4]``, corners in input pixels.
        scores: float ``[N, K, C]``, 0 to 1.
        places: K.
        manifest: classes, input size, thresholds and limits.
    """
    if manifest.nms is None:
        raise ValueError("a detector's manifest states its NMS limits")
    classes = len(manifest.classes)
    boxes, best, labels, total = best_pairs(g, boxes, scores, places, classes, manifest.nms.candidates)
    limits = np.array([manifest.input_width, manifest.input_height] * 2, np.float32)
    boxes = g("Min", g("Max", boxes, g.constant(0.0, np.float32)), g.constant(limits, np.float32))
    add_detection_outputs(g, boxes, best, labels, total, manifest)


def best_pairs(
    g: GraphBuilder, boxes: str, scores: str, places: int, classes: int, wanted: int
) -> tuple[str, str, str, int]:
    """The best pairs of place and class.

    Args:
        g: where the nodes go.
        boxes: float ``[N, K, 4]``.
        scores: float ``[N, K, C]``.
        places, classes: K and C.
        wanted: how many pairs.

    Returns:
        Boxes ``[N, M, 4]``, scores ``[N, M]`` falling, labels int64 ``[N, M]``, and M.
    """
    count = min(wanted, places * classes)
    flat = g("Reshape", scores, g.ints(0, -1))
    best, index = g.many("TopK", 2, flat, g.ints(count), axis=1, largest=1, sorted=1)
    size = g.constant(classes, np.int64)
    row = g("Div", index, size)
    labels = g("Sub", index, g("Mul", row, size))
    wide = g("Expand", g("Unsqueeze", row, g.ints(2)), g.ints(1, 1, 4))
    return g("GatherElements", boxes, wide, axis=1), best, labels, count
