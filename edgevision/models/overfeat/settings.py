"""What a sliding window is built with; read without torch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgevision.bounds import CountOrNone, Depth, NonNegative, ShareBelowOne, ShareBetween, Side, Width
from edgevision.models.settings import BackboneConfig

STRIDE = 16
"""Pixels between two windows: of the map that the trunk ends with."""

_FIELD = 79  # of one cell after the first unit of the third stage; each further unit sees 32 pixels more
_UNITS = 8  # of the third stage


class OverFeatConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="overfeat"
):
    """A classifier of windows, made convolutional (Sermanet et al. 2014, arXiv:1312.6229).

    The trunk is the first part of ShuffleNetV2 without any padding, so that a window's answer depends on the
    window's pixels alone, as if it had been cut out.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        units: of the backbone's third stage that the trunk has, 1 to 8.
        cells: side of the part of the trunk's map that one answer is made from.
        scales: of the input that windows slide over; at 2.0 a window sees half as many of its pixels.
        hidden: width of the layer before the class and the box.
        dropout: probability that a feature is dropped before them.
        overlap: windows that cover an object by more than this learn it, and the best of each object always.
        negatives: windows that show nothing and are the most offending ones, for each that learns an object.
        box_weight: factor of the distance of the box, in window sides.
        merge: overlap from which on boxes of one class are merged.
    """

    backbone: BackboneConfig
    input_size: Side
    units: Annotated[int, Meta(ge=1, le=_UNITS)] = 2
    cells: Depth = 3
    scales: Annotated[tuple[Annotated[float, Meta(gt=0, le=4)], ...], Meta(min_length=1)] = (
        0.5,
        0.75,
        1.0,
        1.5,
    )
    hidden: Width = 256
    dropout: ShareBelowOne = 0.2
    overlap: ShareBetween = 0.4
    negatives: CountOrNone = 3
    box_weight: NonNegative = 5.0
    merge: ShareBetween = 0.5

    def __post_init__(self) -> None:
        if self.backbone.name != "shufflenet_v2_x1_0":
            raise ValueError(
                f"backbone.name is {self.backbone.name}; expected shufflenet_v2_x1_0, which is rebuilt "
                "without padding"
            )
        if min(self.sides()) < self.window:
            raise ValueError(
                f"scales is {list(self.scales)}; expected each to leave an input of {self.window} pixels, "
                "one window, or more"
            )

    @property
    def window(self) -> int:
        """Side of a window, in pixels of the scaled image."""
        return _FIELD + 2 * STRIDE * (self.units - 1) + STRIDE * (self.cells - 1)

    def sides(self) -> tuple[int, ...]:
        """Side of the input at each scale, in pixels."""
        return tuple(round(self.input_size * scale) for scale in self.scales)

    def grids(self) -> tuple[int, ...]:
        """Windows along a side at each scale."""
        return tuple((side - self.window) // STRIDE + 1 for side in self.sides())

    @property
    def places(self) -> int:
        """Windows at all scales."""
        return sum(grid**2 for grid in self.grids())
