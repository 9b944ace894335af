"""The network of an R-CNN: features of warped crops, a linear classifier for each class, and its box."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from edgevision.models.anchors import decode_boxes
from edgevision.models.backbone import build_backbone
from edgevision.models.fast_rcnn.proposals import SearchedProposals
from edgevision.models.rcnn.settings import RcnnConfig
from edgevision.models.regions import RegionAnswers, RegionBoxes, RegionStage, as_regions

_AT_ONCE = 64
"""Crops that go through the backbone together."""

FEATURE_LENGTH = 20.0
"""Features are scaled to this length, in which the paper's C is meant (released code, ``feat_norm``)."""


class Rcnn(nn.Module):
    """An R-CNN (Girshick et al. 2014, section 2).

    Its linear parts are fitted, not trained in steps: :func:`edgevision.training.rcnn.fit_linear`.

    Args:
        config: the architecture.
        classes: number of classes C.

    Attributes:
        svm: margins of the classes.
        boxes: offsets of the classes' boxes from the region.
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("svm", "boxes")

    def __init__(self, config: RcnnConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.backbone = build_backbone(config.backbone)
        self.search = SearchedProposals(config.search)
        width = self.backbone.channels[-1]
        self.svm, self.boxes = nn.Linear(width, classes), nn.Linear(width, 4 * classes)
        for layer in (self.svm, self.boxes):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> RegionStage:
        """``images`` float ``[N, 3, S, S]``, RGB, normalised."""
        return RegionStage(self.search(images), partial(self.classify, images))

    def classify(self, images: Tensor, regions: Tensor) -> RegionAnswers:
        """Images and regions ``[R, 5]`` to margins ``[R, C]`` and offsets ``[R, C, 4]``."""
        features = self.features(images, regions)
        return RegionAnswers(self.svm(features), self.boxes(features).reshape(len(features), -1, 4))

    def features(self, images: Tensor, regions: Tensor) -> Tensor:
        """Images and regions ``[R, 5]`` to ``[R, F]``: crop by crop, which is what makes an R-CNN slow."""
        found = []
        for start in range(0, len(regions), _AT_ONCE):
            part = regions[start : start + _AT_ONCE]
            pooled = self.backbone(warped(images, part, self.config))[-1].mean(dim=(2, 3))
            found.append(pooled / pooled.norm(dim=1, keepdim=True).clamp(min=1e-6) * FEATURE_LENGTH)
        return torch.cat(found)


def warped(images: Tensor, regions: Tensor, config: RcnnConfig) -> Tensor:
    """Regions ``[R, 5]`` of ``[N, 3, S, S]`` as crops ``[R, 3, crop, crop]``, whatever their shape.

    Around each is ``context`` pixels of the crop; beyond the image is the mean colour (appendix A, "warp").
    """
    boxes = regions[:, 1:]
    share = config.context / (config.crop - 2 * config.context)
    margin = (boxes[:, 2:] - boxes[:, :2]) * share
    wide = torch.cat([regions[:, :1], boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
    crops: Tensor = roi_align(images, wide.to(images.dtype), config.crop, 1.0, 2, aligned=True)
    return crops


class RcnnDecoding(nn.Module):
    """From regions to boxes and scores: the margin of each class through a sigmoid, which keeps its order.

    Args:
        input_size: sides of the square input.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.size = input_size

    def forward(self, answers: RegionStage) -> RegionBoxes:
        """``[N, P * C]`` boxes with scores and labels; offsets are those of appendix C."""
        regions = answers.proposals
        images, count = regions.shape[:2]
        seen = answers.classify(as_regions(regions))
        classes = seen.logits.shape[1]
        boxes = decode_boxes(seen.offsets.reshape(images, count, classes, 4), regions[:, :, None], torch)
        labels = torch.arange(classes, device=regions.device).repeat(count).expand(images, -1)
        scores = torch.sigmoid(seen.logits).reshape(images, -1)
        return RegionBoxes(boxes.clamp(0, self.size).reshape(images, -1, 4), scores, labels)
