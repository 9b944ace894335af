"""Augmentation for detection, through torchvision's transforms v2, so that boxes move with the picture."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from edgevision.types import FloatArray, Image


class AugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How pictures are varied while training; zeros switch a step off.

    Attributes:
        photometric: probability of changed brightness, contrast, saturation and hue.
        zoom_out: probability that the picture is placed on a larger canvas.
        zoom_out_max: side of the largest canvas, in picture sides.
        iou_crop: probability of a crop that keeps objects (SSD, Liu et al. 2016, section 2.2).
        crop_min: smallest side of a crop, as a share of the picture's.
        aspect: largest factor by which width over height changes, 1 for none.
        flip: probability of a mirror image.
    """

    photometric: float = 0.5
    zoom_out: float = 0.3
    zoom_out_max: float = 2.0
    iou_crop: float = 0.7
    crop_min: float = 0.3
    aspect: float = 1.33
    flip: float = 0.5


class AspectJitter(v2.Transform):  # type: ignore[misc]  # torchvision carries no types
    """Stretches picture and boxes horizontally by a random factor between ``1 / limit`` and ``limit``."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        factor = self.limit ** float(torch.empty(1).uniform_(-1, 1))
        return {"size": [height, max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(v2.functional.resize, inpt, params["size"], antialias=False)


class DetectionAugment:
    """Applies the configured steps to one picture and its boxes."""

    def __init__(self, config: AugmentConfig, fill: int) -> None:
        steps: list[v2.Transform] = []
        if config.photometric:
            jitter = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.4, hue=0.03)
            steps.append(v2.RandomApply([jitter], p=config.photometric))
        if config.zoom_out:
            sides = (1.0, config.zoom_out_max)
            steps.append(v2.RandomZoomOut(fill=fill, side_range=sides, p=config.zoom_out))
        if config.iou_crop:
            steps.append(v2.RandomApply([v2.RandomIoUCrop(min_scale=config.crop_min)], p=config.iou_crop))
        if config.aspect > 1:
            steps.append(AspectJitter(config.aspect))
        if config.flip:
            steps.append(v2.RandomHorizontalFlip(config.flip))
        steps.append(v2.SanitizeBoundingBoxes(min_size=1, labels_getter=lambda sample: sample[2]))
        self._steps = v2.Compose(steps)

    def __call__(
        self, image: Image, boxes: FloatArray, columns: NDArray[np.int64]
    ) -> tuple[Image, FloatArray, NDArray[np.int64]]:
        """Varies one sample, drawing from torch's random numbers.

        Args:
            image: uint8 ``[H, W, 3]``, BGR.
            boxes: float32 ``[G, 4]``, corners in pixels.
            columns: int64 ``[G, K]``: whatever belongs to each box, and goes when the box goes.
        """
        height, width = image.shape[:2]
        picture = tv_tensors.Image(torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1))
        corners = tv_tensors.BoundingBoxes(
            torch.from_numpy(boxes), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(height, width)
        )
        moved: tuple[Tensor, Tensor, Tensor] = self._steps(picture, corners, torch.from_numpy(columns))
        rgb = moved[0].permute(1, 2, 0).numpy()
        return np.ascontiguousarray(rgb[:, :, ::-1]), moved[1].numpy(), moved[2].numpy()
