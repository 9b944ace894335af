"""The plain encoder of SegNet and DeconvNet: VGG's stages, with the places of the maxima."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from edgevision.models.unpooling.pooling import max_pool
from edgevision.models.unpooling.settings import StageConfig


class Encoder(nn.Module):
    """Convolutions with BatchNorm and ReLU, each stage ending in 2x2 max-pooling.

    Args:
        stages: the finest first.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, stages: Sequence[StageConfig], kernel: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = 3
        for stage in stages:
            widths = [before, *[stage.channels] * stage.convolutions]
            self.stages.append(
                nn.Sequential(
                    *(
                        normalised(convolution(inputs, outputs, kernel), outputs)
                        for inputs, outputs in pairwise(widths)
                    )
                )
            )
            before = stage.channels

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``images`` ``[N, 3, H, W]`` to the deepest map and the places of each stage's maxima.

        Returns:
            ``[N, C, H / 2^S, W / 2^S]`` of S stages, and for each of them its
            :attr:`~edgevision.models.unpooling.pooling.Pooled.corners`.
        """
        x, places = images, []
        for stage in self.stages:
            x, corners = max_pool(stage(x))
            places.append(corners)
        return x, places


def mirrored_widths(stages: Sequence[StageConfig]) -> Iterator[list[int]]:
    """Channels through each stage of a decoder, deepest first: the encoder's, backwards.

    The mirror of the first convolution, which took the three colours, keeps the width of its stage.

    Example:
        >>> list(mirrored_widths([StageConfig(8, 2), StageConfig(16, 1)]))
        [[16, 8], [8, 8, 8]]
    """
    for position in reversed(range(len(stages))):
        width = stages[position].channels
        after = stages[position - 1].channels if position else width
        yield [width] * stages[position].convolutions + [after]


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps the size; BatchNorm follows, so it has no bias."""
    made = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    """A layer with BatchNorm and ReLU behind it."""
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
