import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.pipeline.ledger import FrameLedger
from edgevision.pipeline.statistics import LatencyHistogram, RateMeter, Stage, StageClock, Tally
from edgevision.types import Detections, DropReason, SegmentationMap


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
    assert (entry.captured, entry.inferred, entry.failed, entry.waiting) == (10, 1, 1, 4)
    assert entry.dropped == {"newer_frame": 3, "shutdown": 1}


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
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    exact = float(np.percentile(values, percent, method="inverted_cdf"))
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.0101)
    assert histogram.figures().max == max(values)


def test_latencies_outside_the_range_count_too():
    histogram = LatencyHistogram()
    assert histogram.percentile(50) == 0
    for value in (0.0, 1e9):
        histogram.add(value)
    assert histogram.percentile(1) == pytest.approx(0.01, rel=0.011)
    assert histogram.figures().max == 1e9


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
    assert (figures["decode"].calls, figures["decode"].mean_ms) == (2, 2.0)
    assert figures["decode"].total_s == pytest.approx(0.004)


def test_the_rate_is_over_the_last_frames(monkeypatch):
    times = iter([0.0, 10.0, 10.5, 11.0])
    monkeypatch.setattr("edgevision.pipeline.statistics.time.perf_counter", lambda: next(times))
    meter = RateMeter(window=3)
    assert [meter.tick() for _ in range(4)] == [
        0,
        pytest.approx(0.1),
        pytest.approx(2 / 10.5),
        pytest.approx(2),
    ]


def test_the_tally_counts_detections_and_areas():
    tally = Tally([("person", "car"), ("road", "sky")])
    half = SegmentationMap(np.array([[0, 1]], np.uint8))
    road = SegmentationMap(np.array([[0, 0]], np.uint8))
    tally.add([Detections(np.zeros((3, 4)), np.zeros(3), [1, 1, 0]), half])
    tally.add([Detections.empty(), road])
    assert tally.detections() == {"car": 2, "person": 1}
    assert tally.shares() == {"road": 0.75, "sky": 0.25}
