from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.video.sources.pace import Pacer

MS = 1_000_000


def deliveries(pairs):
    """Feeds (time, earliest arrival) in ms to a reader that waits; the times of delivery in ms come back."""
    pacer, now, found = Pacer(), 0, []
    for time, arrived in pairs:
        now = pacer.due_ns(time * MS, max(now, arrived * MS))
        found.append(now / MS)
    return found


def bursts(segment_ms, fps, count, speed=1.0):
    """Frames that come when their segment is complete."""
    step = 1000 // fps
    return [
        (round(90_000 + i * step), round((i * step // segment_ms + 1) * segment_ms * speed))
        for i in range(count)
    ]


@pytest.mark.parametrize("segment_ms", [1000, 4000, 10_000])
def test_bursts_are_spread_over_time(segment_ms):
    found = deliveries(bursts(segment_ms, 10, 1200))
    steps = [b - a for a, b in pairwise(found)]
    assert all(99 < step < 101 for step in steps if step < 101)
    # a thousandth faster than they are made: the server catches up with it at each segment
    assert all(step < 100 + 0.0011 * segment_ms for step in steps)


def test_what_is_late_is_due_at_once_and_what_follows_keeps_its_distance():
    pairs = [(40 * i, 40 * i) for i in range(5)] + [(40 * i, 2000) for i in range(5, 60)]
    found = deliveries(pairs)
    assert found[5] == 2000
    assert all(39.9 < b - a <= 40 for a, b in pairwise(found[5:]))


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_a_clock_that_jumps_stops_nothing(jump_ms):
    pairs = [(40 * i + (jump_ms if i >= 50 else 0), 40 * i) for i in range(100)]
    found = deliveries(pairs)
    assert max(b - a for a, b in pairwise(found)) <= 80
    assert found[-1] < 4100


def test_a_frame_without_a_time_is_due_at_once():
    assert Pacer().due_ns(None, 7 * MS) == 7 * MS


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-(10**13), 10**13)), st.integers(0, 10**11))))
def test_nothing_is_due_before_now_or_long_after(frames):
    pacer, now = Pacer(), 0
    for time, passed in frames:
        now += passed
        due = pacer.due_ns(time, now)
        assert now <= due <= now + 5_000_000_000


def pushed(pairs, work_ms=1):
    """As :func:`deliveries`, of a server that sends by itself; a read waits where nothing is there yet."""
    pacer, now, found = Pacer(is_pushed=True), 0, []
    for time, arrived in pairs:
        waited = max(0, arrived * MS - now)
        now = pacer.due_ns(time * MS, now + waited, waited) + work_ms * MS
        found.append(now / MS)
    return found


def test_groups_that_a_server_pushes_are_spread():
    found = pushed([(40 * i, 1000 * (40 * i // 1000 + 1)) for i in range(500)])
    steps = [b - a for a, b in pairwise(found[50:])]
    assert all(38 < step < 45 for step in steps)


def test_what_a_server_had_ready_is_not_spread():
    found = pushed([(40 * i, max(0, 40 * i - 3000)) for i in range(500)])
    assert found[74] < 200
    assert all(late - (40 * i - 3000) < 100 for i, late in enumerate(found) if i > 100)


def test_after_a_stall_the_newest_is_reached_at_once():
    found = pushed([(40 * i, max(40 * i, 8000) if i > 100 else 40 * i) for i in range(500)])
    assert found[199] < 8200
    assert all(late - 40 * i < 100 for i, late in enumerate(found) if i > 210)


def test_a_reader_that_was_held_up_is_not_behind_for_long():
    """A group came a second late, once."""
    found = pushed([(40 * i, max(40 * i, 5000) if 100 < i < 126 else 40 * i) for i in range(800)])
    assert found[130] - 40 * 130 > 500
    assert all(late - 40 * i < 100 for i, late in enumerate(found) if i > 300)
