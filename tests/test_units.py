"""Durations, sizes and rates, worked by hand; what is refused says what was expected."""

import pytest

from edgevision.errors import UsageError
from edgevision.units import duration_s, frames_per_second, image_size, parse_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("150ms", 0.15), ("2s", 2), ("1.5m", 90), ("1h", 3600), (".5s", 0.5)]
)
def test_durations(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)
    assert parse_seconds(f" {text} ") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "5 s", "-1s", "s", "1d"])
def test_not_a_duration(text):
    with pytest.raises(ValueError, match="a number with a unit"):
        duration_s(text)
    with pytest.raises(UsageError, match="is not a valid duration; expected a number with a unit"):
        parse_seconds(text)


def test_image_sizes():
    assert image_size("1280x720") == (1280, 720)
    for text in ("1280", "0x720", "1280X720", "123456x1"):
        with pytest.raises(ValueError, match="a size such as 1280x720"):
            image_size(text)


def test_frame_rates():
    assert frames_per_second("29.97") == pytest.approx(29.97)
    for text in ("0", "1001", "-5", "fast"):
        with pytest.raises(ValueError, match="at most 1000"):
            frames_per_second(text)


@pytest.mark.parametrize(("text", "found"), [("1KB", 1000), ("1.5 MiB", 1572864), ("20gb", 20 * 10**9)])
def test_sizes(text, found):
    assert parse_size(text) == found
