"""Selective search on a network's input, remembered for images that come again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from edgevision.models.fast_rcnn.settings import SearchConfig
from edgevision.models.selective_search import selective_search
from edgevision.types import FloatArray, Image

_REMEMBERED = 4000
"""Images whose regions are kept, about 5 kB each."""


class SearchedProposals:
    """Regions of images as a network takes them.

    Args:
        config: of the search.
    """

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        self._known: OrderedDict[bytes, FloatArray] = OrderedDict()

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised ``[N, 3, H, W]`` to corners ``[N, P, 4]`` in input pixels.

        P is the limit of the search; where it finds fewer, the whole image fills up, which suppression
        deals with.
        """
        found = [self._of(image) for image in as_pixels(images)]
        boxes = np.empty((len(found), self.config.count, 4), np.float32)
        boxes[:] = (0, 0, images.shape[3], images.shape[2])
        for row, of_image in zip(boxes, found, strict=True):
            row[: len(of_image)] = of_image
        return torch.from_numpy(boxes).to(images.device)

    def _of(self, image: Image) -> FloatArray:
        key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if key not in self._known:
            self._known[key] = selective_search(image, self.config)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]


def as_pixels(images: Tensor) -> list[Image]:
    """The inverse of :func:`~edgevision.models.backbone.normalise`: N images, uint8 ``[H, W, 3]``, BGR."""
    mean, std = (
        torch.tensor(one, device=images.device).view(1, 3, 1, 1) for one in (IMAGENET_MEAN, IMAGENET_STD)
    )
    pixels = ((images.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return [*np.ascontiguousarray(pixels.flip(1).permute(0, 2, 3, 1).cpu().numpy())]
