"""What a YOLO of the first version is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.models.settings import BackboneConfig, check_side


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
    input_size: int
    boxes: int = 2
    channels: int = 256
    dropout: float = 0.1
    coordinate_weight: float = 5.0
    empty_weight: float = 0.5

    def __post_init__(self) -> None:
        check_side("input_size", self.input_size)
        if self.boxes < 1:
            raise ValueError(f"boxes is {self.boxes}; expected 1 or more")

    @property
    def grid(self) -> int:
        """S, cells along a side."""
        return self.input_size // 32

    @property
    def places(self) -> int:
        """Boxes of an image, S * S * B."""
        return self.grid**2 * self.boxes
