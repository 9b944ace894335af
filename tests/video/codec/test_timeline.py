import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.video.codec.timeline import BestEffortTimes, LiveTimeline, Timeline, WrongTimes

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


FAR = 68_400_000  # 19 h in ms


def corrected(times_ms, declared_end_ms=None):
    """The times, in ms since the first, after single wrong ones were corrected, and how many were."""
    timeline = Timeline(40 * MS)
    end_ns = None if declared_end_ms is None else declared_end_ms * MS
    filtered = WrongTimes(timeline, end_ns, [time * MS for time in times_ms if time is not None])
    settled = []
    for number, time in enumerate(times_ms):
        settled += filtered.push(number, None if time is None else time * MS)
    settled += filtered.flush()
    assert [number for number, _ in settled] == list(range(len(times_ms)))
    return [timeline.next(time) / MS for _, time in settled], timeline.wrong


@pytest.mark.parametrize("start", [0, 100_000])
@pytest.mark.parametrize(
    ("places", "wrong"),
    [
        ([5], FAR), ([5], -FAR), ([5], 700), ([5], -700), ([5, 6], FAR), ([5, 6, 7, 8], FAR), ([0], FAR),
        ([0, 1], FAR), ([5, 7], FAR), ([4, 5, 9], -FAR), ([10], FAR), ([10], -FAR),
    ],
)  # fmt: skip
def test_single_wrong_times_are_corrected(start, places, wrong):
    times = [start + 40 * number + (wrong if number in places else 0) for number in range(12)]
    assert corrected(times) == ([40 * number for number in range(12)], len(places))


def test_several_wrong_times_of_different_size():
    times = [40 * number for number in range(12)]
    times[4], times[5], times[6] = FAR, -FAR, 5 * FAR
    assert corrected(times) == ([40 * number for number in range(12)], 3)


def test_a_last_time_beyond_the_declared_end_is_wrong():
    times = [*range(0, 400, 40), FAR]
    assert corrected(times, 440) == ([40 * number for number in range(11)], 1)
    assert corrected(times, FAR + 40) == (times, 0)
    assert corrected(times) == (times, 0)
    assert corrected([*range(0, 400, 40), 5000], 440)[1] == 0  # declared lengths are not exact


@pytest.mark.parametrize(
    "times",
    [
        [0, 40, 80, 60_000, 60_040, 60_080, 60_120, 60_160],
        [0, FAR, FAR + 40, FAR + 80, FAR + 120, FAR + 160, FAR + 200],
        [0, 40, 80, 60_000, 120_000, 180_000, 240_000],
        [0, 40, None, 80, 60_000, None, 60_080],
        [0, 400, 40, 80, 120],
    ],
)
def test_what_lasts_is_no_wrong_time(times):
    plain = Timeline(40 * MS)
    expected = [plain.next(None if time is None else time * MS) / MS for time in times]
    assert corrected(times) == (expected, 0)


@given(st.lists(st.one_of(st.none(), st.integers(-(10**6), 10**6)), min_size=1), st.booleans())
def test_every_frame_comes_out_once_and_in_order(times, is_declared):
    found, _ = corrected(times, 1000 if is_declared else None)
    assert found[0] == 0
    assert all(later > earlier for earlier, later in pairwise(found))


def test_frames_are_held_back_only_in_doubt():
    filtered = WrongTimes(Timeline(40 * MS))
    assert all(filtered.push(number, 40 * MS * number) for number in range(3))
    assert all(filtered.push(number, None) for number in range(3))
    assert [len(filtered.push(number, (FAR + 40 * number) * MS)) for number in range(5)] == [0, 0, 0, 0, 5]


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


HOUR_S = 3600


def parked(rate, hours, jitter_ms=0.0, fps=2):
    """(time, arrival, true time) in ns of a camera whose clock runs at this rate; jitter by a fixed seed."""
    generator = random.Random(7)
    last = 0
    for i in range(int(hours * HOUR_S * fps)):
        true = i * 1000 * MS // fps
        last = max(last, true + round(generator.expovariate(1) * jitter_ms * MS))
        yield round(5000 * MS + true * rate), last, true


@pytest.mark.parametrize("ppm", [100, -100, 1000, -1000])
@pytest.mark.parametrize("jitter_ms", [0.0, 20.0])
def test_a_clock_that_drifts_is_followed_without_a_jump(ppm, jitter_ms):
    timeline = LiveTimeline()
    step, found, errors = 500 * MS, [], []
    for time, arrived, true in parked(1 + ppm / 1e6, 14, jitter_ms):
        found.append(timeline.next(time, arrived))
        errors.append(abs(found[-1] - true))
    assert max(abs(b - a - step) for a, b in pairwise(found)) < 0.02 * step
    assert max(errors) < 100 * MS  # without it: 5 s at 100 ppm, 50 s at 1000
    assert timeline.notes() == []


@pytest.mark.parametrize("rate", [0.97, 1.03])
def test_a_clock_that_is_some_per_cent_off_is_followed(rate):
    timeline = LiveTimeline()
    found = [timeline.next(time, arrived) for time, arrived, _ in parked(rate, 0.1, fps=25)]
    assert max(abs(b - a - 40 * MS) for a, b in pairwise(found)) < 5 * MS
    assert abs(found[-1] - 360_000 * MS) < 2000 * MS
    assert timeline.notes() == []


@pytest.mark.parametrize("set_ms", [3_600_000, 3_000, -400, -3_000, -3_600_000])
def test_a_clock_that_is_set_costs_no_gap_and_no_squeeze(set_ms):
    timeline = LiveTimeline()
    pairs = [(40 * i + (set_ms if i >= 500 else 0), 40 * i) for i in range(1500)]
    found = [timeline.next(time * MS, arrived * MS) for time, arrived in pairs]
    assert {b - a for a, b in pairwise(found)} == {40 * MS}
    assert (timeline.jumps, timeline.repeated, timeline.unsteady) == (1, 0, 0)


def test_a_stall_and_the_burst_after_it_change_no_interval():
    # 8 s of nothing after frame 400, then everything at once
    pairs = [(40 * i, max(40 * i, 24_000) if i > 400 else 40 * i) for i in range(1500)]
    timeline = LiveTimeline()
    found = [timeline.next(time * MS, arrived * MS) for time, arrived in pairs]
    assert {b - a for a, b in pairwise(found)} == {40 * MS}
    assert timeline.notes() == []


def test_frames_that_a_server_had_ready_keep_their_intervals():
    # the last 3 s come at once, as servers send the newest group of pictures first
    pairs = [(40 * i, max(0, 40 * i - 3000)) for i in range(1500)]
    timeline = LiveTimeline()
    found = [timeline.next(time * MS, arrived * MS) for time, arrived in pairs]
    assert {b - a for a, b in pairwise(found)} == {40 * MS}


def test_frames_lost_in_the_network_leave_their_gap():
    pairs = [(40 * i, 40 * i) for i in range(1000) if not 500 <= i < 600]
    timeline = LiveTimeline()
    found = [timeline.next(time * MS, arrived * MS) for time, arrived in pairs]
    assert [b - a for a, b in pairwise(found) if b - a != 40 * MS] == [4040 * MS]
    assert timeline.notes() == []


def test_a_clock_that_counts_25_of_5_frames_a_second_is_that_of_arrival():
    timeline = LiveTimeline()
    found = [timeline.next(40 * MS * i, 200 * MS * i) for i in range(1000)]
    late = found[100:]
    assert all(180 * MS <= b - a <= 221 * MS for a, b in pairwise(late))  # 10 % while it makes good
    assert abs(found[-1] - 199_800 * MS) < 100 * MS
    assert timeline.notes() == ["970 frames of a clock that runs at another rate: set to the time of arrival"]


def test_a_clock_that_runs_right_again_is_used_again():
    timeline = LiveTimeline()
    time, found = 0, []
    for i in range(3000):
        time += 10 if i < 500 else 40
        found.append(timeline.next(time * MS, (40 * i + 7 * (i % 2)) * MS))
    assert all(abs(b - a - 40 * MS) < MS for a, b in pairwise(found[1200:]))  # without the jitter of arrival
    assert timeline.unsteady < 900


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(-(10**14), 10**14)), st.integers(0, 10**11)), min_size=1
    )
)
def test_live_times_always_go_forward(steps):
    timeline, arrived, found = LiveTimeline(), 10**15, []
    for time, passed in steps:
        arrived += passed
        found.append(timeline.next(time, arrived))
    assert found[0] == 0
    assert all(later > earlier for earlier, later in pairwise(found))


@given(
    st.integers(1, 30),
    st.floats(-1e-3, 1e-3),
    st.lists(st.floats(0, 0.3), min_size=50, max_size=400),
    st.integers(-(10**12), 10**12),
)
def test_live_times_of_a_clock_without_jumps_are_its_own(fps, drift, delays_s, origin):
    timeline, arrived = LiveTimeline(), 0
    step = 10**9 // fps
    found, times = [], []
    for i, delay in enumerate(delays_s):
        arrived = max(arrived, i * step + round(delay * 1e9))
        times.append(origin + round(i * step * (1 + drift)))
        found.append(timeline.next(times[-1], arrived))
    for (a, b), (c, d) in zip(pairwise(found), pairwise(times), strict=True):
        assert abs((b - a) - (d - c)) <= 0.02 * step + 1
    assert timeline.notes() == []


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
