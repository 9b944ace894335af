"""The gate's search, the layers' order, and warnings about frames."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.gate import MAX_TRIALS, Search, Trial, most_trials, order_methods, search_fewest
from edgevision.calibration.likeness import domain_warnings, image_warnings
from edgevision.calibration.ranges import METHODS, Method, TensorStatistics, measure_ranges, thresholds
from edgevision.calibration.sensitivity import (
    Sensitivity,
    float_order,
    int8_share,
    measure_noise,
    measure_sensitivity,
    sensitivity_frames,
)
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.convolutions import Convolution, find_convolutions
from tests.support.calibration import images, segmenter_graph


def search(drops: list[float], budget: float) -> tuple[int | None, list[int]]:
    """The search over made-up drops, by number of layers in float: what it chose, and what it tried."""

    found = search_methods({"minmax": drops}, budget)
    return found.best, [trial.float_layers for trial in found.trials]


def search_methods(drops: dict[Method, list[float]], budget: float) -> Search[int]:
    """The same over several methods, in their order."""

    def evaluate(method: Method, count: int) -> tuple[Trial, int]:
        return trial(method, count, drops[method][count]), count

    return search_fewest(list(drops), lambda method: len(drops[method]) - 1, evaluate, budget)


def trial(method: Method, count: int, drop: float) -> Trial:
    return Trial(method=method, float_layers=count, share=1.0, value=0.5 - drop, drop=drop)


def test_all_in_int8_is_enough_where_it_is_enough() -> None:
    asked = []

    def candidates(method: Method) -> int:
        asked.append(method)
        return 9

    found = search_fewest(["minmax"], candidates, lambda method, n: (trial(method, n, 0.01), n), 0.01)
    assert found.best == 0
    assert not asked, "layers are ranked only where that is needed"


def test_the_fewest_layers_inside_the_budget() -> None:
    drops = [0.3, 0.2, 0.1, 0.05, 0.02, *[0.009] * 60]
    assert search(drops, 0.01)[0] == 5


def test_a_budget_that_cannot_be_met_costs_two_evaluations() -> None:
    assert search([0.3, 0.2, 0.1], 0.01) == (None, [0, 2])
    assert search([0.3], 0.01) == (None, [0])


def test_without_a_condition_the_ranges_that_lose_least_are_taken_and_no_layer_goes_back() -> None:
    drops: dict[Method, list[float]] = {"minmax": [0.3, 0.0], "percentile": [0.1, 0.0], "entropy": [0.2, 0.0]}
    found = search_fewest(
        list(drops),
        lambda method: pytest.fail("layers are ranked"),
        lambda method, count: (trial(method, count, drops[method][count]), method),
        0.01,
        must_hold=False,
    )
    assert [one.float_layers for one in found.trials] == [0, 0, 0]
    assert (found.best, found.chosen) == ("percentile", found.trials[1])


def test_another_range_is_tried_before_a_layer_goes_back() -> None:
    found = search_methods({"minmax": [0.04, 0.0], "percentile": [0.004, 0.0], "entropy": [0.0, 0.0]}, 0.01)
    assert [(one.method, one.float_layers) for one in found.trials] == [("minmax", 0), ("percentile", 0)]
    assert found.chosen == found.trials[1]


def test_layers_go_back_with_the_method_that_lost_least() -> None:
    drops = {"minmax": [0.2] * 4, "percentile": [0.05, 0.04, 0.009, 0.0], "entropy": [0.1, 0.0, 0.0, 0.0]}
    found = search_methods(drops, 0.01)  # type: ignore[arg-type]
    tried = [(one.method, one.float_layers) for one in found.trials]
    assert tried == [
        *((method, 0) for method in drops),
        ("percentile", 3),
        ("percentile", 1),
        ("percentile", 2),
    ]
    assert found.chosen is not None
    assert (found.chosen.method, found.chosen.float_layers, found.best) == ("percentile", 2, 2)


@given(st.lists(st.lists(st.floats(-0.1, 0.5), min_size=90, max_size=90), min_size=1, max_size=3))
def test_evaluations_are_bounded_with_several_methods(drops: list[list[float]]) -> None:
    found = search_methods(dict(zip(METHODS, drops, strict=False)), 0.0)
    assert len(found.trials) <= most_trials(METHODS[: len(drops)]) == MAX_TRIALS + len(drops) - 1
    whole = [one.drop for one in found.trials if not one.float_layers]
    assert len(whole) == len(drops) or whole[-1] <= 0
    if found.chosen is not None:
        assert found.chosen in found.trials
        assert found.chosen.drop <= 0


@pytest.mark.parametrize(
    ("noises", "order"),
    [
        ({"minmax": 0.1}, ["minmax"]),
        ({"minmax": 0.1, "percentile": 0.09, "entropy": 0.2}, ["minmax", "percentile", "entropy"]),
        ({"minmax": 0.2, "percentile": 0.09, "entropy": 0.08}, ["percentile", "entropy", "minmax"]),
        ({"minmax": 0.2, "percentile": 0.12, "entropy": 0.08}, ["entropy", "percentile", "minmax"]),
        ({"minmax": 0.2, "percentile": 0.11, "entropy": 0.08}, ["percentile", "entropy", "minmax"]),
        ({"minmax": 0.0, "percentile": 0.0, "entropy": 0.0}, ["minmax", "percentile", "entropy"]),
    ],
)
def test_methods_are_tried_by_noise_and_the_one_that_cuts_least_of_equals(
    noises: dict[Method, float], order: list[Method]
) -> None:
    assert list(order_methods(noises)) == order


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
    frames = images(4)
    limits = thresholds(
        measure_ranges(model, [one.data for one in layers], lambda: [frames], False), "minmax"
    )
    done: list[int] = []
    found = measure_sensitivity(model, layers, limits, ["logits"], frames, done.append)
    by_name = {one.layer.name: one.noise for one in found}
    assert max(by_name, key=lambda name: by_name[name]) == "deep"
    assert by_name["deep"] > 10 * by_name["stem"]
    assert done == [1, 2, 3, 4]


def merged_graph() -> onnx.ModelProto:
    """Boxes in pixels and scores, from three convolutions each, in one output ``rows [N, 5, 1024]``."""
    rng = np.random.default_rng(0)
    g = GraphBuilder("core/")
    pixels = g("Transpose", g("Cast", "frames", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    image = g("Div", pixels, g.constant(255.0, np.float32))
    ends = {}
    for name, channels in (("boxes", 4), ("scores", 1)):
        g.constants += [
            numpy_helper.from_array(rng.normal(0, 0.5, (8, 3, 3, 3)).astype(np.float32), f"{name}.weight"),
            numpy_helper.from_array(
                rng.normal(0, 0.5, (channels, 8, 1, 1)).astype(np.float32), f"{name}.last"
            ),
        ]
        inner = g("Relu", g("Conv", image, f"{name}.weight", out=name, pads=[1] * 4))
        ends[name] = g(
            "Conv", inner, g.constant(np.eye(8)[:, :, None, None] * 2, np.float32), out=f"{name}.mid"
        )
        ends[name] = g("Conv", g("Relu", ends[name]), f"{name}.last")
    boxes = g("Mul", ends["boxes"], g.constant(300.0, np.float32))
    both = g("Concat", boxes, g("Sigmoid", ends["scores"]), axis=1)
    g("Reshape", both, g.ints(0, 5, 1024), out="rows")
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", 32, 32, 3])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 5, 1024])
    graph = helper.make_graph(g.nodes, "merged", [frames], [rows], g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def test_scores_count_beside_boxes_in_one_output() -> None:
    """Ranges that cut the scores' activations to nothing are no smaller fault than those of the boxes."""
    model = merged_graph()
    layers = [one for one in find_convolutions(model, ["rows"]) if not one.feeds_head]
    assert len(layers) == 4
    frames = images(3)
    wide = thresholds(measure_ranges(model, [one.data for one in layers], lambda: [frames], False), "minmax")
    for one in layers:
        cut = {**wide, one.data: wide[one.data] / 500}
        found = measure_noise(model, layers, {"minmax": wide, "entropy": cut}, ["rows"], frames)
        assert found["minmax"] < 0.02, one.name
        assert found["entropy"] > 0.2, one.name
        (alone,) = measure_sensitivity(model, [one], cut, ["rows"], frames)
        assert alone.noise > 0.2, one.name


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


def test_frames_that_are_no_images_are_noticed() -> None:
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 20, (3, 32, 32, 3), dtype=np.uint8)
    grey = np.full((3, 32, 32, 3), 128, np.uint8)
    assert image_warnings([images(6)]) == []
    assert image_warnings([images(4), dark]) == []
    assert image_warnings([dark, grey])[0].startswith("6 of 6 calibration frames are flat")
