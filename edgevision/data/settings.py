"""How training images are varied: the parts of a training configuration, read without torch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgevision.bounds import Angle, Enlargement, Share, ShareAboveZero, ShareBelowOne, SideOrNone


class AugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How images are varied while training; zeros switch a step off.

    Attributes:
        photometric: probability of changed brightness, contrast, saturation and hue.
        zoom_out: probability that the image is placed on a larger canvas.
        zoom_out_max: side of the largest canvas, in image sides.
        iou_crop: probability of a crop that keeps objects (SSD, Liu et al. 2016, section 2.2).
        crop_min: smallest side of a crop, as a share of the image's.
        aspect: largest factor by which width over height changes, 1 for none.
        flip: probability of a mirror image.
        rotate: probability of a small rotation; boxes become those around the turned boxes.
        rotate_max: largest angle of it, in degrees.
        mosaic: probability that four images of one data set share the input
            (Bochkovskiy et al. 2020, arXiv:2004.10934), so that objects are smaller and context varies.
        mosaic_until: share of the run after which there are no more mosaics, so that a model ends with
            images as it will see them (Ge et al. 2021, YOLOX, arXiv:2107.08430, section 2.1).
        blank: probability that the image is replaced by one that shows nothing (black, one colour, a
            gradient, noise), as from a covered lens or at night, without boxes.
    """

    photometric: Share = 0.5
    zoom_out: Share = 0.3
    zoom_out_max: Enlargement = 2.0
    iou_crop: Share = 0.7
    crop_min: ShareAboveZero = 0.3
    aspect: Enlargement = 1.33
    flip: Share = 0.5
    rotate: Share = 0.0
    rotate_max: Angle = 5.0
    mosaic: Share = 0.0
    mosaic_until: Share = 1.0
    blank: Share = 0.0


class WeatherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an image gets each effect; zeros switch it off.

    Attributes:
        light: probability of dusk, glare or a colour cast.
        shadow: probability of the shadow of something tall.
        fog: probability of fog, denser towards the horizon.
        rain: probability of rain streaks on flat contrast.
        sensor: probability of what a cheap camera adds: noise, motion blur and JPEG blocks.
    """

    light: Share = 0.0
    shadow: Share = 0.0
    fog: Share = 0.0
    rain: Share = 0.0
    sensor: Share = 0.0


Scale = Annotated[float, Meta(gt=0, le=10)]
"""Of an image, as a factor."""


class SegmentationAugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How images are varied while training; zeros switch a step off.

    Attributes:
        photometric: probability of changed brightness, contrast, saturation and hue.
        photometric_range: brightness, contrast and saturation are changed by factors of 1 give or take this.
        rotate: probability of a small rotation.
        rotate_degrees: largest angle, either way.
        scale_min, scale_max: range of the image's size relative to the input; then a random part of the
            input's size is cut out, and what lies outside the image is ignored.
        stretch: by how much an image's sides may change against each other, either way; 1 for not at all.
        flip: probability of a mirror image.
        mix: probability that half of the classes of another image of the same source, rounded up, cover what
            is there; nothing in a source without labels.
        crop_width, crop_height: size of the training images where it is not the input's; multiples of 32.
        weather: light, fog, rain and faults of the camera.
    """

    photometric: Share = 0.5
    photometric_range: ShareBelowOne = 0.3
    rotate: Share = 0.3
    rotate_degrees: Angle = 8.0
    scale_min: Scale = 0.75
    scale_max: Scale = 2.0
    stretch: Annotated[float, Meta(ge=1, le=4)] = 1.0
    flip: Share = 0.5
    mix: Share = 0.0
    crop_width: SideOrNone = 0
    crop_height: SideOrNone = 0
    weather: WeatherConfig = WeatherConfig()

    def __post_init__(self) -> None:
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"scale_min is {self.scale_min}, scale_max {self.scale_max}; expected the second not "
                "below the first"
            )

    def trained_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of training images, of a network whose input is ``width`` by ``height``."""
        return self.crop_width or width, self.crop_height or height


class ClassificationAugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How labelled images, or parts of images, are varied while training; zeros switch a step off.

    Attributes:
        photometric: probability of changed brightness, contrast, saturation and hue.
        shift: each edge of the part that is seen moves by up to this share of the part's side, so that a box
            is sometimes wide and sometimes tight; a whole image is cropped only.
        flip: probability of a mirror image.
    """

    photometric: Share = 0.5
    shift: Annotated[float, Meta(ge=0, lt=0.5)] = 0.15
    flip: Share = 0.5
