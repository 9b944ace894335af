"""The network of a Faster R-CNN: pyramid, region proposals, and what looks at each region."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead

from edgevision.models.backbone import build_backbone
from edgevision.models.faster_rcnn.pooling import PyramidPool
from edgevision.models.faster_rcnn.proposals import Proposals
from edgevision.models.faster_rcnn.settings import FasterRcnnConfig
from edgevision.models.fpn import build_pyramid
from edgevision.models.regions import RegionAnswers, region_answers
from edgevision.models.retinanet import flatten_maps


class TwoStageAnswers(NamedTuple):
    """What the first stage says of N images, and the way to the second.

    Attributes:
        objectness: ``[N, M]``, logits of all anchors, in the order of
            :func:`~edgevision.models.anchors.anchor_grid`.
        offsets: ``[N, M, 4]``, from the anchors.
        proposals: ``[N, P, 4]``, corners in input pixels.
        classify: from regions ``[R, 5]``, the image's number and corners, to
            :class:`~edgevision.models.regions.RegionAnswers`.
        segment: from regions ``[R, 5]`` to logits of masks ``[R, C, m, m]``, of a network that has masks.
    """

    objectness: Tensor
    offsets: Tensor
    proposals: Tensor
    classify: Callable[[Tensor], RegionAnswers]
    segment: Callable[[Tensor], Tensor] | None = None


class FasterRcnn(nn.Module):
    """A Faster R-CNN (Ren et al. 2015), its head and predictors those of torchvision.

    Regions are proposed from P3 to P6 and looked at in P3 to P5, as in Lin et al. 2017 (arXiv:1612.03144,
    section 4).

    Args:
        config: the architecture.
        classes: number of classes C; the background has a column of its own, the first.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
        added_layers: what keeps them where a checkpoint lacks it.
    """

    class_layers: tuple[str, ...] = ("predictor",)
    added_layers: tuple[str, ...] = ()

    def __init__(self, config: FasterRcnnConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        channels, regions = config.channels, config.regions
        self.backbone = build_backbone(config.backbone)
        self.fpn = build_pyramid(config.pyramid, self.backbone.channels[-3:], channels, levels=4)
        self.rpn = RPNHead(channels, config.proposals.anchors.per_cell)
        self.propose = Proposals(config.proposals, config.input_size)
        self.pool = PyramidPool(regions.pool)
        self.head = TwoMLPHead(channels * regions.pool**2, regions.hidden)
        self.predictor = FastRCNNPredictor(regions.hidden, classes + 1)

    def forward(self, images: Tensor) -> TwoStageAnswers:
        """``images`` float ``[N, 3, S, S]``, RGB, normalised."""
        return self.answers(self.pyramid(images))

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """P3 to P6 of ``images``, each ``[N, channels, H, W]``."""
        maps: list[Tensor] = self.fpn(self.backbone(images)[-3:])
        return maps

    def answers(self, pyramid: list[Tensor]) -> TwoStageAnswers:
        """The first stage's answers from P3 to P6."""
        logits, offsets = self.rpn(pyramid)
        objectness, moves = flatten_maps(logits, 1)[..., 0], flatten_maps(offsets, 4)
        return TwoStageAnswers(
            objectness, moves, self.propose(objectness, moves), partial(self.classify, pyramid)
        )

    def classify(self, pyramid: list[Tensor], regions: Tensor) -> RegionAnswers:
        """P3 to P6 and regions ``[R, 5]`` to what is seen in each region."""
        features = self.head(self.pool(pyramid[:3], regions))
        return region_answers(self.predictor(torch.flatten(features, 1)))
