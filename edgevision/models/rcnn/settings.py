"""What an R-CNN is built with and fitted from; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.bounds import Count, CountOrNone, Positive, ShareBetween, Side
from edgevision.models.fast_rcnn.settings import SearchConfig
from edgevision.models.settings import BackboneConfig


class FitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the linear parts learn from (Girshick et al. 2014, section 2.3, appendices B and C).

    Attributes:
        images: images that are looked at, from the start of the training's stream.
        regions: regions of an image, beside its objects.
        negative_overlap: a region that overlaps no object of a class by this is not of that class.
        first_negatives: negatives that each classifier begins with; then those that it does not yet keep
            beyond the margin are added (hard negative mining).
        cost: C of the linear support vector machines.
        box_overlap: regions that overlap an object by this teach its box.
        ridge: lambda of the box regression.
    """

    images: Count = 177
    regions: Count = 60
    negative_overlap: ShareBetween = 0.3
    first_negatives: Count = 1000
    cost: Positive = 0.01
    box_overlap: ShareBetween = 0.6
    ridge: Positive = 1000.0


class RcnnConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="r-cnn"):
    """A whole R-CNN.

    Attributes:
        input_size: sides of the square input that regions are found in, in pixels, a multiple of 32.
        search: where the regions come from.
        crop: sides that each region is warped to, in pixels, a multiple of 32; 227 in the paper.
        context: pixels of the crop around the region; 16 in the paper.
        fit: what the linear parts learn from.
    """

    backbone: BackboneConfig
    input_size: Side
    search: SearchConfig = SearchConfig(count=100)
    crop: Side = 96
    context: CountOrNone = 8
    fit: FitConfig = FitConfig()

    def __post_init__(self) -> None:
        if self.context >= self.crop / 2:
            raise ValueError(f"context is {self.context}; expected less than half of crop, {self.crop // 2}")

    @property
    def places(self) -> int:
        """Regions of an image, at most."""
        return self.search.count
