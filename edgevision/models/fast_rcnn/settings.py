"""What a Fast R-CNN is built with; read without torch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgevision.bounds import Count, Limit, Positives, ShareBelowOne, Side
from edgevision.models.settings import BackboneConfig, RegionConfig


class SearchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selective search (Uijlings et al. 2013, section 5.2, the "fast" strategies).

    Attributes:
        spaces: colour spaces.
        scales: how coarse the first regions are; each space and scale gives a hierarchy of regions.
        least_region: pixels of the smallest first region.
        least_side: pixels of the shortest side of a box.
        count: boxes of an image; about 2,000 in the papers.
    """

    spaces: Annotated[tuple[Literal["hsv", "lab"], ...], Meta(min_length=1)] = ("hsv", "lab")
    scales: Positives = (50.0, 100.0)
    least_region: Count = 50
    least_side: Count = 8
    count: Limit = 300


class FastRcnnConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="fast-rcnn"
):
    """A whole Fast R-CNN.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        search: where the regions come from.
        least_overlap: regions that show the background overlap an object by this, so that they are hard ones;
            0.1 in the paper. Where there are none, any will do.
    """

    backbone: BackboneConfig
    input_size: Side
    search: SearchConfig = SearchConfig()
    regions: RegionConfig = RegionConfig()
    least_overlap: ShareBelowOne = 0.1

    def __post_init__(self) -> None:
        if self.least_overlap >= self.regions.overlap:
            raise ValueError(
                f"least_overlap is {self.least_overlap}; expected less than regions.overlap, which is "
                f"{self.regions.overlap}"
            )

    @property
    def places(self) -> int:
        """Regions of an image, at most."""
        return self.search.count
