"""UNet (Ronneberger et al. 2015, arXiv:1505.04597) on a classifier's layers instead of its plain encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.segmentation import Segmenter
from edgevision.models.settings import MAX_STAGES, UNetConfig


class Block(nn.Module):
    """Two convolutions with BatchNorm and ReLU; ``[N, inputs, H, W]`` to ``[N, outputs, H, W]``."""

    def __init__(self, inputs: int, outputs: int, config: UNetConfig) -> None:
        super().__init__()
        self.first = nn.Sequential(*_convolution(inputs, outputs, config.depthwise), nn.ReLU(inplace=True))
        self.second = nn.Sequential(*_convolution(outputs, outputs, config.depthwise))
        self.shortcut: nn.Module | None = None
        if config.block == "residual":
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else nn.Sequential(*_norm_convolution(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return F.relu(y if self.shortcut is None else y + self.shortcut(x))


class DecoderStage(nn.Module):
    """Doubles the size of a map, joins the encoder's map of that size, and mixes both.

    Args:
        inputs: channels of the deeper map.
        skip: channels of the encoder's map, 0 where there is none.
        outputs: channels of the result.
        config: kind of decoder and block.
    """

    def __init__(self, inputs: int, skip: int, outputs: int, config: UNetConfig) -> None:
        super().__init__()
        self.transposed = config.decoder == "transposed"
        # Bilinear enlargement and a 1x1 convolution commute; this order takes a quarter of the time.
        self.up: nn.Module = (
            nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
            if self.transposed
            else nn.Conv2d(inputs, outputs, 1)
        )
        self.block = Block(outputs + skip, outputs, config)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """``x`` ``[N, inputs, H, W]`` and ``skip`` ``[N, skip, 2H, 2W]`` to ``[N, outputs, 2H, 2W]``."""
        x = self.up(x)
        if not self.transposed:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.block(x if skip is None else torch.cat([x, skip], dim=1))  # type: ignore[no-any-return]


class UNet(Segmenter):
    """The light segmenter's network.

    Args:
        config: the architecture.
        classes: number of classes.
    """

    def __init__(self, config: UNetConfig, classes: int) -> None:
        super().__init__(classes)
        self.config = config
        self.backbone = build_backbone(config.backbone)
        deepest, *skips = reversed(self.backbone.channels)
        widths = (deepest, *config.channels)
        self.stages = nn.ModuleList(
            DecoderStage(inputs, skip, outputs, config)
            for inputs, outputs, skip in zip(widths, widths[1:], (*skips, 0), strict=False)
        )
        self.factor = 2 ** (MAX_STAGES - len(self.stages))
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(config.channels[-1], classes, 1)
        for part in (self.stages, self.classifier):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)  # type: ignore[arg-type]  # built with a bias

    def coarse(self, images: Tensor) -> Tensor:
        """Logits at the last stage's own size, ``[N, C, H / s, W / s]``."""
        deepest, *skips = reversed(self.backbone(images))
        x = deepest
        for position, stage in enumerate(self.stages):
            x = stage(x, skips[position] if position < len(skips) else None)
        return self.classifier(self.dropout(x))  # type: ignore[no-any-return]


def _convolution(inputs: int, outputs: int, depthwise: bool) -> list[nn.Module]:
    if not depthwise:
        return _norm_convolution(inputs, outputs, 3)
    return [
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        *_norm_convolution(inputs, outputs, 1),
    ]


def _norm_convolution(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]
