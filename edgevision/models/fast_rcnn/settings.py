"""What a Fast R-CNN is built with; read without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgevision.models.settings import BackboneConfig, RegionConfig, check_side


class SearchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selective search (Uijlings et al. 2013, section 5.2, the "fast" strategies).

    Attributes:
        spaces: colour spaces.
        scales: how coarse the first regions are; each space and scale gives a hierarchy of regions.
        least_region: pixels of the smallest first region.
        least_side: pixels of the shortest side of a box.
        count: boxes of an image; about 2,000 in the papers.
    """

    spaces: tuple[Literal["hsv", "lab"], ...] = ("hsv", "lab")
    scales: tuple[float, ...] = (50.0, 100.0)
    least_region: int = 50
    least_side: int = 8
    count: int = 300

    def __post_init__(self) -> None:
        if not self.spaces or not self.scales or min(self.scales) <= 0:
            raise ValueError("spaces and scales are one or more, and scales above 0")
        if min(self.least_region, self.least_side, self.count) < 1:
            raise ValueError("least_region, least_side and count are 1 or more")


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
    input_size: int
    search: SearchConfig = SearchConfig()
    regions: RegionConfig = RegionConfig()
    least_overlap: float = 0.1

    def __post_init__(self) -> None:
        check_side("input_size", self.input_size)
        if not 0 <= self.least_overlap < self.regions.overlap:
            raise ValueError(
                f"least_overlap is {self.least_overlap}; expected 0 or more, and less than regions.overlap"
            )

    @property
    def places(self) -> int:
        """Regions of an image, at most."""
        return self.search.count
