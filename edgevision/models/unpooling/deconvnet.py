"""DeconvNet: unpooling, then learnt transposed convolutions, or those of the encoder turned round."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.segmentation import Segmenter
from edgevision.models.unpooling.encoder import Encoder, convolution, mirrored_widths, normalised
from edgevision.models.unpooling.pooling import max_unpool
from edgevision.models.unpooling.settings import DeconvNetConfig


class Tied(nn.Module):
    """The transpose of a convolution: its kernels turned by 180 degrees, inputs and outputs exchanged.

    It has no weights of its own: those of the convolution learn in both places.

    Args:
        mirrored: the convolution, of stride 1.
    """

    def __init__(self, mirrored: nn.Conv2d) -> None:
        super().__init__()
        self.weight = mirrored.weight

    def forward(self, x: Tensor) -> Tensor:
        """``[N, outputs of the convolution, H, W]`` to ``[N, inputs of the convolution, H, W]``."""
        return F.conv_transpose2d(x, self.weight, padding=self.weight.shape[-1] // 2)


class DeconvNet(Segmenter):
    """A DeconvNet (Noh et al. 2015, section 3); its logits are as large as the input.

    The paper's fully connected layers between encoder and decoder are convolutions, so that any input fits;
    on its 224 pixels their first kernel of 7x7 sees the whole deepest map.

    Args:
        config: the architecture.
        classes: number of classes C.
    """

    def __init__(self, config: DeconvNetConfig, classes: int) -> None:
        super().__init__(classes)
        self.config = config
        self.encoder = Encoder(config.stages, config.kernel)
        self.dropout = nn.Dropout2d(config.dropout)
        self.middle = _middle(config)
        convolutions = [layer for layer in self.encoder.modules() if isinstance(layer, nn.Conv2d)]
        mirrored = reversed(convolutions)
        self.decoder = nn.ModuleList(
            nn.Sequential(
                *(
                    normalised(_deconvolution(inputs, outputs, next(mirrored), config), outputs)
                    for inputs, outputs in pairwise(widths)
                )
            )
            for widths in mirrored_widths(config.stages)
        )
        self.classifier = nn.Conv2d(config.stages[0].channels, classes, 1)

    def coarse(self, images: Tensor) -> Tensor:
        """``images`` ``[N, 3, H, W]``, normalised, to logits ``[N, C, H, W]``."""
        x, places = self.encoder(images)
        x = self.middle(self.dropout(x))
        for stage, corners in zip(self.decoder, reversed(places), strict=True):
            x = stage(max_unpool(x, corners))
        return self.classifier(x)  # type: ignore[no-any-return]


def _deconvolution(inputs: int, outputs: int, mirrored: nn.Conv2d, config: DeconvNetConfig) -> nn.Module:
    """A transposed convolution that keeps the size, tied to the one that it mirrors where that fits.

    The first convolution does not: its mirror would give the three colours.
    """
    if config.tied and mirrored.in_channels == outputs:
        return Tied(mirrored)
    made = nn.ConvTranspose2d(inputs, outputs, config.kernel, padding=config.kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_in", nonlinearity="relu")
    return made


def _middle(config: DeconvNetConfig) -> nn.Module:
    """The paper's fc6, fc7 and deconv-fc6 (table 3), or nothing."""
    if not config.middle:
        return nn.Identity()
    deepest, kernel = config.stages[-1].channels, config.middle_kernel
    back = nn.ConvTranspose2d(config.middle, deepest, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(
        normalised(convolution(deepest, config.middle, kernel), config.middle),
        normalised(convolution(config.middle, config.middle, 1), config.middle),
        normalised(back, deepest),
    )
