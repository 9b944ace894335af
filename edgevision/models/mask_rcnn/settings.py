"""What a Mask R-CNN is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.bounds import Depth, NonNegative, Width
from edgevision.models.faster_rcnn.settings import FasterRcnnConfig


class MaskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The branch that draws masks (He et al. 2017, section 3, figure 4 on the right).

    Attributes:
        pool: cells along a side of what is taken from the maps for a region; a mask has twice as many.
        channels: of its convolutions; 256 in the paper.
        layers: convolutions before the mask is enlarged; 4 in the paper.
        class_specific: draw a mask for each class, as in the paper; without, one that all classes share,
            which is nearly as good (section 4.2, "class-specific vs. class-agnostic masks") and also serves
            classes of which few objects or none have polygons.
        weight: factor of its loss.
    """

    pool: Depth = 14
    channels: Width = 64
    layers: Depth = 2
    class_specific: bool = True
    weight: NonNegative = 1.0

    @property
    def side(self) -> int:
        """Cells along a side of a mask."""
        return 2 * self.pool


class MaskRcnnConfig(FasterRcnnConfig, frozen=True, forbid_unknown_fields=True, tag="mask-rcnn"):
    """A whole Mask R-CNN: a Faster R-CNN with one branch more.

    Attributes:
        masks: that branch.
    """

    masks: MaskConfig = MaskConfig()
