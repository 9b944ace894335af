"""Times for a muxer: never back, in steps that fit into 32 bits."""

import itertools
from fractions import Fraction

import av
import pytest

from edgevision.types import Frame, FrameResult
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.mp4 import Mp4Sink
from edgevision.video.sinks.muxing import MAX_TICKS, TrackClock, time_base
from tests.support.video import numbered, probe

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("rate", "is_live", "ticks"),
    [
        (25.0, False, 12_000),
        (30.0, False, 12_000),
        (30000 / 1001, False, 30_000),
        (24000 / 1001, False, 24_000),
        (60000 / 1001, False, 60_000),
        (30000 / 1001, True, 12_000),
        (0.5, False, 1000),
        (1 / DAY, False, 1000),
    ],
)
def test_ticks_of_a_track(rate, is_live, ticks):
    assert time_base(rate, is_live) == Fraction(1, ticks)


def test_a_time_that_is_not_later_becomes_one_tick_later():
    clock = TrackClock()
    assert [clock.next(ticks) for ticks in (0, 480, 480, 100, 960)] == [0, 480, 481, 482, 960]
    assert (clock.gaps, clock.shortened) == (0, 0)


def test_a_long_step_is_shortened_and_what_follows_keeps_its_distance():
    clock = TrackClock(longest=1000)
    assert [clock.next(ticks) for ticks in (5, 5000, 5040, 2**62)] == [5, 1005, 1045, 2045]
    assert clock.gaps == 2
    assert TrackClock().next(0) == 0
    assert MAX_TICKS == 2**31 - 1


def write(path, times_s, info):
    with Mp4Sink(path, info) as sink:
        for index, time_s in enumerate(times_s):
            image = numbered(index)
            sink.write(FrameResult(Frame(image, index, round(time_s * 10**9)), ()), image)
    return sink


def away(hours, count=60, rate=25):
    """Times of a camera that is away for some hours in the middle."""
    return [index / rate + (hours * HOUR if index >= count // 2 else 0) for index in range(count)]


@pytest.mark.parametrize(
    ("times_s", "info"),
    [
        (away(7), SourceInfo("camera", True, frame_rate=25.0)),
        (away(7), SourceInfo("camera", True, frame_rate=30000 / 1001)),
        (away(7), SourceInfo("camera", True)),
        (away(11), SourceInfo("file", False, frame_rate=25.0)),
        ([DAY * index for index in range(30)], SourceInfo("lapse", False, frame_rate=1 / DAY)),
        ([HOUR * index for index in range(30)], SourceInfo("lapse", False, frame_rate=25.0)),
    ],
    ids=["camera", "NTSC camera", "camera without a rate", "file", "a frame a day", "an hour at 25 a second"],
)
def test_a_gap_of_hours_is_kept(tmp_path, times_s, info):
    sink = write(tmp_path / "out.mp4", times_s, info)
    times, numbers = probe(tmp_path / "out.mp4")
    assert numbers == list(range(len(times_s)))
    assert times == pytest.approx(times_s, abs=0.001)
    assert sink.notes == []


@pytest.mark.parametrize("hours", [19, 24 * 365 * 50])
def test_a_gap_that_is_too_long_is_shortened_and_said(tmp_path, hours):
    sink = write(tmp_path / "out.mp4", away(hours), SourceInfo("camera", True, frame_rate=25.0))
    times, numbers = probe(tmp_path / "out.mp4")
    assert numbers == list(range(60))
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(steps) == pytest.approx(12.4 * HOUR, abs=0.1 * HOUR)
    assert sorted(steps)[-2] == pytest.approx(0.04, abs=0.001)
    assert [note for note in sink.notes if "a gap longer than MP4 can hold, shortened by" in note]


def test_a_finished_time_lapse_is_as_long_as_its_frames(tmp_path):
    info = SourceInfo("lapse", False, frame_rate=1 / DAY)
    write(tmp_path / "out.mp4", [DAY * index for index in range(5)], info)
    with av.open(tmp_path / "out.mp4") as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(5 * DAY, abs=1)
