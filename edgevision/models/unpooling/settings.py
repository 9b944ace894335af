"""What segmenters that undo their pooling are built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.models.settings import MAX_STAGES, check_dropout, check_side


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage of an encoder: convolutions with BatchNorm and ReLU, then 2x2 max-pooling.

    Attributes:
        channels: of its result.
        convolutions: how many.
    """

    channels: int
    convolutions: int = 2

    def __post_init__(self) -> None:
        if min(self.channels, self.convolutions) < 1:
            raise ValueError(
                f"a stage has {self.channels} channels and {self.convolutions} convolutions; expected 1 or "
                "more of each"
            )


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

    input_width: int
    input_height: int
    stages: tuple[StageConfig, ...] = VGG16
    kernel: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check_encoder(self)


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

    input_width: int
    input_height: int
    stages: tuple[StageConfig, ...] = VGG16
    kernel: int = 3
    middle: int = 4096
    middle_kernel: int = 7
    tied: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check_encoder(self)
        if self.middle < 0:
            raise ValueError(f"middle is {self.middle}; expected 0 or a number of channels")
        _check_kernel("middle_kernel", self.middle_kernel)


def _check_encoder(config: SegNetConfig | DeconvNetConfig) -> None:
    check_side("input_width", config.input_width)
    check_side("input_height", config.input_height)
    if not 1 <= len(config.stages) <= MAX_STAGES:
        raise ValueError(f"stages are {len(config.stages)}; expected 1 to {MAX_STAGES}")
    _check_kernel("kernel", config.kernel)
    check_dropout(config.dropout)


def _check_kernel(name: str, side: int) -> None:
    if side < 1 or side % 2 == 0:
        raise ValueError(f"{name} is {side}; expected an odd number, such as 3")
