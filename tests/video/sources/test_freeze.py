"""When identical images count as a freeze: once, after the time, and not again for the same scene."""

import numpy as np

from edgevision.video.sources.freeze import FreezeWatch

SECOND = 1_000_000_000


def image(value, corner=0):
    pixels = np.full((48, 64, 3), value, np.uint8)
    pixels[1, 1] = corner  # between the samples of the coarse comparison
    return pixels


def test_a_freeze_is_reported_once_after_its_time():
    watch = FreezeWatch(2.0)
    assert [watch.frozen(image(7), i * SECOND) for i in range(5)] == [False, False, True, False, False]


def test_one_different_pixel_starts_anew():
    watch = FreezeWatch(2.0)
    assert not watch.frozen(image(7), 0)
    assert not watch.frozen(image(7, corner=1), SECOND)
    assert not watch.frozen(image(7, corner=1), 2 * SECOND)
    assert watch.frozen(image(7, corner=1), 3 * SECOND)


def test_another_size_is_another_image():
    watch = FreezeWatch(1.0)
    assert not watch.frozen(image(7), 0)
    assert not watch.frozen(image(7)[:24], 5 * SECOND)


def test_the_check_can_be_off():
    watch = FreezeWatch(None)
    assert not any(watch.frozen(image(7), i * 3600 * SECOND) for i in range(3))
