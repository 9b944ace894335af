import cv2
import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.video.selection import SelectedSource, Selection
from edgevision.video.sources.arrays import ArraySource
from edgevision.video.sources.images import ImagesSource

SECOND = 1_000_000_000
VARYING = [0, 0.4, 0.9, 1.0, 1.1, 2.9, 3.0, 3.05, 6.2, 6.9]
"""Times in seconds at which frames come."""


def source(times=VARYING, **settings):
    stamps = [round(time * SECOND) for time in times]
    return ArraySource([np.zeros((4, 6, 3), np.uint8)] * len(stamps), stamps, **settings)


def indices(selection, times=VARYING):
    with SelectedSource(source(times), selection) as selected:
        return [frame.index for frame in selected]


@pytest.mark.parametrize(
    ("every", "start", "end", "expected"),
    [
        (None, None, None, list(range(10))),
        ("3", None, None, [0, 3, 6, 9]),
        ("1s", None, None, [0, 3, 5, 6, 8]),  # the first frame of each second that has one
        ("500ms", None, None, [0, 2, 3, 5, 6, 8, 9]),
        (None, "1s", None, [3, 4, 5, 6, 7, 8, 9]),
        (None, "1s", "3s", [3, 4, 5]),  # the end is not in the range
        ("1s", "400ms", "0:03.01", [3, 5, 6]),
        ("3", "1s", None, [3, 6, 9]),
        (None, "1m", None, []),
    ],
)
def test_which_frames_are_taken(every, start, end, expected):
    assert indices(Selection.parse(every, start, end)) == expected


@pytest.mark.parametrize("every", [None, "2", "1s", "300ms"])
@pytest.mark.parametrize(("start", "end"), [("0.5s", "3s"), ("1s", "6.5s"), ("2.9s", None)])
def test_a_range_is_a_slice_of_one_pass(every, start, end):
    whole, part = indices(Selection.parse(every)), Selection.parse(every, start, end)
    end_ns = 10 * SECOND if part.end_ns is None else part.end_ns
    within = [index for index in whole if part.start_ns <= round(VARYING[index] * SECOND) < end_ns]
    assert indices(part) == within
    assert within


@pytest.mark.parametrize("every", ["0", "-1", "x", "0s", "1.5", "", "5 frames"])
def test_a_step_that_is_none(every):
    with pytest.raises(UsageError, match=r"`every`.*such as 5, or a time such as 1s"):
        Selection.parse(every)


@pytest.mark.parametrize(("start", "end"), [("5", None), ("2s", "2s"), ("1m", "30s"), ("x:y", None)])
def test_a_range_that_is_none(start, end):
    with pytest.raises(UsageError, match="`start`"):
        Selection.parse(None, start, end)


def test_clocks_and_durations_are_the_same():
    assert Selection.parse(start="1:30") == Selection.parse(start="90s") == Selection.parse(start="1.5m")
    assert Selection.parse(end="1:00:00").end_ns == 3600 * SECOND


def test_the_rate_and_count_are_those_of_what_is_left():
    with source(range(100), frame_rate=1.0) as one:
        info = Selection.parse("5", "20s", "60s").info(one.info)
        assert (info.frame_rate, info.frame_count) == (0.2, 8)
        assert Selection.parse("10s").info(one.info).frame_rate == 0.1
        assert Selection().info(one.info) == one.info


def test_a_range_of_a_live_source_is_refused():
    with pytest.raises(UsageError, match="is live"):
        SelectedSource(source(is_live=True, name="webcam"), Selection.parse(start="1s"))


def test_a_range_of_one_image_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 6, 3), np.uint8))
    with ImagesSource([tmp_path / "a.png"], "a.png") as one:
        with pytest.raises(UsageError, match=r"a\.png is one image, which has no time"):
            SelectedSource(one, Selection.parse(every="2", start="1s"))
        left = Selection.parse(every="2", start="1s", end="2s").without_range()
        assert left == Selection.parse(every="2")
        assert len(list(SelectedSource(one, left))) == 1


def test_an_empty_range_is_noted():
    with SelectedSource(source(), Selection.parse(start="1m")) as selected:
        assert list(selected) == []
    assert "the last one read is at 6.90 s" in selected.report.notes[0]
