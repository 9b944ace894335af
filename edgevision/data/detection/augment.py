"""Augmentation for detection, through torchvision's transforms v2, so that boxes move with the image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from edgevision.boxes import iou
from edgevision.data.settings import AugmentConfig
from edgevision.types import FloatArray, Image

_BGR_TO_YIQ = np.array([[0.114, 0.587, 0.299], [-0.3213, -0.2744, 0.5957], [0.3111, -0.5226, 0.2115]])


class AspectJitter(v2.Transform):  # type: ignore[misc]  # torchvision carries no types
    """Stretches image and boxes horizontally by a random factor between ``1 / limit`` and ``limit``."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        factor = self.limit ** float(torch.empty(1).uniform_(-1, 1))
        return {"size": [height, max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(v2.functional.resize, inpt, params["size"], antialias=False)


class IoUCrop(v2.RandomIoUCrop):  # type: ignore[misc]  # torchvision carries no types
    """torchvision's crop with all trials of an overlap drawn at once, which is eight times as fast."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        boxes = next(one for one in flat_inputs if isinstance(one, tv_tensors.BoundingBoxes)).numpy()
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        while True:
            overlap = self.options[int(torch.randint(len(self.options), (1,)))]
            if overlap >= 1:
                return {}
            draws = torch.rand(self.trials, 4).numpy()
            shares = self.min_scale + (self.max_scale - self.min_scale) * draws[:, :2]
            sizes = (shares * [width, height]).astype(np.int64)
            corners = ((np.array([width, height]) - sizes) * draws[:, 2:]).astype(np.int64)
            crops = np.concatenate([corners, corners + sizes], axis=1)
            within = (centres > crops[:, None, :2]) & (centres < crops[:, None, 2:])
            inside = within.all(axis=2)  # [trials, G]
            aspects = sizes[:, 0] / np.maximum(sizes[:, 1], 1)
            shaped = (aspects >= self.min_aspect_ratio) & (aspects <= self.max_aspect_ratio)
            shaped &= (sizes > 0).all(axis=1)
            overlaps = iou(crops.astype(np.float32), boxes)
            fitting = np.flatnonzero(shaped & (inside & (overlaps >= overlap)).any(axis=1))
            if len(fitting):
                left, top, right, bottom = crops[fitting[0]].tolist()
                return {
                    "top": top,
                    "left": left,
                    "height": bottom - top,
                    "width": right - left,
                    "is_within_crop_area": torch.from_numpy(inside[fitting[0]]),
                }


class ColourJitter(v2.Transform):  # type: ignore[misc]  # torchvision carries no types
    """Brightness, contrast, saturation and hue as one matrix on BGR, where torchvision takes four passes.

    Hue turns the colour plane of YIQ, as in Haeberli's matrix operations, instead of going through HSV.

    Args:
        brightness, contrast, saturation: factors are drawn from 1 - value to 1 + value.
        hue: turns are drawn from -value to value, in whole turns.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float) -> None:
        super().__init__()
        self.limits = (brightness, contrast, saturation, hue)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        draws = torch.empty(4).uniform_(-1, 1).tolist()
        brightness, contrast, saturation, hue = (
            draw * limit for draw, limit in zip(draws, self.limits, strict=True)
        )
        turn = 2 * np.pi * hue
        cosine, sine = (1 + saturation) * np.cos(turn), (1 + saturation) * np.sin(turn)
        in_yiq = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
        colour = np.linalg.inv(_BGR_TO_YIQ) @ in_yiq @ _BGR_TO_YIQ * (1 + brightness)
        return {"colour": colour, "contrast": 1 + contrast}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        image = inpt.permute(1, 2, 0).numpy()
        matrix, contrast = params["colour"], params["contrast"]
        grey = float((_BGR_TO_YIQ[0] @ matrix) @ cv2.mean(image)[:3])
        affine = np.column_stack([contrast * matrix, np.full(3, (1 - contrast) * grey)])
        return tv_tensors.wrap(torch.from_numpy(cv2.transform(image, affine)).permute(2, 0, 1), like=inpt)


class DetectionAugment:
    """Varies one image: where things are before it is letterboxed, colours afterwards.

    Attributes:
        mosaic: probability that the caller composes four images.
        blank: probability that the caller takes :func:`blank_image` instead.
    """

    def __init__(self, config: AugmentConfig, fill: int) -> None:
        self.mosaic, self.blank = config.mosaic, config.blank
        # Labels are rounded: a box may leave its image by a little, for which the last step would drop it.
        steps: list[v2.Transform] = [v2.ClampBoundingBoxes()]
        fills = {tv_tensors.Mask: 0, "others": fill}
        if config.zoom_out:
            sides = (1.0, config.zoom_out_max)
            steps.append(v2.RandomZoomOut(fill=fills, side_range=sides, p=config.zoom_out))
        if config.iou_crop:
            steps.append(v2.RandomApply([IoUCrop(min_scale=config.crop_min)], p=config.iou_crop))
        if config.rotate:
            smooth = v2.InterpolationMode.BILINEAR
            turn = v2.RandomRotation(config.rotate_max, interpolation=smooth, fill=fills)
            steps.append(v2.RandomApply([turn], p=config.rotate))
        if config.aspect > 1:
            steps.append(AspectJitter(config.aspect))
        if config.flip:
            steps.append(v2.RandomHorizontalFlip(config.flip))
        steps.append(v2.SanitizeBoundingBoxes(min_size=1, labels_getter=lambda sample: sample[2]))
        self._steps = v2.Compose(steps)
        jitter = ColourJitter(brightness=0.3, contrast=0.3, saturation=0.4, hue=0.03)
        self._colours = v2.RandomApply([jitter], p=config.photometric) if config.photometric else None

    def __call__(
        self, image: Image, boxes: FloatArray, columns: NDArray[np.int64]
    ) -> tuple[Image, FloatArray, NDArray[np.int64]]:
        """Moves one image and its boxes, drawing from torch's random numbers.

        Args:
            image: uint8 ``[H, W, 3]``, BGR.
            boxes: float32 ``[G, 4]``, corners in pixels.
            columns: int64 ``[G, K]``: whatever belongs to each box, and goes when the box goes.
        """
        moved, corners, rows, _ = self.move(image, boxes, columns)
        return moved, corners, rows

    def move(
        self,
        image: Image,
        boxes: FloatArray,
        columns: NDArray[np.int64],
        masks: NDArray[np.uint8] | None = None,
    ) -> tuple[Image, FloatArray, NDArray[np.int64], NDArray[np.uint8] | None]:
        """As calling it, with masks of the objects, uint8 ``[G, H, W]``, that move along."""
        height, width = image.shape[:2]
        # Moving things is the same in any order of the channels, so they stay BGR.
        tensor = tv_tensors.Image(torch.from_numpy(image.copy()).permute(2, 0, 1))
        corners = tv_tensors.BoundingBoxes(
            torch.from_numpy(boxes), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(height, width)
        )
        drawn = () if masks is None else (tv_tensors.Mask(torch.from_numpy(masks)),)
        moved: tuple[Tensor, ...] = self._steps(tensor, corners, torch.from_numpy(columns), *drawn)
        shapes = None if masks is None else np.ascontiguousarray(moved[3].numpy())
        return _pixels(moved[0]), moved[1].numpy(), moved[2].numpy(), shapes

    def colours(self, image: Image) -> Image:
        """Changes brightness, contrast, saturation and hue: uint8 ``[H, W, 3]``, BGR, to the same.

        Cheaper on the small input than on a large image.
        """
        if self._colours is None:
            return image
        tensor = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
        return _pixels(self._colours(tensor))


def blank_image(size: int) -> Image:
    """An image that shows nothing, drawn from torch's random numbers.

    Black, one colour, or a gradient between two colours; half of them with the noise of a sensor.

    Args:
        size: side of the image in pixels.

    Returns:
        uint8 ``[size, size, 3]``.
    """
    ends = torch.rand(2, 3) * 255
    kind = int(torch.randint(4, (1,)))
    if kind == 0:
        ends = torch.zeros(2, 3)
    elif kind == 1:
        ends[1] = ends[0]
    elif kind == 2:  # night: dark, and nearly one colour
        ends = ends[:1] * 0.1 + torch.rand(2, 3) * 10
    ramp = torch.linspace(0, 1, size)[:, None]
    image = (ends[0] + (ends[1] - ends[0]) * ramp)[:, None].repeat(1, size, 1)
    if float(torch.rand(1)) < 0.5:
        image = image.transpose(0, 1)
    if float(torch.rand(1)) < 0.5:
        image = image + torch.randn(size, size, 3) * float(torch.rand(1)) * 25
    return np.ascontiguousarray(image.clamp(0, 255).to(torch.uint8).numpy())


def _pixels(image: Tensor) -> Image:
    """``[3, H, W]`` to ``[H, W, 3]``."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
