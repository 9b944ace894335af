"""SegNet: unpooling, then convolutions that make the sparse maps dense."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from edgevision.models.segmentation import Segmenter
from edgevision.models.unpooling.encoder import Encoder, convolution, mirrored_widths, normalised
from edgevision.models.unpooling.pooling import max_unpool
from edgevision.models.unpooling.settings import SegNetConfig


class SegNet(Segmenter):
    """A SegNet (Badrinarayanan et al. 2017, section 3); its logits are as large as the input.

    Args:
        config: the architecture.
        classes: number of classes C.
    """

    def __init__(self, config: SegNetConfig, classes: int) -> None:
        super().__init__(classes)
        self.config = config
        self.encoder = Encoder(config.stages, config.kernel)
        self.dropout = nn.Dropout2d(config.dropout)
        self.decoder = nn.ModuleList(
            nn.Sequential(
                *(
                    normalised(convolution(inputs, outputs, config.kernel), outputs)
                    for inputs, outputs in pairwise(widths)
                )
            )
            for widths in mirrored_widths(config.stages)
        )
        self.classifier = nn.Conv2d(config.stages[0].channels, classes, 1)

    def coarse(self, images: Tensor) -> Tensor:
        """``images`` ``[N, 3, H, W]``, normalised, to logits ``[N, C, H, W]``."""
        x, places = self.encoder(images)
        x = self.dropout(x)
        for stage, corners in zip(self.decoder, reversed(places), strict=True):
            x = stage(max_unpool(x, corners))
        return self.classifier(x)  # type: ignore[no-any-return]
