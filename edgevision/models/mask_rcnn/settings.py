"""What a Mask R-CNN is built with; read without torch."""

from __future__ import annotations

import msgspec

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

    pool: int = 14
    channels: int = 64
    layers: int = 2
    class_specific: bool = True
    weight: float = 1.0

    def __post_init__(self) -> None:
        if min(self.pool, self.channels, self.layers) < 1 or self.weight < 0:
            raise ValueError("pool, channels and layers are 1 or more, and weight is 0 or more")

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
