"""Augmentation for classification: what is seen of an image, whether it is mirrored, and its colours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from edgevision.boxes import pixel_edges
from edgevision.data.detection.augment import ColourJitter
from edgevision.data.settings import ClassificationAugmentConfig
from edgevision.types import FloatArray, Image


class ClassificationAugment:
    """Varies one labelled image, drawing from torch's random numbers.

    Args:
        config: how much.
    """

    def __init__(self, config: ClassificationAugmentConfig) -> None:
        self.config = config
        self._jitter = ColourJitter(brightness=0.3, contrast=0.3, saturation=0.4, hue=0.03)

    def part(self, image: Image, box: FloatArray) -> Image:
        """What is seen of an image: the box with each edge moved, mirrored at times.

        Args:
            image: uint8 ``[H, W, 3]``.
            box: float32 ``[4]``, corners in pixels; those of the image for the whole of it.

        Returns:
            uint8 ``[h, w, 3]``, of one pixel or more.
        """
        sides = np.tile(box[2:] - box[:2], 2)
        draws = torch.empty(4).uniform_(-1, 1).numpy()
        moved = (box + self.config.shift * sides * draws).astype(np.float32)
        height, width = image.shape[:2]
        left, top, right, bottom = pixel_edges(moved[None], width, height)[0].tolist()
        left, top = min(left, width - 1), min(top, height - 1)
        seen = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        return seen[:, ::-1] if float(torch.rand(1)) < self.config.flip else seen

    def colours(self, image: Image) -> Image:
        """Changes brightness, contrast, saturation and hue at times: uint8 ``[H, W, 3]``, BGR."""
        if float(torch.rand(1)) >= self.config.photometric:
            return image
        tensor = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
        changed: Tensor = self._jitter(tensor)
        return np.ascontiguousarray(changed.permute(1, 2, 0).numpy())
