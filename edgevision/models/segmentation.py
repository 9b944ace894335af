"""What the network of every segmenter is: logits at a size of its own, and their enlargement."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.errors import ConfigError


class Segmenter(nn.Module):
    """A network that scores every class at every pixel; a family fills in :meth:`coarse`.

    Args:
        classes: number of classes.

    Raises:
        ConfigError: there are fewer than two.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
        factor: how much smaller than the input the logits of :meth:`coarse` are.
    """

    class_layers: tuple[str, ...] = ("classifier",)
    factor: int = 1

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ConfigError(
                f"a segmenter needs two classes or more, found {classes}; name the background too"
            )
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        """``images`` ``[N, 3, H, W]``, RGB, normalised, to logits ``[N, C, H, W]``; 32 divides H and W."""
        return enlarge(self.coarse(images), self.factor)

    def coarse(self, images: Tensor) -> Tensor:
        """Logits ``[N, C, H / factor, W / factor]``."""
        raise NotImplementedError


def enlarge(logits: Tensor, factor: int) -> Tensor:
    """Logits ``[N, C, H, W]`` to ``[N, C, factor * H, factor * W]``, bilinear."""
    if factor == 1:
        return logits
    return F.interpolate(logits, scale_factor=float(factor), mode="bilinear", align_corners=False)
