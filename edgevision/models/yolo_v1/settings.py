"""What a YOLO of the first version is built with; read without torch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgevision.bounds import NonNegative, ShareBelowOne, Side, Width
from edgevision.models.settings import BackboneConfig


class YoloV1Config(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="yolo-v1"
):
    """A whole YOLO v1 (Redmon et al. 2016, arXiv:1506.02640).

    The paper's two fully connected layers are convolutions here: each cell sees its surroundings, and the
    file stays small.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32; the grid has S = input_size / 32
            cells along a side, 7 for 224.
        boxes: B, boxes that each cell predicts.
        channels: of the convolutions before the predictions.
        dropout: probability that a channel is dropped before them.
        coordinate_weight: the paper's lambda_coord.
        empty_weight: the paper's lambda_noobj.
    """

    backbone: BackboneConfig
    input_size: Side
    boxes: Annotated[int, Meta(ge=1, le=32)] = 2
    channels: Width = 256
    dropout: ShareBelowOne = 0.1
    coordinate_weight: NonNegative = 5.0
    empty_weight: NonNegative = 0.5

    @property
    def grid(self) -> int:
        """S, cells along a side."""
        return self.input_size // 32

    @property
    def places(self) -> int:
        """Boxes of an image, S * S * B."""
        return self.grid**2 * self.boxes
