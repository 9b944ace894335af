"""Ranges: tables worked out by hand, and what a model really shows."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.calibration.ranges import (
    BINS,
    METHODS,
    TensorStatistics,
    entropy_bin,
    measure_ranges,
    percentile_bin,
    thresholds,
)
from edgevision.errors import CalibrationError
from edgevision.graph.convolutions import cut_model
from tests.support.calibration import images, segmenter_graph


@pytest.mark.parametrize(
    ("counts", "percentile", "bins"),
    [
        ([50, 30, 15, 5], 50, 1),
        ([50, 30, 15, 5], 51, 2),
        ([50, 30, 15, 5], 80, 2),
        ([50, 30, 15, 5], 95, 3),
        ([50, 30, 15, 5], 95.1, 4),
        ([50, 30, 15, 5], 100, 4),
        ([0, 0, 10, 0], 50, 3),
        ([0, 0, 0, 0], 99, 4),  # a tensor of zeros: nothing to cut
    ],
)
def test_percentile_table(counts: list[int], percentile: float, bins: int) -> None:
    assert percentile_bin(np.array(counts, np.float64), percentile) == bins


def test_entropy_keeps_everything_where_int8_tells_all_bins_apart() -> None:
    assert entropy_bin(np.ones(4), levels=4) == 4
    assert entropy_bin(np.zeros(64), levels=4) == 64


def test_entropy_of_a_flat_distribution_keeps_all_of_it() -> None:
    """A step over equal bins says their counts exactly, so any cut only loses."""
    assert entropy_bin(np.full(64, 10.0), levels=4) == 64


def test_entropy_cuts_a_lone_outlier() -> None:
    """Four levels: eight uneven bins, then nothing, then one value of 1,000,000 at the very end.

    Holding all 64 bins puts 16 bins into the first step, which says they are all equal.
    Holding the first 4 says each of them exactly, but the cut tail lands in the last.
    """
    counts = np.zeros(64)
    counts[:8] = [4000, 3000, 2000, 1000, 400, 300, 200, 100]
    counts[-1] = 1
    held = entropy_bin(counts, levels=4)
    assert held == 8


def test_a_divergence_worked_by_hand() -> None:
    """[6, 2 | 3, 1] in two levels is told as [4, 4 | 2, 2]; with an outlier of 2 cut, P ends in 3."""
    from edgevision.calibration.ranges import _divergence

    p, q = np.array([6, 2, 3, 1]) / 12, np.array([4, 4, 2, 2]) / 12
    assert _divergence(np.array([6.0, 2, 3, 1]), 4, 2) == pytest.approx(np.sum(p * np.log(p / q)))
    p = np.array([6, 2, 3, 3]) / 14
    assert _divergence(np.array([6.0, 2, 3, 1, 0, 2]), 4, 2) == pytest.approx(np.sum(p * np.log(p / q)))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_entropy_holds_between_the_levels_and_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 1000, 128) * (rng.random(128) < rng.random())
    assert 16 <= entropy_bin(counts.astype(np.float64), levels=16) <= 128


def test_thresholds_by_method() -> None:
    histogram = tuple([100] * (BINS // 2) + [0] * (BINS // 2 - 1) + [1])
    seen = {"x": TensorStatistics(low=-8.0, high=2.0, mean=0.0, histogram=histogram)}
    assert thresholds(seen, "minmax") == {"x": 8.0}
    assert thresholds(seen, "percentile", 99.9) == {"x": pytest.approx(4.0, rel=0.01)}
    assert thresholds(seen, "percentile", 100) == {"x": 8.0}


@pytest.mark.parametrize(("peak", "limit"), [(1.0, 4.0), (6.0, 6.6), (7.9, 8.0)])
def test_peak_reaches_a_tenth_further_than_a_frame_does_in_the_mean(peak: float, limit: float) -> None:
    """What the percentile holds is the least, for small maps have few values; and 8 is the greatest."""
    histogram = tuple([100] * (BINS // 2) + [0] * (BINS // 2 - 1) + [1])
    seen = {"x": TensorStatistics(low=-8.0, high=2.0, mean=0.0, peak=peak, histogram=histogram)}
    assert thresholds(seen, "peak", 99.9) == {"x": pytest.approx(limit, rel=0.01)}


def test_entropy_cuts_the_tail_of_a_bell() -> None:
    """Most values lie in the first 300 of 2048 bins, one at the very end: it would idle most of int8."""
    bell = np.rint(1e6 * np.exp(-0.5 * (np.arange(BINS) / 100) ** 2)).astype(int)
    bell[-1] = 1
    seen = {"x": TensorStatistics(low=-8.0, high=2.0, mean=0.0, histogram=tuple(bell.tolist()))}
    assert 300 / BINS * 8 < thresholds(seen, "entropy")["x"] < 600 / BINS * 8


def test_statistics_are_those_of_the_tensors() -> None:
    model, frames = segmenter_graph(), images(6)
    names = ["images", "deep"]
    seen = measure_ranges(model, names, lambda: [frames[:4], frames[4:]], histograms=True)
    session = onnxruntime.InferenceSession(cut_model(model, names).SerializeToString())
    for name, values in zip(names, session.run(names, {"frames": frames}), strict=True):
        one = seen[name]
        assert one.low == pytest.approx(values.min(), rel=1e-5)
        assert one.high == pytest.approx(values.max(), rel=1e-5)
        assert one.mean == pytest.approx(values.mean(), abs=1e-4)
        assert one.peak == pytest.approx(np.abs(values).max(axis=(1, 2, 3)).mean(), rel=1e-5)
        assert sum(one.histogram) == np.count_nonzero(values)
        edges = np.linspace(0, one.greatest, BINS + 1)
        wanted, _ = np.histogram(np.abs(values[values != 0]), edges)
        assert np.abs(np.cumsum(wanted) - np.cumsum(one.histogram)).max() <= 0.001 * values.size


def test_the_input_is_the_normalised_one() -> None:
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    seen = measure_ranges(segmenter_graph(), ["images"], lambda: [white], histograms=False)
    assert seen["images"].low == seen["images"].high == pytest.approx((1 - 0.5) / 0.25)
    assert seen["images"].histogram == ()


def test_one_frame_at_a_time_whatever_the_batches() -> None:
    """Memory does not grow with the batch, nor the answer change."""
    frames, done = images(5), []
    whole = measure_ranges(segmenter_graph(), ["deep"], lambda: [frames], True, done.append)
    parts = measure_ranges(segmenter_graph(), ["deep"], lambda: iter([frames[:2], frames[2:]]), True)
    assert whole == parts
    assert done == list(range(1, 11)), "five frames, twice"


def test_a_tensor_of_zeros_has_a_range_all_the_same() -> None:
    model = segmenter_graph()
    for constant in model.graph.initializer:
        if constant.name in ("wide.weight", "wide.bias"):
            constant.raw_data = bytes(len(constant.raw_data))
    seen = measure_ranges(model, ["deep"], lambda: [images(2)], True)
    for method in METHODS:
        assert thresholds(seen, method) == {"deep": 0.0}


def test_no_frames_and_broken_models_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no frames to calibrate on"):
        measure_ranges(segmenter_graph(), ["deep"], list, False)
    model = segmenter_graph()
    for constant in model.graph.initializer:
        if constant.name == "stem.bias":
            constant.raw_data = np.full(8, np.nan, np.float32).tobytes()
    with pytest.raises(CalibrationError, match="not finite on frame 1; the model is broken"):
        measure_ranges(model, ["deep"], lambda: [images(1)], False)


def test_numbers_that_are_not_finite_are_noticed_in_any_frame() -> None:
    """Black images stay small; a white one overflows, 0 times infinity is NaN: the third of five frames."""
    model = segmenter_graph()
    for constant in model.graph.initializer:
        if constant.name == "stem.bias":
            constant.raw_data = np.full(8, 2.2, np.float32).tobytes()
        if constant.name == "wide.weight":
            constant.raw_data = np.full(64, 2e37, np.float32).tobytes()
        if constant.name == "wide.bias":
            constant.raw_data = np.zeros(8, np.float32).tobytes()
    frames = np.zeros((5, 32, 32, 3), np.uint8)
    frames[2] = 255
    for place in (0, 4):
        alone = measure_ranges(model, ["deep"], lambda place=place: [frames[place : place + 1]], False)
        assert np.isfinite(alone["deep"].greatest)
    with pytest.raises(CalibrationError, match="tensor deep holds numbers that are not finite on photo 2;"):
        measure_ranges(model, ["deep"], lambda: [frames], False, name_frame=lambda place: f"photo {place}")
