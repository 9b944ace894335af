"""The gate's search, the layers' order, warnings about frames, and the cache."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from calibration_helpers import pictures, segmenter_graph
from hypothesis import given
from hypothesis import strategies as st

from calibration.cache import Cache, cache_folder
from calibration.domain import domain_warnings, picture_warnings
from calibration.gate import MAX_TRIALS, Trial, search_fewest
from calibration.ranges import TensorStatistics, measure_ranges, thresholds
from calibration.sensitivity import (
    Sensitivity,
    float_order,
    int8_share,
    measure_sensitivity,
    sensitivity_frames,
)
from edgevision.graph.convolutions import Convolution, find_convolutions


def search(drops: list[float], budget: float) -> tuple[int | None, list[int]]:
    """The search over made-up drops, by number of layers in float: what it chose, and what it tried."""

    def evaluate(count: int) -> tuple[Trial, int]:
        return Trial(float_layers=count, share=1.0, value=0.5 - drops[count], drop=drops[count]), count

    found = search_fewest(lambda: len(drops) - 1, evaluate, budget)
    return found.best, [trial.float_layers for trial in found.trials]


def test_all_in_int8_is_enough_where_it_is_enough() -> None:
    asked = []

    def candidates() -> int:
        asked.append(1)
        return 9

    trial = Trial(float_layers=0, share=1.0, value=0.5, drop=0.01)
    found = search_fewest(candidates, lambda count: (trial, count), 0.01)
    assert found.best == 0
    assert not asked, "layers are ranked only where that is needed"


def test_the_fewest_layers_inside_the_budget() -> None:
    drops = [0.3, 0.2, 0.1, 0.05, 0.02, *[0.009] * 60]
    assert search(drops, 0.01)[0] == 5


def test_a_budget_that_cannot_be_met_costs_two_evaluations() -> None:
    assert search([0.3, 0.2, 0.1], 0.01) == (None, [0, 2])
    assert search([0.3], 0.01) == (None, [0])


@given(st.lists(st.floats(-0.1, 0.5), min_size=1, max_size=150), st.floats(0, 0.2))
def test_what_is_chosen_was_evaluated_and_evaluations_are_bounded(drops: list[float], budget: float) -> None:
    chosen, tried = search(drops, budget)
    assert len(tried) <= MAX_TRIALS
    assert len(set(tried)) == len(tried)
    if chosen is not None:
        assert chosen in tried
        assert drops[chosen] <= budget


@given(st.integers(1, 120), st.integers(1, 120))
def test_falling_drops_are_searched_to_within_what_eight_trials_can_tell(length: int, needed: int) -> None:
    drops = [0.1 if i < needed else 0.0 for i in range(length + 1)]
    chosen, _ = search(drops, 0.01)
    if needed > length:
        assert chosen is None
    else:
        assert chosen is not None
        assert needed <= chosen <= needed + length // 8


def layer(name: str, macs: int) -> Convolution:
    return Convolution(name, "Conv", "x", "w", macs, False, "")


def test_order_is_noise_for_work_and_leaves_the_share() -> None:
    heavy, light, quiet, head = (
        layer("heavy", 500),
        layer("light", 10),
        layer("quiet", 390),
        layer("head", 100),
    )
    found = [Sensitivity(heavy, 0.5), Sensitivity(light, 0.2), Sensitivity(quiet, 0.001)]
    everything = [heavy, light, quiet, head]
    # light: 0.2 / (0.01 + 0.005); heavy: 0.5 / (0.5 + 0.005). quiet may not go: 50 % must stay.
    assert [one.layer.name for one in float_order(found, everything, 0.35)] == ["light", "heavy"]
    assert [one.layer.name for one in float_order(found, everything, 0.5)] == ["light", "quiet"]
    assert float_order(found, everything, 0.95) == ()
    assert int8_share([heavy, quiet], everything) == pytest.approx(0.89)


def test_decibels() -> None:
    assert Sensitivity(layer("a", 1), 0.001).sqnr_db == pytest.approx(30)
    assert Sensitivity(layer("a", 1), 0.0).sqnr_db == float("inf")


def test_the_layer_that_int8_cannot_hold_is_found() -> None:
    """``deep`` reads channels of which one is a thousand times the others."""
    model = segmenter_graph(wild=True)
    layers = [one for one in find_convolutions(model, ["logits"]) if not one.feeds_head]
    frames = pictures(4)
    limits = thresholds(
        measure_ranges(model, [one.data for one in layers], lambda: [frames], False), "minmax"
    )
    done: list[int] = []
    found = measure_sensitivity(model, layers, limits, ["logits"], frames, done.append)
    by_name = {one.layer.name: one.noise for one in found}
    assert max(by_name, key=lambda name: by_name[name]) == "deep"
    assert by_name["deep"] > 10 * by_name["stem"]
    assert done == [1, 2, 3, 4]


@pytest.mark.parametrize(("work", "frames"), [(1_000_000, 4), (2_000_000_000, 3), (50_000_000_000, 2)])
def test_heavier_models_are_ranked_on_fewer_frames(work: int, frames: int) -> None:
    assert sensitivity_frames([layer("a", work)]) == frames


def statistics(**greatest: float) -> dict[str, TensorStatistics]:
    return {name: TensorStatistics(low=0.0, high=high, mean=0.0) for name, high in greatest.items()}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (statistics(a=0.9, b=1.0, c=0.7), None),
        (statistics(a=2.0, b=3.0, c=0.9), "2.00 times as far"),
        (statistics(a=0.1, b=0.2, c=0.9), "fill 20%"),
    ],
)
def test_frames_of_another_kind_are_noticed(seen: dict[str, TensorStatistics], words: str | None) -> None:
    lines = domain_warnings(statistics(a=1.0, b=1.0, c=1.0, dead=0.0), seen, "val.json")
    assert len(lines) == (words is not None)
    if words is not None:
        assert words in lines[0]
        assert "val.json" in lines[0]


def test_frames_that_are_no_pictures_are_noticed() -> None:
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 20, (3, 32, 32, 3), dtype=np.uint8)
    grey = np.full((3, 32, 32, 3), 128, np.uint8)
    assert picture_warnings([pictures(6)]) == []
    assert picture_warnings([pictures(4), dark]) == []
    assert picture_warnings([dark, grey])[0].startswith("6 of 6 calibration frames are flat")


class Kept(msgspec.Struct, frozen=True):
    value: float


def test_the_cache_gives_back_what_was_kept_under_the_same_key_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "folder")
    key = {"model": "a", "frames": "b"}
    assert cache.load(key, Kept) is None
    cache.store(key, Kept(0.5))
    assert cache.load({"frames": "b", "model": "a"}, Kept) == Kept(0.5)
    assert cache.load({"model": "changed", "frames": "b"}, Kept) is None
    assert cache.load({"model": "a", "frames": "changed"}, Kept) is None


@pytest.mark.parametrize("content", [b"", b"short", b"0" * 64 + b"body"])
def test_a_damaged_file_in_the_cache_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path)
    cache.store({"k": 1}, Kept(0.5))
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert cache.load({"k": 1}, Kept) is None
    cache.store({"k": 1}, Kept(0.7))
    assert cache.load({"k": 1}, Kept) == Kept(0.7)


def test_another_kind_in_the_cache_counts_as_missing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store({"k": 1}, ["not", "it"])
    assert cache.load({"k": 1}, Kept) is None


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = Cache(blocked / "cache")
    cache.store({"k": 1}, Kept(0.5))
    assert cache.load({"k": 1}, Kept) is None
    Cache(None).store({"k": 1}, Kept(0.5))
    assert Cache(None).load({"k": 1}, Kept) is None


def test_the_cache_lies_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgevision" / "calibration"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "edgevision" / "calibration"
