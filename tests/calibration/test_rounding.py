"""Weights rounded together: the Gram matrix of what a kernel meets, and answers that change less."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.qdq import insert_qdq, quantise_weights
from edgevision.calibration.ranges import measure_ranges, thresholds
from edgevision.calibration.rounding import gram_matrices, round_together, round_weights
from edgevision.calibration.simulate import Simulation
from edgevision.graph.convolutions import Convolution, cut_model, find_convolutions


def network(**attributes: object) -> onnx.ModelProto:
    """One convolution of two groups and one of 1x1 behind it, which feeds the head."""
    random = np.random.default_rng(3)
    constants = [
        numpy_helper.from_array(random.normal(size=(4, 3, 3, 3)).astype(np.float32), "first.weight"),
        numpy_helper.from_array(random.normal(size=(6, 2, 3, 2)).astype(np.float32), "grouped.weight"),
        numpy_helper.from_array(random.normal(size=(2, 6, 1, 1)).astype(np.float32), "last.weight"),
        numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
    ]
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["small"]),
        helper.make_node("Transpose", ["small"], ["images"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["images", "first.weight"], ["first"], pads=[1] * 4),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Conv", ["active", "grouped.weight"], ["grouped"], group=2, **attributes),
        helper.make_node("Conv", ["grouped", "last.weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two groups",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 16, 12, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def frames(count: int = 4) -> np.ndarray:
    """Bright ones: what the kernels meet has a mean far from zero, as behind a ReLU."""
    return np.random.default_rng(1).integers(96, 256, (count, 1, 16, 12, 3), np.uint8)


def candidates(model: onnx.ModelProto) -> tuple[Convolution, ...]:
    return tuple(layer for layer in find_convolutions(model, ["logits"]) if not layer.feeds_head)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"strides": [2, 1], "pads": [1, 0, 2, 1]}, {"dilations": [2, 3]}, {"auto_pad": "VALID"}],
)
def test_a_gram_matrix_gives_the_mean_square_of_what_a_convolution_answers(attributes: dict) -> None:
    model = network(**attributes)
    grams = gram_matrices(model, candidates(model), frames())
    answers = np.concatenate(
        [Simulation(cut_model(model, ["grouped"]), ["grouped"])(frame)[0] for frame in frames()]
    )
    weights = numpy_helper.to_array(model.graph.initializer[1]).astype(np.float64).reshape(2, 3, -1)
    squares = np.einsum("gmk,gkl,gml->gm", weights, grams["grouped.weight"], weights).ravel()
    np.testing.assert_allclose(squares, np.square(answers).mean(axis=(0, 2, 3)), rtol=1e-4)


def test_padding_that_the_engine_chooses_is_passed_over() -> None:
    model = network(auto_pad="SAME_UPPER")
    assert set(gram_matrices(model, candidates(model), frames())) == {"first.weight"}


def test_one_weight_makes_up_for_the_rounding_of_the_other() -> None:
    # One step is 1. Both weights meet the same value: 0.4 and 0.4 are 0.8 of it, which is nearest to 1 + 0.
    weights = np.array([127.0, 0.4, 0.4], np.float32).reshape(1, 3, 1, 1)
    same = np.array([[[4.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]])
    steps, scales = round_weights(weights, same)
    assert scales == pytest.approx(1.0)
    assert steps.ravel()[0] == 127
    assert sorted(steps.ravel()[1:]) == [0, 1]
    assert quantise_weights(weights).steps.ravel().tolist() == [127, 0, 0]


def test_weights_that_meet_nothing_in_common_go_to_the_nearest_step() -> None:
    weights = np.random.default_rng(0).normal(size=(5, 2, 3, 3)).astype(np.float32)
    apart = np.eye(18)[None] * np.linspace(1, 3, 18)
    rounded = round_weights(weights, apart)
    nearest = quantise_weights(weights)
    np.testing.assert_array_equal(rounded.steps, nearest.steps)
    np.testing.assert_array_equal(rounded.scales, nearest.scales)


def test_one_scale_holds_for_all_channels() -> None:
    weights = np.array([[2.54, 0.0], [0.02, 0.04]], np.float32).reshape(2, 2, 1, 1)
    steps, scales = round_weights(weights, np.eye(2)[None], one_scale=True)
    np.testing.assert_allclose(scales, [0.02, 0.02], rtol=1e-6)
    assert steps.reshape(2, 2).tolist() == [[127, 0], [1, 2]]


def test_a_weight_that_meets_zeros_alone_is_rounded_without_an_error() -> None:
    weights = np.ones((2, 1, 2, 2), np.float32)
    assert (round_weights(weights, np.zeros((2, 4, 4))).steps == 127).all()


def test_the_answers_of_a_network_change_less() -> None:
    model = network()
    layers = candidates(model)
    ranges = measure_ranges(model, [layer.data for layer in layers], lambda: frames(), False)
    limits = thresholds(ranges, "minmax")
    rounded = round_together(model, gram_matrices(model, layers, frames()))
    wanted, nearest, together = (
        np.concatenate([Simulation(cut_model(one, ["grouped"]), ["grouped"])(frame)[0] for frame in frames()])
        for one in (model, insert_qdq(model, layers, limits), insert_qdq(model, layers, limits, rounded))
    )
    assert np.square(together - wanted).mean() < 0.8 * np.square(nearest - wanted).mean()
