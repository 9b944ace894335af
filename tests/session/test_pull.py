import threading
import time

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine
from edgevision.errors import SourceError
from edgevision.model import Model
from edgevision.session.pull import ReadAhead, pull_results
from edgevision.video.sources.arrays import ArraySource


def images(count):
    return [np.full((8, 8, 3), i % 256, np.uint8) for i in range(count)]


class Broken(ArraySource):
    """Fails after its last frame."""

    def __iter__(self):
        yield from super().__iter__()
        raise SourceError("the cable is out")


def test_of_a_file_every_frame_comes_however_slow_the_reader_is():
    with ReadAhead(ArraySource(images(9))) as frames:
        found = []
        for frame in frames:
            time.sleep(0.002)
            found.append(frame.index)
    assert found == list(range(9))


def test_of_a_live_source_the_newest_comes():
    source = ArraySource(images(200), frame_rate=1000, is_live=True)
    with ReadAhead(source) as frames:
        found = []
        for frame in frames:
            found.append(frame.index)
            time.sleep(0.03)
    assert found == sorted(set(found))
    assert len(found) < 40
    assert found[-1] == 199


def test_every_third_frame():
    with ReadAhead(ArraySource(images(8)), every=3) as frames:
        assert [frame.index for frame in frames] == [0, 3, 6]


def test_an_error_comes_after_the_frames_before_it():
    with ReadAhead(Broken(images(5))) as frames:
        arriving = iter(frames)
        assert [next(arriving).index for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(SourceError, match="the cable is out"):
            next(arriving)


@pytest.mark.parametrize("is_live", [False, True])
def test_whoever_leaves_early_closes_the_source_and_its_thread(is_live):
    before = threading.active_count()
    source = ArraySource(images(1000), frame_rate=100, is_live=is_live)
    results = pull_results(source, [Model(FakeEngine())])
    for result in results:
        assert result.frame.index == 0
        break
    results.close()
    assert source._closed
    assert threading.active_count() == before


def test_no_more_than_asked_for():
    results = pull_results(ArraySource(images(9)), [Model(FakeEngine())], max_frames=4)
    assert [result.frame.index for result in results] == [0, 1, 2, 3]
