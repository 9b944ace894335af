"""A network of Darknet in torch, layer by layer as its ``.cfg`` has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from edgevision.models.yolo_v3.cfg import (
    Convolutional,
    Dropout,
    Maxpool,
    Plan,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)

_BATCH_NORM_EPSILON = 1e-6  # darknet adds it to the deviation, OpenCV to the variance

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "relu": F.relu,
    "logistic": torch.sigmoid,
    "mish": F.mish,
    "swish": F.silu,
}


class Darknet(nn.Module):
    """Runs the layers of a plan.

    Args:
        plan: the layers.

    Attributes:
        layers: convolutions and poolings by their number in the plan; what has no state is not in it.
        predict: the convolutions before each layer that predicts, by their number.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.layers, self.predict = nn.ModuleDict(), nn.ModuleDict()
        following = (*plan.layers[1:], None)
        for number, (layer, after) in enumerate(zip(plan.layers, following, strict=True)):
            if isinstance(layer, Convolutional):
                place = self.predict if isinstance(after, Yolo) else self.layers
                place[str(number)] = Convolution(layer)
        self._kept = {
            source
            for layer in plan.layers
            for source in (
                layer.layers
                if isinstance(layer, Route)
                else [layer.source]
                if isinstance(layer, Shortcut)
                else ()
            )
        }

    def forward(self, images: Tensor) -> list[Tensor]:
        """``images`` float ``[N, 3, H, W]``, RGB, 0 to 1, to one ``[N, A * (5 + C), h, w]`` a ``[yolo]``."""
        x, kept, found = images, dict[int, Tensor](), list[Tensor]()
        for number, layer in enumerate(self.plan.layers):
            if isinstance(layer, Convolutional):
                x = self.convolution(number)(x)
            elif isinstance(layer, Maxpool):
                x = _pooled(x, layer)
            elif isinstance(layer, Upsample):
                x = F.interpolate(x, scale_factor=float(layer.stride), mode="nearest")
            elif isinstance(layer, Route):
                x = torch.cat([_part(kept[source], layer) for source in layer.layers], dim=1)
            elif isinstance(layer, Shortcut):
                x = _ACTIVATIONS[layer.activation](x + kept[layer.source])
            elif isinstance(layer, Dropout):
                x = F.dropout(x, layer.probability, self.training)
            else:
                found.append(x)
            if number in self._kept:
                kept[number] = x
        return found

    def convolution(self, number: int) -> Convolution:
        """The convolution of a layer, by its number."""
        place = self.predict if str(number) in self.predict else self.layers
        return place[str(number)]  # type: ignore[return-value]  # the dictionaries hold nothing else

    def convolutions(self) -> list[Convolution]:
        """All convolutions in the order of their layers, which is that of a ``.weights`` file."""
        numbers = [i for i, layer in enumerate(self.plan.layers) if isinstance(layer, Convolutional)]
        return [self.convolution(number) for number in numbers]


class Convolution(nn.Module):
    """One ``[convolutional]``: ``[N, inputs, H, W]`` to ``[N, filters, H', W']``."""

    def __init__(self, layer: Convolutional) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            layer.inputs,
            layer.filters,
            layer.size,
            layer.stride,
            layer.padding,
            groups=layer.groups,
            bias=not layer.batch_normalize,
        )
        self.norm = (
            nn.BatchNorm2d(layer.filters, eps=_BATCH_NORM_EPSILON) if layer.batch_normalize else nn.Identity()
        )
        self.activation = layer.activation

    def forward(self, x: Tensor) -> Tensor:
        return _ACTIVATIONS[self.activation](self.norm(self.convolution(x)))


class YoloV3(nn.Module):
    """A network of Darknet that takes images normalised as ImageNet's classifiers do.

    Args:
        plan: the layers.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("darknet.predict",)

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.darknet = Darknet(plan)
        self._start()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor) -> list[Tensor]:
        """``images`` float ``[N, 3, S, S]``, normalised, to one ``[N, A * (5 + C), h, w]`` a ``[yolo]``."""
        return self.darknet(images * self.std + self.mean)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _start(self) -> None:
        """Predictions that begin near 0, and a hundredth of them with an object (RetinaNet, section 4.1)."""
        for layer, head in zip(self.darknet.predict.values(), self.darknet.plan.heads, strict=True):
            assert isinstance(layer, Convolution)
            nn.init.normal_(layer.convolution.weight, std=0.01)
            bias = layer.convolution.bias
            assert bias is not None
            bias.zero_().view(len(head.anchors), -1)[:, 4] = -math.log(99)


def _pooled(x: Tensor, layer: Maxpool) -> Tensor:
    """Max-pooling as Darknet pads it: half before the map, and behind it what the last window needs."""
    before = layer.padding // 2
    after = layer.padding - before
    padded = F.pad(x, (before, after, before, after), value=float("-inf"))
    return F.max_pool2d(padded, layer.size, layer.stride)


def _part(x: Tensor, layer: Route) -> Tensor:
    """One of the groups of a map's channels."""
    return x if layer.groups == 1 else x.chunk(layer.groups, dim=1)[layer.group]
