"""Light and weather: what each effect does to an image that is easy to reckon with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgevision.config import config_faults
from edgevision.data.segmentation.augment import SegmentationAugment
from edgevision.data.segmentation.weather import (
    Weather,
    add_fog,
    add_rain,
    add_sensor_faults,
    add_shadow,
    change_light,
)
from edgevision.data.settings import SegmentationAugmentConfig, WeatherConfig

EFFECTS = (change_light, add_shadow, add_fog, add_rain, add_sensor_faults)
NAMES = ("light", "shadow", "fog", "rain", "sensor")


def stripes(height: int = 96, width: int = 128) -> np.ndarray:
    """Columns of 60 and 180 in turn, four pixels each."""
    row = np.where(np.arange(width) // 4 % 2, 180, 60).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, axis=0), 3, axis=2)


def contrast(rows: np.ndarray) -> float:
    return float(rows.astype(float).std())


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_gives_another_image_and_leaves_its_input_alone(effect):
    image = stripes()
    before = image.copy()
    torch.manual_seed(1)
    first = effect(image)
    assert (first.dtype, first.shape) == (np.uint8, image.shape)
    assert (first != image).mean() > 0.2
    np.testing.assert_array_equal(image, before)
    torch.manual_seed(1)
    np.testing.assert_array_equal(effect(image), first)
    assert any((effect(image) != first).any() for _ in range(3))


@pytest.mark.parametrize("seed", range(8))
def test_fog_is_denser_towards_the_horizon(seed):
    torch.manual_seed(seed)
    foggy = add_fog(stripes())
    bottom, horizon = contrast(foggy[-8:]), contrast(foggy[20:28])
    assert horizon < 0.75 * bottom
    assert bottom <= contrast(stripes()) + 1


@pytest.mark.parametrize("seed", range(8))
def test_a_shadow_darkens_one_side_and_nothing_else(seed):
    image = np.full((96, 128, 3), 200, np.uint8)
    torch.manual_seed(seed)
    shaded = add_shadow(image)
    assert shaded.max() == 200
    assert 70 <= shaded.min() <= 140
    dark = shaded[..., 0] < 0.5 * (200 + float(shaded.min()))
    assert 0.02 < dark.mean() < 0.98


def test_light_keeps_the_order_of_brightness_and_goes_both_ways():
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=0), 3, axis=2)
    means = []
    for seed in range(12):
        torch.manual_seed(seed)
        changed = change_light(ramp).astype(int)
        assert (np.diff(changed[0], axis=0) >= 0).all()
        means.append(changed.mean())
    assert min(means) < 110
    assert max(means) > 150


def test_rain_flattens_and_adds_streaks_that_are_taller_than_wide():
    image = np.full((96, 128, 3), 90, np.uint8)
    torch.manual_seed(4)
    wet = add_rain(image).astype(int)[..., 0]
    streaks = wet > np.median(wet) + 3
    assert 0.002 < streaks.mean() < 0.6
    down = (streaks[1:] & streaks[:-1]).sum()
    across = (streaks[:, 1:] & streaks[:, :-1]).sum()
    assert down > 1.5 * across


@pytest.mark.parametrize("name", NAMES)
def test_each_effect_has_its_own_chance(name):
    image = stripes()
    torch.manual_seed(0)
    always = Weather(WeatherConfig(**{name: 1.0}))
    assert all((always(image) != image).any() for _ in range(4))
    half = Weather(WeatherConfig(**{name: 0.5}))
    changed = sum(bool((half(image) != image).any()) for _ in range(60))
    assert 15 <= changed <= 45
    assert Weather(WeatherConfig())(image) is image


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_impossible_chances_are_refused(name, value):
    finite = "finite " if value != value else ""
    assert config_faults({name: value}, WeatherConfig) == [
        f"`{name}` is {value}; expected a {finite}number from 0 to 1"
    ]


def test_weather_changes_the_image_and_never_the_labels():
    image, labels = stripes(), np.arange(96 * 128, dtype=np.uint8).reshape(96, 128) % 5
    still = {"photometric": 0.0, "rotate": 0.0, "scale_min": 1.0, "scale_max": 1.0, "flip": 0.0}
    storm = WeatherConfig(light=1.0, shadow=1.0, fog=1.0, rain=1.0, sensor=1.0)
    calm_steps = SegmentationAugment(SegmentationAugmentConfig(**still), 128, 96, 114, 255)
    steps = SegmentationAugment(SegmentationAugmentConfig(**still, weather=storm), 128, 96, 114, 255)
    calm_image, calm_labels = calm_steps(image, labels)
    stormy_image, stormy_labels = steps(image, labels)
    np.testing.assert_array_equal(calm_image, image)
    np.testing.assert_array_equal(calm_labels, labels)
    np.testing.assert_array_equal(stormy_labels, labels)
    assert (stormy_image != image).mean() > 0.5
