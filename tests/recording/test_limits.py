"""Sizes and times of recordings as options write them."""

from __future__ import annotations

import pytest

from edgevision.errors import UsageError
from edgevision.recording.limits import Rotation, parse_rotation
from edgevision.units import parse_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500MB", 500_000_000),
        ("20GB", 20_000_000_000),
        ("1.5gb", 1_500_000_000),
        ("512MiB", 536_870_912),
        ("1KiB", 1024),
        (" 2 TB ", 2_000_000_000_000),
    ],
)
def test_sizes(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "500", "MB", "-1MB", "1e3MB", "0GB", "10Mb/s", "5 m", "nan GB"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="is not a valid size"):
        parse_size(text)


def test_rotation_is_a_time_or_a_size():
    assert parse_rotation("10m") == Rotation(seconds=600)
    assert parse_rotation("1h") == Rotation(seconds=3600)
    assert parse_rotation("500MB") == Rotation(size=500_000_000)


@pytest.mark.parametrize("text", ["", "10", "ten", "0s", "500ms", "0MB"])
def test_what_is_no_rotation(text):
    with pytest.raises(UsageError):
        parse_rotation(text)


def test_seconds():
    assert parse_seconds("5s") == 5
    with pytest.raises(UsageError, match="'5' is not a valid duration; expected a number with a unit"):
        parse_seconds("5")
