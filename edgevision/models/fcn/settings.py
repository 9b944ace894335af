"""What a fully convolutional network is built with; read without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgevision.bounds import ShareBelowOne, Side
from edgevision.models.settings import BackboneConfig


class FcnConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="fcn"):
    """A whole FCN (Long, Shelhamer and Darrell 2015, arXiv:1411.4038).

    Attributes:
        backbone: the encoder; the paper's is VGG-16.
        input_width, input_height: of the input in pixels, multiples of 32.
        stride: of the finest map that is scored: 32 is the paper's FCN-32s, 16 its FCN-16s, 8 its FCN-8s.
        last: the last enlargement stays ``fixed`` to bilinear interpolation, as the paper's, or is
            ``learnt`` from there.
        dropout: probability that a channel of the deepest map is dropped before its scores.
    """

    backbone: BackboneConfig
    input_width: Side
    input_height: Side
    stride: Literal[8, 16, 32] = 8
    last: Literal["fixed", "learnt"] = "fixed"
    dropout: ShareBelowOne = 0.1
