"""Light and weather for training images: what a road camera meets that a summer's drive does not show.

Only the image changes, never its labels. Every effect draws from torch's random numbers, so that a seeded
stream of training images stays the same.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgevision.data.settings import WeatherConfig
from edgevision.types import FloatArray, Image


class Weather:
    """Applies the configured effects, each by its own chance, in the order in which light meets them.

    Args:
        config: the effects.
    """

    def __init__(self, config: WeatherConfig) -> None:
        effects: list[tuple[float, Callable[[Image], Image]]] = [
            (config.shadow, add_shadow),
            (config.light, change_light),
            (config.fog, add_fog),
            (config.rain, add_rain),
            (config.sensor, add_sensor_faults),
        ]
        self._effects = [(chance, effect) for chance, effect in effects if chance > 0]

    def __call__(self, image: Image) -> Image:
        """Varies one image.

        Args:
            image: uint8 ``[H, W, 3]``, BGR; it is not changed.

        Returns:
            uint8 ``[H, W, 3]``.
        """
        for chance, effect in self._effects:
            if uniform(0, 1) < chance:
                image = effect(image)
        return image


def uniform(low: float, high: float) -> float:
    """A number from torch's random generator, between ``low`` and ``high``."""
    return low + (high - low) * float(torch.rand(()))


def change_light(image: Image) -> Image:
    """Dusk or glare (a gamma of 0.5 to 2.2) with a colour cast of up to 15 % a channel."""
    exponent = 2.0 ** uniform(-1, 1.14)
    levels = (np.arange(256, dtype=np.float32) / 255) ** exponent * 255
    gains = [uniform(0.85, 1.15) for _ in range(3)]
    table = np.stack([levels * gain for gain in gains], axis=-1)
    return cv2.LUT(image, _uint8(table)[None])  # type: ignore[return-value]


def add_shadow(image: Image) -> Image:
    """Darkens what lies on one side of a random line by 30 to 65 %, with a soft edge."""
    height, width = image.shape[:2]
    angle = uniform(0, 2 * np.pi)
    across, down = np.cos(angle), np.sin(angle)
    x, y = uniform(0.2, 0.8) * width, uniform(0.2, 0.8) * height
    softness = uniform(0.005, 0.03) * width
    columns = np.arange(width, dtype=np.float32) - np.float32(x)
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(y)
    side = (columns * np.float32(across) + rows * np.float32(down)) / np.float32(softness)
    shade = 1 - np.float32(uniform(0.3, 0.65)) * np.clip(side + np.float32(0.5), 0, 1)
    return _uint8(image * shade[:, :, None])


def add_fog(image: Image) -> Image:
    """Fog by Koschmieder's law, as in Sakaridis et al. 2018 (arXiv:1708.07819), equation 1.

    ``I = R t + L (1 - t)`` with ``t = exp(-beta d)``; for want of a depth map the distance ``d`` grows with
    the inverse of the height below a random horizon, as it does on a plane, and is the largest above it.
    """
    height = image.shape[0]
    horizon = uniform(0.3, 0.55) * height
    rows = np.arange(height, dtype=np.float32)
    distance = 1 / np.maximum((rows - np.float32(horizon)) / np.float32(height), np.float32(0.04))
    transmission = np.exp(-np.float32(uniform(0.02, 0.12)) * distance)[:, None, None]
    light = np.float32(uniform(150, 235))
    return _uint8(image * transmission + light * (1 - transmission))


def add_rain(image: Image) -> Image:
    """Flat contrast and bright streaks: sparse noise smeared along a steep line."""
    height, width = image.shape[:2]
    length = max(3, round(uniform(0.03, 0.09) * height))
    drops = (torch.rand(height, width) < uniform(0.001, 0.004)).numpy().astype(np.float32)
    streaks = cv2.filter2D(drops, -1, _line(length, uniform(75, 105)) * length)
    grey = np.float32(uniform(110, 150))
    contrast = np.float32(uniform(0.6, 0.9))
    flat = grey + (image - grey) * contrast
    opacity = np.minimum(streaks, 1)[:, :, None] * np.float32(uniform(0.2, 0.5))
    return _uint8(flat * (1 - opacity) + 225 * opacity)


def add_sensor_faults(image: Image) -> Image:
    """Motion blur, noise of a standard deviation of up to 12 levels, and JPEG at a quality of 25 to 80."""
    if uniform(0, 1) < 0.5:
        image = cv2.filter2D(image, -1, _line(round(uniform(3, 7)), uniform(0, 180)))  # type: ignore[assignment]
    noise = torch.randn(image.shape).numpy() * np.float32(uniform(0, 12))
    noisy = _uint8(image + noise)
    good, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, round(uniform(25, 80))])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if good else None
    return noisy if decoded is None else np.asarray(decoded, np.uint8)


def _line(length: int, degrees: float) -> FloatArray:
    """A line through the middle of a square of ``length`` pixels, float32, summing to 1."""
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    turn = np.deg2rad(degrees)
    for step in np.linspace(-middle, middle, 2 * length):
        kernel[round(middle + step * np.sin(turn)), round(middle + step * np.cos(turn))] = 1
    kernel /= kernel.sum()
    return kernel


def _uint8(values: NDArray[np.floating]) -> Image:
    rounded: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
