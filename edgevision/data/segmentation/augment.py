"""Augmentation for segmentation, through torchvision's transforms v2: labels move with the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from edgevision.data.segmentation.weather import Weather
from edgevision.data.settings import SegmentationAugmentConfig
from edgevision.types import Image


class RandomScale(v2.Transform):  # type: ignore[misc]  # torchvision carries no types
    """Resizes an image to a random multiple of the size at which it fits into the input.

    torchvision's ScaleJitter compares widths with heights, which shrinks wide images.

    Args:
        width, height: of the input.
        low, high: least and greatest multiple.
        stretch: by how much one side may grow against the other.
    """

    def __init__(self, width: int, height: int, low: float, high: float, stretch: float = 1.0) -> None:
        super().__init__()
        self.width, self.height, self.low, self.high = width, height, low, high
        self.reach = math.log(stretch) / 2

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        fit = min(self.width / width, self.height / height)
        scale = fit * float(torch.empty(1).uniform_(self.low, self.high))
        wider = math.exp(float(torch.empty(1).uniform_(-self.reach, self.reach))) if self.reach else 1.0
        return {"size": [max(1, round(height * scale / wider)), max(1, round(width * scale * wider))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(v2.functional.resize, inpt, params["size"], antialias=True)


class SegmentationAugment:
    """Applies the configured steps to one image and its labels.

    Args:
        config: steps.
        width, height: of the model's input.
        fill: value of pixels outside the image.
        ignore_id: label of pixels outside the image.

    Attributes:
        mix: probability that :func:`mix_classes` is to follow.
    """

    def __init__(
        self, config: SegmentationAugmentConfig, width: int, height: int, fill: int, ignore_id: int
    ) -> None:
        fills: Any = {tv_tensors.Image: fill, tv_tensors.Mask: ignore_id}
        bilinear = v2.InterpolationMode.BILINEAR
        size = config.trained_size(width, height)[::-1]
        steps: list[v2.Transform] = [
            RandomScale(width, height, config.scale_min, config.scale_max, config.stretch)
        ]
        if config.rotate:
            turn = v2.RandomRotation(config.rotate_degrees, bilinear, fill=fills)
            steps.append(v2.RandomApply([turn], p=config.rotate))
        steps.append(v2.RandomCrop(size, pad_if_needed=True, fill=fills))
        if config.flip:
            steps.append(v2.RandomHorizontalFlip(config.flip))
        if config.photometric:
            reach = config.photometric_range
            jitter = v2.ColorJitter(brightness=reach, contrast=reach, saturation=reach, hue=0.03)
            steps.append(v2.RandomApply([jitter], p=config.photometric))
        self._steps = v2.Compose(steps)
        self._weather = Weather(config.weather)
        self.mix = config.mix

    def __call__(self, image: Image, labels: NDArray[np.uint8]) -> tuple[Image, NDArray[np.uint8]]:
        """Varies one sample, drawing from torch's random numbers.

        Args:
            image: uint8 ``[H, W, 3]``, BGR.
            labels: uint8 ``[H, W]``.

        Returns:
            uint8 ``[h, w, 3]`` and uint8 ``[h, w]`` of the training size.
        """
        tensor = tv_tensors.Image(torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(labels))
        moved: tuple[Tensor, Tensor] = self._steps(tensor, mask)
        rgb = moved[0].permute(1, 2, 0).numpy()
        varied = self._weather(np.ascontiguousarray(rgb[:, :, ::-1]))
        return varied, np.ascontiguousarray(moved[1].numpy())


def mix_classes(
    first: tuple[Image, NDArray[np.uint8]], second: tuple[Image, NDArray[np.uint8]], ignore_id: int
) -> tuple[Image, NDArray[np.uint8]]:
    """Covers an image with half of the classes of another, rounded up, drawn from torch's random numbers.

    ClassMix (Olsson et al. 2021, arXiv:2007.07936) with labels that are known: small objects get into more
    surroundings, with edges that are theirs.

    Args:
        first: an image, uint8 ``[H, W, 3]``, and its labels, uint8 ``[H, W]``; not changed.
        second: another of the same size.
        ignore_id: the label of what is no class.

    Returns:
        The image with what was pasted, and its labels.
    """
    present = [int(one) for one in np.unique(second[1]) if one != ignore_id]
    chosen = torch.randperm(len(present))[: (len(present) + 1) // 2]
    pasted = np.isin(second[1], [present[int(i)] for i in chosen])
    return np.where(pasted[..., None], second[0], first[0]), np.where(pasted, second[1], first[1])
