"""The network of a Mask R-CNN: that of a Faster R-CNN, with a branch that draws masks."""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from edgevision.models.faster_rcnn.network import FasterRcnn, TwoStageAnswers
from edgevision.models.faster_rcnn.pooling import PyramidPool
from edgevision.models.mask_rcnn.settings import MaskRcnnConfig


class MaskRcnn(FasterRcnn):
    """A Mask R-CNN, its branch that of torchvision.

    Args:
        config: the architecture.
        classes: number of classes C; masks have no background column.

    Raises:
        ConfigError: there is no class.
    """

    class_layers: tuple[str, ...] = ("predictor", "mask_predictor")
    added_layers: tuple[str, ...] = ("mask_head",)

    def __init__(self, config: MaskRcnnConfig, classes: int) -> None:
        super().__init__(config, classes)
        masks = config.masks
        self.mask_pool = PyramidPool(masks.pool)
        self.mask_head = MaskRCNNHeads(config.channels, (masks.channels,) * masks.layers, 1)
        if not masks.class_specific:  # what draws them knows no class
            self.class_layers, self.added_layers = ("predictor",), ("mask_head", "mask_predictor")
        drawn = classes if masks.class_specific else 1
        self.mask_predictor = MaskRCNNPredictor(masks.channels, masks.channels, drawn)

    def answers(self, pyramid: list[Tensor]) -> TwoStageAnswers:
        """The first stage's answers from P3 to P6, with the way to the masks."""
        return super().answers(pyramid)._replace(segment=partial(self.segment, pyramid))

    def segment(self, pyramid: list[Tensor], regions: Tensor) -> Tensor:
        """P3 to P6 and regions ``[R, 5]`` to logits of masks over the regions, ``[R, C, m, m]``.

        Where the classes share a mask, all C are that one.
        """
        masks: Tensor = self.mask_predictor(self.mask_head(self.mask_pool(pyramid[:3], regions)))
        return masks.expand(-1, self.classes, -1, -1)
