"""The network of a Fast R-CNN: one map for the whole image, and what looks at each region of it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import roi_pool

from edgevision.models.backbone import build_backbone
from edgevision.models.fast_rcnn.proposals import SearchedProposals
from edgevision.models.fast_rcnn.settings import FastRcnnConfig
from edgevision.models.regions import RegionAnswers, RegionStage, region_answers

_STRIDE = 16
"""Input pixels a cell of the map, as in the paper's networks."""


class FastRcnn(nn.Module):
    """A Fast R-CNN (Girshick 2015, section 2), its head and predictors those of torchvision.

    Args:
        config: the architecture.
        classes: number of classes C; the background has a column of its own, the first.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("predictor",)

    def __init__(self, config: FastRcnnConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.backbone = build_backbone(config.backbone)
        self.search = SearchedProposals(config.search)
        regions = config.regions
        self.head = TwoMLPHead(self.backbone.channels[-2] * regions.pool**2, regions.hidden)
        self.predictor = FastRCNNPredictor(regions.hidden, classes + 1)

    def forward(self, images: Tensor) -> RegionStage:
        """``images`` float ``[N, 3, S, S]``, RGB, normalised."""
        features = self.backbone(images)[-2]
        return RegionStage(self.search(images), partial(self.classify, features))

    def classify(self, features: Tensor, regions: Tensor) -> RegionAnswers:
        """The map ``[N, F, H, W]`` and regions ``[R, 5]`` to what is seen in each region.

        RoI pooling takes the maximum of each of ``pool`` x ``pool`` parts (section 2.1).
        """
        pooled = roi_pool(features.float(), regions.float(), self.config.regions.pool, 1 / _STRIDE)
        return region_answers(self.predictor(self.head(torch.flatten(pooled, 1))))
