"""From a Mask R-CNN's first stage to what is detected: boxes after suppression, then their masks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgevision.contract.manifest import Manifest
from edgevision.models.faster_rcnn.network import TwoStageAnswers
from edgevision.models.regions import RegionDecoding, as_regions
from edgevision.models.settings import DecodeConfig
from edgevision.models.static_nms import gather_rows, static_nms
from edgevision.models.torch_engine import TorchEngine


class RegionMasks(NamedTuple):
    """What is detected in N images, K rows each, the best first.

    Attributes:
        boxes: float ``[N, K, 4]``, corners in input pixels.
        scores: float ``[N, K]``, -1 for rows that hold nothing.
        labels: int64 ``[N, K]``.
        masks: float ``[N, K, m, m]``, probabilities over each box.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor


class MaskRcnnDecoding(nn.Module):
    """Looks at the proposals, suppresses, and draws masks in what is left; traced into the exported graph.

    Masks are drawn in the detected boxes, not in the proposals (He et al. 2017, section 3.1, "Inference").

    Args:
        input_size: sides of the square input.
        config: thresholds.
    """

    def __init__(self, input_size: int, config: DecodeConfig) -> None:
        super().__init__()
        self.find, self.config = RegionDecoding(input_size), config

    def forward(self, answers: TwoStageAnswers) -> RegionMasks:
        """Answers with the way to the masks.

        Raises:
            ValueError: the network has no masks.
        """
        if answers.segment is None:
            raise ValueError("expected the answers of a network with masks")
        config, found = self.config, self.find(answers)
        pairs = found.scores.shape[1]
        scores, order = found.scores.topk(min(config.candidates, pairs), dim=1)
        boxes, labels = gather_rows(found.boxes, order), found.labels.gather(1, order)
        valid = scores > config.score_threshold
        keep = static_nms(boxes, labels, valid, config.iou_threshold, config.rounds)
        ranked = torch.where(keep, scores, torch.full_like(scores, -1.0))
        kept, order = ranked.topk(min(config.max_detections, order.shape[1]), dim=1)
        boxes, labels = gather_rows(boxes, order), labels.gather(1, order)
        logits = answers.segment(as_regions(boxes))
        side = logits.shape[-1]
        index = labels.reshape(-1, 1, 1, 1).expand(-1, 1, side, side)
        masks = torch.sigmoid(logits.gather(1, index).float())
        return RegionMasks(boxes, kept, labels, masks.reshape(-1, kept.shape[1], side, side))


class TorchMaskEngine(TorchEngine):
    """A Mask R-CNN behind the engine protocol.

    Args:
        model: the network.
        decoding: for its architecture.
        manifest: the contract that an export would carry.
        device: where the network is.
    """

    def __init__(
        self,
        model: nn.Module,
        decoding: MaskRcnnDecoding,
        manifest: Manifest,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(model, manifest, device)
        self._decoding = decoding

    def finish(self, raw: TwoStageAnswers) -> dict[str, NDArray[Any]]:
        """The first stage's answers to the contract's five outputs."""
        found: RegionMasks = self._decoding(raw)
        boxes, scores, labels, masks = (one.cpu().numpy() for one in found)
        there = scores > 0
        return {
            "boxes": np.where(there[..., None], boxes, 0).astype(np.float32),
            "scores": np.where(there, scores, 0).astype(np.float32),
            "labels": np.where(there, labels, -1).astype(np.int32),
            "count": there.sum(axis=1).astype(np.int32),
            "masks": np.where(there[..., None, None], masks, 0).astype(np.float32),
        }
