from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.video.timeline import Timeline

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
