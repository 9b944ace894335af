"""What a network takes, in numbers and in words."""

from __future__ import annotations

import pytest

from edgevision.contract.manifest import Resize
from edgevision.errors import UsageError
from edgevision.export.importers.reading import (
    BGR_RAW_TOP_LEFT,
    IMAGENET_STRETCH,
    RGB_UNIT,
    RTMDET_TOP_LEFT,
    Choices,
    scale_numbers,
)


def test_in_words():
    assert str(RGB_UNIT) == "RGB, 0..1, letterbox, filled with 114"
    assert str(BGR_RAW_TOP_LEFT) == "BGR, 0..255, letterbox at the top left, filled with 114"
    assert str(IMAGENET_STRETCH) == "RGB, mean and standard deviation of ImageNet, stretch"
    assert "mean 103.5 116.3 123.7, std 57.38 57.12 58.4 (of 255)" in str(RTMDET_TOP_LEFT)


def test_the_users_word_stands_before_the_familys():
    said = Choices(colours="bgr", resize="top-left", fill=0).pixels(RGB_UNIT)
    assert said is not None
    assert (said.bgr, said.resize) == (True, Resize(fill=0, place="top-left"))
    assert said.std == RGB_UNIT.std


@pytest.mark.parametrize("given", [{}, {"colours": "rgb"}, {"colours": "rgb", "scale": "unit"}])
def test_gaps_stay_gaps_where_nothing_is_known(given):
    assert Choices(**given).pixels(None) is None


def test_all_three_fill_the_gap():
    said = Choices(colours="rgb", scale="imagenet", resize="stretch").pixels(None)
    assert said == IMAGENET_STRETCH


@pytest.mark.parametrize("text", ["", "none", "1,2,3,4,5", "0,0,0,1,1,-1", "0,0,0,1,1,inf", "nan,0,0,1,1,1"])
def test_a_scale_that_is_none_is_one_line(text):
    with pytest.raises(UsageError, match="six numbers"):
        scale_numbers(text)
