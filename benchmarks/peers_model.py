"""The detector that both sides of benchmarks/peers.py run: yolo11n with random weights, as an ONNX file.

Random weights detect nothing, so the number of boxes is adjusted: batch normalisation takes its
statistics from the clip, boxes are made small, and the classes' bias is shifted until ten boxes per frame
remain at the threshold. Both sides then suppress, label and draw the same boxes.

    python benchmarks/peers_model.py CLIP OUT.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from peers_sides import CONF, INPUT, IOU
from torchvision.ops import batched_nms
from ultralytics import YOLO

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize

BOXES_A_FRAME = 10
_EVERY = 15
_BINS = 16


def main() -> int:
    clip, out = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(0)
    yolo = YOLO("yolo11n.yaml")
    with torch.no_grad():
        tune(yolo.model, model_inputs(clip))
    written = Path(yolo.export(format="onnx", imgsz=INPUT))
    written.replace(out)
    return 0


def model_inputs(clip: str) -> torch.Tensor:
    """Every fifteenth frame: float32 ``[N, 3, 320, 320]``, RGB in 0..1."""
    video = cv2.VideoCapture(clip)
    frames = []
    while True:
        there, frame = video.read()
        if not there:
            break
        frames.append(np.asarray(frame, np.uint8))
    height, width = frames[0].shape[:2]
    letterbox = Letterbox.fit(width, height, INPUT, INPUT, Resize())
    chosen = [letterbox.image(frame)[..., ::-1].transpose(2, 0, 1) for frame in frames[::_EVERY]]
    return torch.from_numpy(np.stack(chosen).astype(np.float32) / 255)


def tune(model: Any, inputs: torch.Tensor) -> None:
    """Adjusts the random network to ten boxes per frame, in place."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a cumulative average
            module.reset_running_stats()
    model.train()
    model(inputs)
    model.eval()
    head = model.model[-1]
    for branch in head.cv2:
        branch[-1].weight.mul_(2)
        branch[-1].bias.copy_(-0.25 * torch.arange(float(_BINS)).repeat(4))  # short distances likelier
    for branch in head.cv3:
        branch[-1].weight.mul_(1.5)
        branch[-1].bias.zero_()
    answers = model(inputs)[0]
    low, high = -20.0, 0.0
    for _ in range(30):
        bias = (low + high) / 2
        low, high = (low, bias) if boxes_a_frame(answers, bias) > BOXES_A_FRAME else (bias, high)
    for branch in head.cv3:
        branch[-1].bias.fill_(bias)


def boxes_a_frame(answers: torch.Tensor, bias: float) -> float:
    """Boxes per frame that remain if every class gets ``bias``; ``answers`` is ``[N, 4 + C, M]``."""
    counts = []
    for rows in answers:
        scores, labels = torch.sigmoid(torch.logit(rows[4:].clamp(1e-7, 1 - 1e-7)) + bias).max(0)
        keep = scores > CONF
        centre, size = rows[:2, keep].T, rows[2:4, keep].T
        corners = torch.cat([centre - size / 2, centre + size / 2], 1)
        counts.append(len(batched_nms(corners, scores[keep], labels[keep], IOU)))
    return float(np.mean(counts))


if __name__ == "__main__":
    sys.exit(main())
