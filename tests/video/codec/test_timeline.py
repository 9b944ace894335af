from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.video.codec.timeline import BestEffortTimes, LiveTimeline, Timeline

MS = 1_000_000


@pytest.mark.parametrize(
    ("times_ms", "expected_ms", "repairs"),
    [
        ([0, 40, 80], [0, 40, 80], (0, 0, 0)),
        ([1000, 1040, 1300], [0, 40, 300], (0, 0, 0)),  # starts late, variable rate
        ([0, 40, 40, 80], [0, 40, 60, 80], (0, 1, 0)),  # a duplicate
        ([0, 40, None, 120], [0, 40, 80, 120], (1, 0, 0)),
        ([None, None, None], [0, 40, 80], (3, 0, 0)),
        ([0, 40, 30, 80], [0, 40, 60, 80], (0, 1, 0)),  # a step back
        ([5000, 5040, 0, 40, 80], [0, 40, 80, 120, 160], (0, 0, 1)),  # two recordings joined
        ([0, 40, 60_000], [0, 40, 60_000], (0, 0, 0)),  # a gap is kept
    ],
)
def test_hand_worked(times_ms, expected_ms, repairs):
    timeline = Timeline(40 * MS)
    found = [timeline.next(None if time is None else time * MS) for time in times_ms]
    assert found == [time * MS for time in expected_ms]
    assert (timeline.missing, timeline.repeated, timeline.jumps) == repairs
    assert len(timeline.notes()) == sum(count > 0 for count in repairs)


@given(st.lists(st.one_of(st.none(), st.integers(-(10**12), 10**12)), min_size=1), st.integers(0, 10**9))
def test_always_goes_forward_from_zero(times, frame_ns):
    timeline = Timeline(frame_ns)
    found = [timeline.next(time) for time in times]
    assert found[0] == 0
    assert all(later > earlier for earlier, later in pairwise(found))


def test_origin_is_the_first_time():
    timeline = Timeline(40 * MS)
    timeline.next(1400 * MS)
    timeline.next(1440 * MS)
    assert timeline.origin_ns == 1400 * MS


def live_times(pairs):
    """Feeds (time, arrival) in ms; times in ms come back."""
    timeline = LiveTimeline()
    found = [
        timeline.next(None if time is None else time * MS, arrived * MS) // MS for time, arrived in pairs
    ]
    return found, timeline


def test_live_times_keep_the_sources_own_distances():
    pairs = [(5000, 100), (5040, 190), (5080, 191), (5120, 215), (5160, 300)]
    assert live_times(pairs)[0] == [0, 40, 80, 120, 160]


def test_live_times_that_are_missing_are_those_of_arrival():
    found, timeline = live_times([(None, 100), (5000, 140), (None, 185), (5080, 225)])
    assert found == [0, 40, 85, 120]
    assert timeline.notes() == ["1 frame without a time: set to the time of arrival"]


def test_live_times_that_stand_still_move_on():
    found, timeline = live_times([(5000, 0), (5040, 40), (5040, 80), (5000, 120), (5160, 160)])
    assert found == [0, 40, 41, 42, 160]
    assert timeline.repeated == 2


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_a_live_clock_that_is_set(jump_ms):
    base = 10_000_000
    pairs = [(base + 40 * i + (jump_ms if i >= 3 else 0), 40 * i) for i in range(6)]
    found, timeline = live_times(pairs)
    assert found == [0, 40, 80, 120, 160, 200]
    assert timeline.jumps == 1


@pytest.mark.parametrize("rate", [0.5, 2.0, 90.0])
def test_a_live_clock_at_the_wrong_rate_stays_near_the_truth(rate):
    found, _ = live_times([(round(40 * i * rate), 40 * i) for i in range(2000)])
    assert all(later > earlier for earlier, later in pairwise(found))
    assert max(abs(moment - 40 * i) for i, moment in enumerate(found)) <= 5_000


def test_after_a_reconnect_the_gap_is_in_the_times():
    timeline = LiveTimeline()
    assert [timeline.next(t * MS, a * MS) // MS for t, a in [(700, 0), (740, 40)]] == [0, 40]
    timeline.restart()
    assert [timeline.next(t * MS, a * MS) // MS for t, a in [(3, 9000), (43, 9020)]] == [9000, 9040]
    assert timeline.notes() == []


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(0, 0), (40, 40), (80, 80)], [0, 40, 80]),
        ([(0, -80), (40, -40), (80, 0)], [0, 40, 80]),  # presentation comes first
        ([(None, 0), (None, 40)], [0, 40]),
        ([(0, None), (40, None)], [0, 40]),
        ([(None, None)], [None]),
        ([(1, 2), (3, 3), (2, 4), (4, 5), (5, 6)], [1, 3, 4, 5, 6]),  # AVI: pts in decoding order
        ([(0, 5), (1, 5), (2, 5)], [0, 1, 2]),  # the times of decoding are the faulty ones
    ],
)
def test_the_better_of_two_times_is_taken(times, expected):
    best = BestEffortTimes()
    assert [best.next(pts, dts) for pts, dts in times] == expected
