"""The network of an FCN: a classifier's maps scored cell by cell, joined, and enlarged to the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.fcn.settings import FcnConfig
from edgevision.models.segmentation import Segmenter

_STRIDES = (32, 16, 8)


class Fcn(Segmenter):
    """FCN-32s, FCN-16s or FCN-8s on any backbone; its logits are as large as the input.

    Args:
        config: the architecture.
        classes: number of classes C.
    """

    class_layers = ("head",)

    def __init__(self, config: FcnConfig, classes: int) -> None:
        super().__init__(classes)
        self.config = config
        self.backbone = build_backbone(config.backbone)
        self.head = FcnHead(config, self.backbone.channels[:-4:-1], classes)

    def coarse(self, images: Tensor) -> Tensor:
        """``images`` ``[N, 3, H, W]``, normalised, to logits ``[N, C, H, W]``."""
        return self.head(self.backbone(images)[:-4:-1])  # type: ignore[no-any-return]


class FcnHead(nn.Module):
    """Scores the deepest map and, from it, finer ones (section 4.2).

    The scores of a finer map begin at 0, so that FCN-16s begins as FCN-32s is (section 4.2), and the
    enlargements between the maps as bilinear interpolation, from where they learn (section 3.3).

    Args:
        config: the architecture.
        channels: of the maps at strides 32, 16 and 8.
        classes: number of classes C.
    """

    def __init__(self, config: FcnConfig, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.levels = _STRIDES.index(config.stride) + 1
        self.dropout = nn.Dropout2d(config.dropout)
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in channels[: self.levels])
        for position, score in enumerate(self.scores):
            nn.init.normal_(score.weight, std=0.01 if position == 0 else 0.0)  # type: ignore[arg-type]
            nn.init.zeros_(score.bias)  # type: ignore[arg-type]  # a Conv2d with a bias
        self.enlarge = nn.ModuleList(Enlargement(classes, 2, True) for _ in range(self.levels - 1))
        self.last = Enlargement(classes, config.stride, config.last == "learnt")

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps ``[N, channels, H / s, W / s]`` at strides s of 32, 16 and 8 to logits ``[N, C, H, W]``."""
        x: Tensor = self.scores[0](self.dropout(maps[0]))
        for score, enlarge, one in zip(self.scores[1:], self.enlarge, maps[1 : self.levels], strict=True):
            x = enlarge(x) + score(one)
        return self.last(x)  # type: ignore[no-any-return]


class Enlargement(nn.Module):
    """A transposed convolution that begins as bilinear interpolation (section 3.3).

    The map counts as 0 outside, so that values fade within half a cell of the border; all classes fade
    alike, and the best stays the best.

    Args:
        classes: channels C.
        factor: how much larger its result is, an even number; the kernel has twice that side.
        learnt: whether it learns from there, with all classes seeing each other.
    """

    def __init__(self, classes: int, factor: int, learnt: bool) -> None:
        super().__init__()
        self.factor = factor
        kernel = bilinear_kernel(factor)
        self.weight: Tensor
        self.groups = 1 if learnt else classes
        if learnt:
            weight = torch.zeros(classes, classes, 2 * factor, 2 * factor)
            weight[torch.arange(classes), torch.arange(classes)] = kernel
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", kernel.repeat(classes, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, factor * H, factor * W]``."""
        half = self.factor // 2
        return F.conv_transpose2d(x, self.weight, stride=self.factor, padding=half, groups=self.groups)


def bilinear_kernel(factor: int) -> Tensor:
    """The kernel ``[2 * factor, 2 * factor]`` of bilinear interpolation by an even factor.

    Along a side it is ``1 - |i - centre| / factor`` with the centre at ``factor - 1 / 2``.

    Example:
        >>> bilinear_kernel(2)[0].tolist()
        [0.0625, 0.1875, 0.1875, 0.0625]
    """
    side = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    return side[:, None] * side[None]
