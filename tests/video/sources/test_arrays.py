import time

import numpy as np
import pytest

from edgevision.video.sources.arrays import ArraySource

BLACK = np.zeros((4, 6, 3), np.uint8)


def test_times_and_places():
    with ArraySource([BLACK] * 3, [0, 5, 90]) as source:
        frames = list(source)
    assert [(frame.index, frame.timestamp_ns, frame.source) for frame in frames] == [
        (0, 0, "arrays"),
        (1, 5, "arrays"),
        (2, 90, "arrays"),
    ]
    assert source.report.read == 3
    assert (source.info.width, source.info.height, source.info.frame_count) == (6, 4, 3)


def test_sizes_that_differ_are_not_promised():
    assert ArraySource([BLACK, BLACK[:2]]).info.width is None


def test_live_images_come_no_earlier_than_their_time():
    start = time.monotonic()
    with ArraySource([BLACK] * 3, frame_rate=50, is_live=True) as source:
        waited = [time.monotonic() - start for _ in source]
    assert source.info.is_live
    assert source.info.frame_count is None
    assert all(moment >= due for moment, due in zip(waited, (0, 0.02, 0.04), strict=True))


def test_close_ends_it():
    source = ArraySource([BLACK] * 5)
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


def test_a_time_for_each_image():
    with pytest.raises(ValueError, match="2 images but 1 timestamps"):
        ArraySource([BLACK] * 2, [0])
