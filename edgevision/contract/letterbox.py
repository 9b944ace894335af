"""How an image becomes a model's input, and how results return to its coordinates: the only definition.

Training, calibration, evaluation and the runtime all use these functions, so a model always sees pixels
that were prepared in the same way.

Coordinates are continuous: pixel ``(0, 0)`` covers the square from 0 to 1, the right edge of an image
of width W is at x = W, and OpenCV's ``resize`` maps ``x`` to ``x * scale`` (half-pixel centres).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import clip
from edgevision.contract.manifest import Resize
from edgevision.types import FloatArray, Image

_FILTERS = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The geometry between one image size and one input size.

    Attributes:
        source_width, source_height: the image, in pixels.
        width, height: the model's input, in pixels.
        inner_width, inner_height: the resized image; larger than the input where it is cropped.
        left, top: its offset in the input, in whole pixels; below 0 where it is cropped.
        rule: resize rule, fill and interpolation.
    """

    source_width: int
    source_height: int
    width: int
    height: int
    inner_width: int
    inner_height: int
    left: int
    top: int
    rule: Resize

    @classmethod
    def fit(cls, source_width: int, source_height: int, width: int, height: int, rule: Resize) -> Letterbox:
        """Places the image where ``rule`` says; each side keeps at least one pixel, whatever its ratio."""
        if min(source_width, source_height, width, height) < 1:
            raise ValueError(f"sizes must be positive: {source_width}x{source_height} into {width}x{height}")
        inner_width, inner_height = width, height
        if rule.rule == "letterbox":
            scale = min(width / source_width, height / source_height)
            inner_width = min(width, max(1, round(source_width * scale)))
            inner_height = min(height, max(1, round(source_height * scale)))
        if rule.rule == "crop":
            scale = max(width / source_width, height / source_height) / rule.share
            inner_width = max(width, round(source_width * scale))
            inner_height = max(height, round(source_height * scale))
        left, top = (width - inner_width) // 2, (height - inner_height) // 2
        if rule.rule != "crop" and rule.place == "top-left":
            left, top = 0, 0
        return cls(source_width, source_height, width, height, inner_width, inner_height, left, top, rule)

    @property
    def scale_x(self) -> float:
        """Input pixels for one source pixel, horizontally."""
        return self.inner_width / self.source_width

    @property
    def scale_y(self) -> float:
        """Input pixels for one source pixel, vertically."""
        return self.inner_height / self.source_height

    def image(self, image: Image, out: Image | None = None) -> Image:
        """uint8 ``[source_height, source_width, 3]`` to uint8 ``[height, width, 3]``.

        Args:
            image: the source image.
            out: written in place if given, for instance one slot of a batch.
        """
        if out is None:
            out = np.empty((self.height, self.width, 3), np.uint8)
        if self.rule.rule == "crop":
            middle = self._middle(image)
            if middle.shape != image.shape:
                height, width = middle.shape[:2]
                return Letterbox.fit(width, height, self.width, self.height, self.rule).image(middle, out)
            size = (self.inner_width, self.inner_height)
            whole = cv2.resize(image, size, interpolation=_FILTERS[self.rule.interpolation])
            out[:] = whole[-self.top : self.height - self.top, -self.left : self.width - self.left]
            return out
        out[: self.top] = out[self.top + self.inner_height :] = self.rule.fill
        middle = out[self.top : self.top + self.inner_height]
        middle[:, : self.left] = middle[:, self.left + self.inner_width :] = self.rule.fill
        inner = middle[:, self.left : self.left + self.inner_width]
        if (self.inner_width, self.inner_height) == (self.source_width, self.source_height):
            inner[:] = image
        else:
            size = (self.inner_width, self.inner_height)
            inner[:] = cv2.resize(image, size, interpolation=_FILTERS[self.rule.interpolation])
        return out

    def _middle(self, image: Image) -> Image:
        """The part of a long image that can be seen: resized as a whole, 4000x1 would fill gigabytes."""
        for axis, (inner, seen) in enumerate(
            [(self.inner_height, self.height), (self.inner_width, self.width)]
        ):
            length = image.shape[axis]
            needed = -(-4 * seen * length // inner)
            if inner > 8 * seen and needed < length:
                start = (length - needed) // 2
                image = image[start : start + needed] if axis == 0 else image[:, start : start + needed]
        return image

    def boxes(self, boxes: FloatArray) -> FloatArray:
        """Boxes from source pixels to input pixels. ``[N, 4] -> [N, 4]``."""
        return np.asarray(boxes * self._scale() + self._shift(), np.float32)

    def source_boxes(self, boxes: FloatArray) -> FloatArray:
        """Boxes from input pixels back to source pixels, clipped to the image. ``[N, 4] -> [N, 4]``."""
        back = np.asarray((boxes - self._shift()) / self._scale(), np.float32)
        return clip(back, self.source_width, self.source_height)

    def source_points(self, points: FloatArray) -> FloatArray:
        """Points from input pixels back to source pixels, not clipped. ``[..., 2] -> [..., 2]``."""
        scale, shift = self._scale()[:2], self._shift()[:2]
        return np.asarray((points - shift) / scale, np.float32)

    def source_rotated_boxes(self, boxes: FloatArray) -> FloatArray:
        """Rotated boxes from input pixels back to source pixels, not clipped. ``[N, 5] -> [N, 5]``.

        Where the two axes have different scales a rectangle becomes a parallelogram. The answer is the
        rectangle with the same centre whose first side is the parallelogram's, with the same area.
        """
        centre = self.source_points(boxes[:, :2])
        scale_x, scale_y = self.scale_x, self.scale_y
        along_x, along_y = np.cos(boxes[:, 4]) / scale_x, np.sin(boxes[:, 4]) / scale_y
        stretch = np.hypot(along_x, along_y)
        width = boxes[:, 2] * stretch
        height = boxes[:, 3] / (scale_x * scale_y * stretch)
        angle = np.arctan2(along_y, along_x)
        return np.column_stack([centre, width, height, angle]).astype(np.float32)

    def class_map(self, labels: NDArray[np.uint8], fill: int) -> NDArray[np.uint8]:
        """Class ids from source size to input size, nearest neighbour; the padding gets ``fill``."""
        out = np.full((self.height, self.width), fill, np.uint8)
        size = (self.inner_width, self.inner_height)
        inner = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        out[self.top : self.top + self.inner_height, self.left : self.left + self.inner_width] = inner
        return out

    def source_class_map(self, class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids from input size back to source size, nearest neighbour. ``[height, width] -> source``."""
        rows = slice(self.top, self.top + self.inner_height)
        inner = class_map[rows, self.left : self.left + self.inner_width]
        size = (self.source_width, self.source_height)
        return np.asarray(cv2.resize(inner, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    def _scale(self) -> NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    def _shift(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top, self.left, self.top], np.float64)
