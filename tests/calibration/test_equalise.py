"""Equalised channels: the same answers in float, like ranges, and only where nothing else sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.cache import Cache
from edgevision.calibration.channels import find_channels
from edgevision.calibration.equalise import best_factors, channel_reach, equalise, equalise_if_quieter
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.outcome import Equalisation, Settings
from edgevision.calibration.qdq import insert_qdq
from edgevision.calibration.ranges import measure_ranges, thresholds
from edgevision.calibration.sensitivity import decibels, measure_noise
from edgevision.calibration.simulate import Simulation
from edgevision.errors import CalibrationError
from edgevision.graph.convolutions import find_convolutions
from tests.support.calibration import FakeFrames, Stages, segmenter_manifest

GAINS = np.array([1.0, 0.03, 0.3, 0.01], np.float32)
"""How unlike the channels of the network below are."""


def network(extra: Sequence[onnx.NodeProto] = (), outputs: Sequence[str] = ("logits",)) -> onnx.ModelProto:
    """Convolution to four unlike channels, LeakyReLU, pooling; depthwise and 1x1 convolutions read them."""
    random = np.random.default_rng(4)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    first = random.normal(size=(4, 3, 3, 3)).astype(np.float32) * GAINS.reshape(4, 1, 1, 1)
    constants = [
        numpy_helper.from_array(first, "first.weight"),
        numpy_helper.from_array(GAINS * np.float32(0.1), "first.bias"),
        constant("depth.weight", 4, 1, 3, 3),
        constant("depth.bias", 4),
        numpy_helper.from_array(
            (random.normal(size=(5, 4, 1, 1)) / GAINS.reshape(1, 4, 1, 1)).astype(np.float32), "point.weight"
        ),
        constant("last.weight", 2, 5, 1, 1),
        constant("other.weight", 5, 4, 1, 1),
        numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
    ]
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["small"]),
        helper.make_node("Transpose", ["small"], ["images"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["images", "first.weight", "first.bias"], ["first"], pads=[1] * 4),
        helper.make_node("LeakyRelu", ["first"], ["active"], alpha=0.1),
        helper.make_node("MaxPool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pooled", "depth.weight", "depth.bias"], ["deep"], group=4, pads=[1] * 4),
        helper.make_node("Conv", ["deep", "other.weight"], ["second"]),
        helper.make_node("Conv", ["pooled", "point.weight"], ["third"]),
        helper.make_node("Add", ["second", "third"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["positive"]),
        helper.make_node("Conv", ["positive", "last.weight"], ["logits"]),
        *extra,
    ]
    graph = helper.make_graph(
        nodes,
        "unlike channels",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def frames(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 16, 16, 3), np.uint8)


def equalised(model: onnx.ModelProto) -> onnx.ModelProto:
    channels = find_channels(model)
    reach = channel_reach(model, channels.tensors, frames()[:, None])
    return equalise(model, channels, best_factors(model, channels, reach))


def greatest(model: onnx.ModelProto) -> np.ndarray:
    return channel_reach(model, ["pooled"], frames()[:, None])["pooled"].greatest


def test_answers_stay_and_ranges_come_together() -> None:
    model = network()
    other = equalised(model)
    wanted, seen = (Simulation(one, ["logits"])(frames())[0] for one in (model, other))
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4)
    before, after = greatest(model), greatest(other)
    assert before.max() / before.min() > 30
    assert after.max() / after.min() < 6


def test_what_one_depthwise_convolution_reads_gets_equal_ranges() -> None:
    model = network()
    nodes = [node for node in model.graph.node if node.output[0] not in ("third", "sum")]
    next(node for node in nodes if node.output[0] == "positive").input[0] = "second"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    before, after = greatest(model), greatest(equalised(model))
    assert before.max() / before.min() > 50
    assert after[0] == after.max()
    assert (after[1:3] > 0.3 * after[0]).all()
    assert 0.1 < after[3] / after[0] < 0.6  # below 0.03 of the greatest it counts as 0.03: it may wake up


def test_int8_changes_the_heads_less() -> None:
    model = network()

    def noise(one: onnx.ModelProto) -> float:
        layers = [layer for layer in find_convolutions(one, ["logits"]) if not layer.feeds_head]
        seen = measure_ranges(one, [layer.data for layer in layers], lambda: frames()[:, None], False)
        ranges = {"minmax": thresholds(seen, "minmax")}
        return decibels(measure_noise(one, layers, ranges, ["logits"], frames())["minmax"])  # type: ignore[arg-type]

    assert noise(equalised(model)) > noise(model) + 3


def test_a_channel_that_is_always_zero_is_no_division_by_zero() -> None:
    model = network()
    for constant in model.graph.initializer:
        if constant.name.startswith("first"):
            values = numpy_helper.to_array(constant).copy()
            values[1] = 0
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    other = equalised(model)
    assert all(np.isfinite(numpy_helper.to_array(one)).all() for one in other.graph.initializer)
    layers = [layer for layer in find_convolutions(other, ["logits"]) if not layer.feeds_head]
    seen = measure_ranges(other, [layer.data for layer in layers], lambda: frames()[:, None], False)
    insert_qdq(other, layers, thresholds(seen, "minmax"))


def shuffling() -> onnx.ModelProto:
    """A block as in ShuffleNet, its shuffle before it and behind it, enlarged before the last convolution."""
    random = np.random.default_rng(7)
    constants: list[onnx.TensorProto] = []

    def stored(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    def convolved(data: str, name: str, *shape: int, group: int = 1) -> onnx.NodeProto:
        weight = stored(f"{name}.weight", random.normal(size=shape).astype(np.float32))
        bias = stored(f"{name}.bias", random.normal(size=shape[0]).astype(np.float32))
        pads = [shape[2] // 2] * 4
        return helper.make_node("Conv", [data, weight, bias], [name], group=group, pads=pads)

    def shuffled(data: str, name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Reshape", [data, "apart"], [f"{name}.groups"]),
            helper.make_node("Transpose", [f"{name}.groups"], [f"{name}.turned"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", [f"{name}.turned", "together"], [name]),
        ]

    stored("scale", np.array(1 / 255, np.float32))
    stored("apart", np.array([-1, 2, 4, 16, 16]))
    stored("together", np.array([-1, 8, 16, 16]))
    stored("parts", np.array([3, 5]))
    stored("twice", np.array([1, 1, 2, 2], np.float32))
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["small"]),
        helper.make_node("Transpose", ["small"], ["images"], perm=[0, 3, 1, 2]),
        convolved("images", "a", 2, 3, 3, 3),
        convolved("images", "b", 6, 3, 3, 3),
        helper.make_node("Concat", ["a", "b"], ["both"], axis=1),
        helper.make_node("LeakyRelu", ["both"], ["active"], alpha=0.1),
        *shuffled("active", "mixed"),
        helper.make_node("Split", ["mixed", "parts"], ["past", "through"], axis=1),
        convolved("through", "deep", 5, 1, 3, 3, group=5),
        convolved("deep", "point", 5, 5, 1, 1),
        helper.make_node("LeakyRelu", ["point"], ["positive"], alpha=0.1),
        helper.make_node("Concat", ["past", "positive"], ["joined"], axis=1),
        *shuffled("joined", "again"),
        helper.make_node("Resize", ["again", "", "twice"], ["large"], mode="linear"),
        convolved("large", "logits", 2, 8, 3, 3),
    ]
    graph = helper.make_graph(
        nodes,
        "shuffling",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_answers_stay_where_channels_are_joined_shuffled_split_and_enlarged() -> None:
    model = shuffling()
    channels = find_channels(model)
    assert channels.count == 8 + 5 + 5
    assert {one.weight for one in channels.readers} == {"deep.weight", "point.weight", "logits.weight"}
    factors = np.exp(np.random.default_rng(2).uniform(-2, 2, channels.count)).astype(np.float32)
    other = equalise(model, channels, factors)
    wanted, seen = (Simulation(one, ["logits"])(frames())[0] for one in (model, other))
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4)
    before, after = (
        channel_reach(one, ["again"], frames()[:, None])["again"].greatest for one in (model, other)
    )
    places = next(one for one in channels.readers if one.weight == "logits.weight").channels
    np.testing.assert_allclose(before / after, factors[places], rtol=1e-4)


def stored_as(model: onnx.ModelProto, name: str, values: np.ndarray) -> onnx.ModelProto:
    """``model`` with other values in a constant."""
    constant = next(one for one in model.graph.initializer if one.name == name)
    constant.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return model


@pytest.mark.parametrize("names", [("point",), ("depth",), ("point", "depth", "other", "last")])
def test_convolutions_that_are_pruned_whole_leave_the_factors_to_others(names: tuple[str, ...]) -> None:
    model = network()
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for name in names:
        stored_as(model, f"{name}.weight", np.zeros(shapes[f"{name}.weight"]))
    channels = find_channels(model)
    reach = channel_reach(model, channels.tensors, frames()[:, None])
    with np.errstate(all="raise", under="ignore"):
        factors = best_factors(model, channels, reach)
    assert (factors > 0.01).all()
    assert (factors < 100).all()
    assert (factors == 1).all() == (len(names) == 4)
    wanted, seen = (
        Simulation(one, ["logits"])(frames())[0] for one in (model, equalise(model, channels, factors))
    )
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4)


def prepared(model: onnx.ModelProto, images: np.ndarray, stages: Stages) -> tuple[bool, Equalisation | None]:
    """Whether a model is still the same behind :func:`equalise_if_quieter`, and what that found."""
    layers = find_convolutions(model, ["logits"])
    whole = FloatModel(Path("small.onnx"), "", segmenter_manifest(), model, layers)
    made, found = equalise_if_quieter(whole, FakeFrames(images), Settings(), Cache(None), stages)  # type: ignore[arg-type]
    return made is whole, found


def test_the_frame_that_makes_numbers_overflow_is_named() -> None:
    model = stored_as(network(), "first.weight", np.full((4, 3, 3, 3), 1e38))
    images = np.zeros((5, 16, 16, 3), np.uint8)
    images[3] = 255
    words = "tensor deep holds numbers that are not finite on photo 3; the model is broken"
    with pytest.raises(CalibrationError, match=words):
        prepared(model, images, Stages())


def test_weights_without_finite_factors_stay_as_they_are() -> None:
    weights = np.ones((5, 4, 1, 1))
    weights[2, 1] = np.inf
    model = stored_as(network(), "point.weight", weights)
    stages = Stages()
    with np.errstate(invalid="ignore"):
        assert prepared(model, frames(), stages) == (True, None)
    assert stages.opened == ["equalising channels", "finding factors"]
