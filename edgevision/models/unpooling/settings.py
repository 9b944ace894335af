"""What segmenters that undo their pooling are built with; read without torch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgevision.bounds import Depth, ShareBelowOne, Side, Width, WidthOrNone
from edgevision.models.settings import MAX_STAGES, Kernel, check_kernel


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage of an encoder: convolutions with BatchNorm and ReLU, then 2x2 max-pooling.

    Attributes:
        channels: of its result.
        convolutions: how many.
    """

    channels: Width
    convolutions: Depth = 2


Stages = Annotated[tuple[StageConfig, ...], Meta(min_length=1, max_length=MAX_STAGES)]

VGG16 = tuple(StageConfig(*pair) for pair in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)))
"""The 13 convolutions of VGG-16 (Simonyan and Zisserman 2015, arXiv:1409.1556, table 1, D)."""


class SegNetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="segnet"):
    """A whole SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561).

    Attributes:
        input_width, input_height: of the input in pixels, multiples of 32.
        stages: of the encoder, the finest first; the decoder mirrors them. Those of VGG-16 in the paper.
        kernel: side of the convolutions, odd: 3 in SegNet, 7 in the paper's SegNet-Basic.
        dropout: probability that a channel of the deepest map is dropped.
    """

    input_width: Side
    input_height: Side
    stages: Stages = VGG16
    kernel: Kernel = 3
    dropout: ShareBelowOne = 0.0

    def __post_init__(self) -> None:
        check_kernel("kernel", self.kernel)


class DeconvNetConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="deconvnet"
):
    """A whole DeconvNet (Noh et al. 2015, arXiv:1505.04366), on the whole image instead of proposals.

    Attributes:
        input_width, input_height: of the input in pixels, multiples of 32.
        stages: of the encoder, the finest first; the decoder mirrors them. Those of VGG-16 in the paper.
        kernel: side of the convolutions, odd.
        middle: channels between encoder and decoder, 4096 in the paper; 0 for no layers there.
        middle_kernel: side of the first convolution there, odd, 7 in the paper.
        tied: each convolution of the decoder uses the kernels of the encoder's that it mirrors, turned by 180
            degrees (Zeiler and Fergus 2014, arXiv:1311.2901, section 2.1), and learns BatchNorm only.
        dropout: probability that a channel of the deepest map is dropped.
    """

    input_width: Side
    input_height: Side
    stages: Stages = VGG16
    kernel: Kernel = 3
    middle: WidthOrNone = 4096
    middle_kernel: Kernel = 7
    tied: bool = False
    dropout: ShareBelowOne = 0.0

    def __post_init__(self) -> None:
        check_kernel("kernel", self.kernel)
        check_kernel("middle_kernel", self.middle_kernel)
