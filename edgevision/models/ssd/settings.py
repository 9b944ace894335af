"""What an SSD is built with; read without torch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgevision.bounds import (
    Depth,
    NonNegative,
    Positive,
    Positives,
    Share,
    ShareBelowOne,
    ShareBetween,
    Side,
    Width,
)
from edgevision.models.settings import BackboneConfig


class SsdLossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The loss of an SSD.

    Attributes:
        form: of the class loss: ``focal``, or plain ``bce``; neither has a column for the background.
        alpha, gamma: of the focal loss.
        box_weight: factor of the L1 loss on corners, which are shares of the anchor's cell.
        overlap: anchors that cover an object by more than this learn it, and the best of each object always.
    """

    form: Literal["focal", "bce"] = "focal"
    alpha: Share = 0.25
    gamma: NonNegative = 2.0
    box_weight: NonNegative = 4.0
    overlap: ShareBetween = 0.5


class SsdConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="ssd"):
    """A whole SSD (Liu et al. 2016, arXiv:1512.02325).

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        first_stride: of the finest map that is predicted from: 16 or 32 are maps of the backbone, 64 is made
            from its last one, as all coarser ones are (section 2.1). With an input of 256 and one level, 64
            is the 4x4 grid that one starts with.
        levels: maps that are predicted from; each halves the one before.
        scales: sides of a square anchor, in cells of its map. They should span an octave, since each map has
            cells of twice the size: what lies between two anchors is covered by none.
        ratios: widths and heights that each scale is multiplied by.
        channels: of the convolutions before the predictions.
        dropout: probability that a channel is dropped before them.
        prior: probability that the class predictions start from.
    """

    backbone: BackboneConfig
    input_size: Side
    first_stride: Literal[16, 32, 64] = 16
    levels: Depth = 3
    scales: Positives = (1.0, 1.6, 2.5)
    ratios: Annotated[tuple[tuple[Positive, Positive], ...], Meta(min_length=1)] = (
        (1.0, 1.0),
        (1.0, 0.5),
        (0.5, 1.0),
    )
    channels: Width = 128
    dropout: ShareBelowOne = 0.1
    prior: ShareBetween = 0.01
    loss: SsdLossConfig = SsdLossConfig()

    def __post_init__(self) -> None:
        if self.input_size < self.first_stride * 2 ** (self.levels - 1):
            raise ValueError(
                f"levels is {self.levels}; expected a last map of one cell or more: "
                f"{self.first_stride} * 2^(levels - 1) is at most {self.input_size}"
            )

    @property
    def per_cell(self) -> int:
        """Anchors of one cell."""
        return len(self.scales) * len(self.ratios)

    @property
    def places(self) -> int:
        """Anchors of all maps."""
        return sum(grid**2 for grid in self.grids()) * self.per_cell

    def backbone_maps(self) -> slice:
        """Which of the backbone's maps, of strides up to 32, are predicted from; further ones are made."""
        if self.first_stride == 64:
            return slice(0, 0)
        if self.first_stride == 32:
            return slice(-1, None)
        return slice(-2, -1 if self.levels == 1 else None)

    def grids(self) -> tuple[int, ...]:
        """Cells along a side of each map; a side that is odd is halved upwards."""
        side = -(-self.input_size // self.first_stride)
        sides = [side]
        for _ in range(self.levels - 1):
            sides.append(-(-sides[-1] // 2))
        return tuple(sides)
