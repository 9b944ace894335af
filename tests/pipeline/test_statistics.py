import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.pipeline.ledger import DropReason, FrameLedger
from edgevision.pipeline.meters import RateMeter, StageClock, Tally, TimeHistogram
from edgevision.pipeline.statistics import BUCKETS_MS, Stage
from edgevision.types import Detections, Frame, FrameResult, SegmentationMap
from edgevision.video.base import FailReason


def test_the_ledger_balances_at_any_moment():
    ledger = FrameLedger()
    for _ in range(10):
        ledger.capture()
    ledger.infer()
    ledger.fail()
    ledger.drop(DropReason.NEWER_FRAME, 3)
    ledger.drop(DropReason.SHUTDOWN)
    ledger.drop(DropReason.SHUTDOWN, 0)
    entry = ledger.entry()
    assert (entry.captured, entry.inferred, entry.failed, entry.waiting) == (10, 1, {"model": 1}, 4)
    assert entry.dropped == {"newer_frame": 3, "shutdown": 1}


def test_what_cannot_be_decoded_was_captured_and_failed():
    ledger = FrameLedger()
    ledger.capture()
    ledger.source_failed({FailReason.UNDECODABLE: 2, FailReason.INCOMPLETE: 0})
    ledger.source_failed({FailReason.UNDECODABLE: 3})
    entry = ledger.entry()
    assert (entry.captured, entry.failed, entry.waiting) == (4, {"undecodable": 3}, 1)


def test_a_closed_ledger_counts_nothing_more():
    ledger = FrameLedger()
    for _ in range(3):
        ledger.capture()
    ledger.infer()
    entry = ledger.close()
    assert (entry.captured, entry.dropped, entry.waiting) == (3, {"shutdown": 2}, 0)
    ledger.capture()
    ledger.drop(DropReason.SHUTDOWN)
    ledger.infer()
    ledger.source_failed({FailReason.UNDECODABLE: 3})
    assert ledger.close() == ledger.entry() == entry


def test_the_ledger_counts_from_many_threads():
    ledger = FrameLedger()

    def work():
        for _ in range(2000):
            ledger.capture()
            ledger.infer()
            assert ledger.entry().waiting >= 0

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.entry().captured == ledger.entry().inferred == 8000


@given(st.lists(st.floats(0.02, 100_000), min_size=1, max_size=200), st.sampled_from([50, 95, 99, 100]))
def test_percentiles_are_within_one_percent(values, percent):
    histogram = TimeHistogram()
    for value in values:
        histogram.add(value)
    exact = float(np.percentile(values, percent, method="inverted_cdf"))
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.0101)
    assert histogram.figures().max_ms == max(values)


@given(st.lists(st.floats(0.02, 20_000), max_size=100))
def test_buckets_count_what_lies_below_each_bound(values):
    histogram = TimeHistogram()
    for value in values:
        histogram.add(value)
    figures = histogram.figures()
    assert figures.total_s * 1e3 == pytest.approx(sum(values))
    for bound, count in zip(BUCKETS_MS, figures.buckets, strict=True):
        assert sum(value < bound / 1.0201 for value in values) <= count
        assert count <= sum(value < bound * 1.0201 for value in values)


def test_latencies_outside_the_range_count_too():
    histogram = TimeHistogram()
    assert histogram.percentile(50) == 0
    for value in (0.0, 1e9):
        histogram.add(value)
    assert histogram.percentile(1) == pytest.approx(0.01, rel=0.011)
    assert histogram.figures().max_ms == 1e9


def test_stage_times_add_up():
    clock = StageClock()
    clock.add(Stage.DECODE, 3_000_000)
    clock.add(Stage.DECODE, 1_000_000)
    with clock.measure(Stage.SINKS):
        pass
    with pytest.raises(ZeroDivisionError), clock.measure(Stage.OVERLAY):
        _ = 1 / 0
    figures = clock.figures()
    assert list(figures) == ["decode", "sinks"]
    assert (figures["decode"].count, figures["decode"].mean_ms) == (2, 2.0)
    assert figures["decode"].total_s == pytest.approx(0.004)


def test_the_rate_is_over_the_last_frames(monkeypatch):
    times = iter([0.0, 10.0, 10.5, 11.0])
    monkeypatch.setattr("edgevision.pipeline.meters.time.perf_counter", lambda: next(times))
    meter = RateMeter(window=3)
    assert [meter.tick() for _ in range(4)] == [
        0,
        pytest.approx(0.1),
        pytest.approx(2 / 10.5),
        pytest.approx(2),
    ]


def test_the_tally_counts_detections_and_areas():
    tally = Tally()
    frame = Frame(np.zeros((1, 2, 3), np.uint8), 0, 0)
    half, road = (SegmentationMap(np.array([row], np.uint8), ("road", "sky")) for row in ([0, 1], [0, 0]))
    found = Detections(np.zeros((3, 4)), np.zeros(3), [1, 1, 0], ("person", "car"))
    tally.add(FrameResult(frame, (found, half)))
    tally.add(FrameResult(frame, (Detections.empty(), road)))
    assert tally.detections() == {"car": 2, "person": 1}
    assert tally.shares() == {"road": 0.75, "sky": 0.25}
