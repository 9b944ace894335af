"""Head maps to detections in torch, by hand; the exported graph is held against it in test_export_to_onnx."""

from __future__ import annotations

import numpy as np
import torch

from edgevision.models.anchors import AnchorConfig, anchor_grid
from edgevision.models.decode import DetectionDecoder
from edgevision.models.retinanet import HeadMaps
from edgevision.models.settings import BackboneConfig, DecodeConfig, HeadConfig, RetinaNetConfig

ANCHORS = AnchorConfig(strides=(32,), base_size=0.5, scales=(1.0, 2.0), ratios=(1.0,))
MODEL = RetinaNetConfig(BackboneConfig("resnet18", "random"), 64, 32, HeadConfig(), ANCHORS)
GRID = anchor_grid(ANCHORS, 64, 64)[0]  # 2 x 2 cells of 2 anchors


def found(logits: torch.Tensor, candidates: int = 8) -> list[tuple[int, float, list[float]]]:
    """Class, score and box of every detection, for zero offsets; no two boxes suppress each other."""
    config = DecodeConfig(level_candidates=candidates, candidates=candidates, iou_threshold=0.99)
    maps = HeadMaps([logits.reshape(1, 4, 2, 2)], [torch.zeros(1, 8, 2, 2)])
    [one] = DetectionDecoder(MODEL, 2, config)(maps)
    return [
        (int(label), round(float(score), 3), box.tolist())
        for label, score, box in zip(one.class_ids, one.scores, one.boxes, strict=True)
    ]


def test_of_the_anchors_of_a_cell_the_best_for_each_class_is_taken() -> None:
    logits = torch.full((2, 2, 2, 2), -9.0)  # anchors, classes, rows, columns
    logits[0, 0, 1, 0] = 1.0  # the small anchor of the cell in row 1 and column 0
    logits[1, 0, 1, 0] = 2.0  # the large one is surer of the same class
    logits[0, 1, 1, 0] = 0.0  # the small one alone sees the other class
    small, large = (np.clip(GRID[2 * 2 + i], 0, 64).tolist() for i in range(2))
    assert found(logits) == [(0, 0.881, large), (1, 0.5, small)]


def test_one_large_object_does_not_crowd_a_small_one_out_of_the_limit() -> None:
    logits = torch.full((2, 2, 2, 2), -9.0)
    logits[:, 0, 0, 0] = torch.tensor([3.0, 2.9])
    logits[0, 0, 1, 1] = -1.0
    assert [(label, score) for label, score, _ in found(logits, candidates=2)] == [(0, 0.953), (0, 0.269)]
