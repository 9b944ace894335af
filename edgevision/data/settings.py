"""How training images are varied: the parts of a training configuration, read without torch."""

from __future__ import annotations

import msgspec


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

    photometric: float = 0.5
    zoom_out: float = 0.3
    zoom_out_max: float = 2.0
    iou_crop: float = 0.7
    crop_min: float = 0.3
    aspect: float = 1.33
    flip: float = 0.5
    rotate: float = 0.0
    rotate_max: float = 5.0
    mosaic: float = 0.0
    mosaic_until: float = 1.0
    blank: float = 0.0

    def __post_init__(self) -> None:
        for name in ("photometric", "zoom_out", "iou_crop", "flip", "rotate", "mosaic", "blank"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a probability, 0 to 1")
        if not 0 <= self.mosaic_until <= 1:
            raise ValueError(f"mosaic_until is {self.mosaic_until}; expected a share of the run, 0 to 1")


class WeatherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an image gets each effect; zeros switch it off.

    Attributes:
        light: probability of dusk, glare or a colour cast.
        shadow: probability of the shadow of something tall.
        fog: probability of fog, denser towards the horizon.
        rain: probability of rain streaks on flat contrast.
        sensor: probability of what a cheap camera adds: noise, motion blur and JPEG blocks.
    """

    light: float = 0.0
    shadow: float = 0.0
    fog: float = 0.0
    rain: float = 0.0
    sensor: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a probability, 0 to 1")


class SegmentationAugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How images are varied while training; zeros switch a step off.

    Attributes:
        photometric: probability of changed brightness, contrast, saturation and hue.
        photometric_range: brightness, contrast and saturation are changed by factors of 1 give or take this.
        rotate: probability of a small rotation.
        rotate_degrees: largest angle, either way.
        scale_min, scale_max: range of the image's size relative to the input; then a random part of the
            input's size is cut out, and what lies outside the image is ignored.
        flip: probability of a mirror image.
        crop_width, crop_height: size of the training images where it is not the input's; multiples of 32.
        weather: light, fog, rain and faults of the camera.
    """

    photometric: float = 0.5
    photometric_range: float = 0.3
    rotate: float = 0.3
    rotate_degrees: float = 8.0
    scale_min: float = 0.75
    scale_max: float = 2.0
    flip: float = 0.5
    crop_width: int = 0
    crop_height: int = 0
    weather: WeatherConfig = WeatherConfig()

    def __post_init__(self) -> None:
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                f"scale_min {self.scale_min} and scale_max {self.scale_max} are not a range of positive "
                "numbers"
            )
        if not 0 <= self.photometric_range < 1:
            raise ValueError(
                f"photometric_range is {self.photometric_range}; expected 0 or a share below 1, such as 0.3"
            )
        for name, size in (("crop_width", self.crop_width), ("crop_height", self.crop_height)):
            if size < 0 or size % 32:
                raise ValueError(
                    f"{name} is {size}; expected a multiple of 32, or 0 for the input's own size"
                )


class ClassificationAugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How labelled images, or parts of images, are varied while training; zeros switch a step off.

    Attributes:
        photometric: probability of changed brightness, contrast, saturation and hue.
        shift: each edge of the part that is seen moves by up to this share of the part's side, so that a box
            is sometimes wide and sometimes tight; a whole image is cropped only.
        flip: probability of a mirror image.
    """

    photometric: float = 0.5
    shift: float = 0.15
    flip: float = 0.5

    def __post_init__(self) -> None:
        for name in ("photometric", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a probability, 0 to 1")
        if not 0 <= self.shift < 0.5:
            raise ValueError(f"shift is {self.shift}; expected a share from 0 to below 0.5")
