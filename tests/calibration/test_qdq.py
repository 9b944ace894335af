"""Q/DQ nodes: properties that hold for any weights, and onnxruntime.quantization as the reference."""

from __future__ import annotations

import collections

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edgevision.calibration.qdq import check_qdq, insert_qdq, is_quantised, quantise_weights
from edgevision.calibration.ranges import measure_ranges, thresholds
from edgevision.calibration.simulate import Simulation
from edgevision.errors import CalibrationError
from edgevision.graph.convolutions import Convolution, cut_model, find_convolutions
from tests.support.calibration import images, segmenter_graph


def layers(model: onnx.ModelProto, *names: str) -> list[Convolution]:
    found = [one for one in find_convolutions(model, ["logits"]) if not one.feeds_head]
    return [one for one in found if one.name in names] if names else found


def limits(model: onnx.ModelProto) -> dict[str, float]:
    tensors = [one.data for one in layers(model)]
    return thresholds(measure_ranges(model, tensors, lambda: [images(8)], False), "minmax")


finite = st.floats(-1e4, 1e4, width=32, allow_subnormal=True)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=5), elements=finite)
)
@settings(max_examples=60, deadline=None)
def test_weights_are_within_half_a_step_and_scales_are_positive(weights: np.ndarray) -> None:
    quantised, scales = quantise_weights(weights)
    assert quantised.dtype == np.int8
    assert scales.shape == (len(weights),)
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    assert (np.abs(quantised.astype(int)) <= 127).all()
    wide = scales.astype(np.float64).reshape(-1, 1, 1, 1)
    error = np.abs(quantised * wide - weights.astype(np.float64))
    assert (error <= wide * (0.5 + 1e-4)).all()


def test_a_hand_worked_channel() -> None:
    weights = np.array([[1.27, -0.63, 0.0], [0, 0, 0], [-2.54, 0.03, 0.01]], np.float32).reshape(3, 1, 1, 3)
    quantised, scales = quantise_weights(weights)
    np.testing.assert_allclose(scales, [0.01, 1.0, 0.02], rtol=1e-6)
    # 0.03 / 0.02 is a hair above or below 1.5; both neighbours are half a step away.
    assert quantised.reshape(3, 3)[:2].tolist() == [[127, -63, 0], [0, 0, 0]]
    assert quantised.reshape(3, 3)[2, 0] == -127
    assert quantised.reshape(3, 3)[2, 1] in (1, 2)


def test_one_scale_for_all_channels_is_that_of_the_largest_weight_and_is_written_as_one_number() -> None:
    weights = np.array([[1.27, -0.63], [0, 0], [-2.54, 0.02]], np.float32).reshape(3, 1, 1, 2)
    quantised, scales = quantise_weights(weights, one_scale=True)
    np.testing.assert_allclose(scales, [0.02] * 3, rtol=1e-6)
    assert quantised.reshape(3, 2)[0, 0] in (63, 64), "half a step away from both"
    assert quantised.reshape(3, 2)[1:].tolist() == [[0, 0], [-127, 1]]
    model = segmenter_graph()
    values = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    rounded = {one.weight: quantise_weights(values[one.weight], one_scale=True) for one in layers(model)}
    made = insert_qdq(model, layers(model), limits(model), rounded)
    check_qdq(made, "test")
    onnx.checker.check_model(made, full_check=True)
    dims = {one.name: list(one.dims) for one in made.graph.initializer}
    assert {tuple(dims[f"{weight}/scale"]) for weight in rounded} == {()}
    nodes = [node for node in made.graph.node if node.name in {f"{weight}/dq" for weight in rounded}]
    assert [list(node.attribute) for node in nodes] == [[]] * len(rounded)


def test_q_and_dq_stand_before_convolutions_only() -> None:
    model = segmenter_graph()
    made = insert_qdq(model, layers(model), limits(model))
    onnx.checker.check_model(made, full_check=True)
    check_qdq(made, "test")
    counts = collections.Counter(node.op_type for node in made.graph.node)
    assert counts["QuantizeLinear"] == 4  # one for each tensor that is read
    assert counts["DequantizeLinear"] == 8  # and one for each weight
    makers = {name: node for node in made.graph.node for name in node.output}
    for node in made.graph.node:
        if node.op_type == "QuantizeLinear":
            assert makers[node.input[0]].op_type != "Conv" or node.input[0] == "deep", (
                "the convolution's activation would be cut off"
            )
    for name in ("stem", "wide", "deep", "mix"):
        convolution = makers[name]
        assert makers[convolution.input[0]].op_type == "DequantizeLinear"
        assert makers[convolution.input[1]].op_type == "DequantizeLinear"
        assert convolution.input[2] == f"{name}.bias", "biases stay float: TensorRT refuses int32"
    assert makers["logits"].input[1] == "logits.weight"
    # The residual reads what the convolution reads, so the tensor exists once.
    assert makers["total"].input[1] == makers["wide"].input[0]
    weights = {constant.name for constant in made.graph.initializer}
    assert "stem.weight" not in weights
    assert [one.name for one in made.graph.output] == ["class_map"]


def test_a_convolution_in_float_reads_the_float_tensor() -> None:
    model = segmenter_graph()
    # A second reader of the stem's activation, which stays float.
    extra = onnx.helper.make_node("Conv", ["core/LeakyRelu_1", "mix.weight"], ["side"])
    model.graph.node.insert(len(model.graph.node) - 3, extra)
    made = insert_qdq(model, layers(model, "wide", "mix"), limits(model))
    makers = {name: node for node in made.graph.node for name in node.output}
    assert makers["side"].input[0] == "core/LeakyRelu_1"
    assert makers["side"].input[1] == "mix.weight", "shared weights are kept for who reads them in float"
    assert makers["wide"].input[0] == "core/LeakyRelu_1/dq"
    assert makers["mix"].input[1] == "mix.weight/dq"


def test_the_numbers_are_those_of_onnxruntime_quantization() -> None:
    model, held = segmenter_graph(seed=3), limits(segmenter_graph(seed=3))
    chosen = [one.name for one in layers(model)]
    names = [node.name for node in model.graph.node if node.output[0] in chosen]
    ranges = {name: (np.float32(-limit), np.float32(limit)) for name, limit in held.items()}
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": ["Conv"],
    }
    reference = QDQQuantizer(
        segmenter_graph(seed=3), True, False, QuantType.QInt8, QuantType.QInt8,
        TensorsData(CalibrationMethod.MinMax, ranges), names, [], ["Conv"], options,
    ).quantize_model()  # fmt: skip
    theirs = {one.name: numpy_helper.to_array(one) for one in reference.graph.initializer}
    ours = insert_qdq(model, layers(model), held)
    mine = {one.name: numpy_helper.to_array(one) for one in ours.graph.initializer}
    for layer in layers(model):
        np.testing.assert_array_equal(mine[f"{layer.weight}/int8"], theirs[f"{layer.weight}_quantized"])
        np.testing.assert_allclose(mine[f"{layer.weight}/scale"], theirs[f"{layer.weight}_scale"], rtol=1e-6)
        np.testing.assert_allclose(mine[f"{layer.data}/scale"], theirs[f"{layer.data}_scale"], rtol=1e-6)
        assert theirs[f"{layer.data}_zero_point"] == mine[f"{layer.data}/zero"] == 0
    wrapped = ONNXModel(reference)
    wrapped.topological_sort()
    told, wanted = (
        Simulation(cut_model(one, ["logits"]), ["logits"])(images(4, seed=9))[0]
        for one in (ours, wrapped.model)
    )
    np.testing.assert_allclose(told, wanted, atol=1e-4)


@given(st.floats(0, 1e6), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_any_range_gives_positive_scales_and_zero_points_of_zero(limit: float, seed: int) -> None:
    model = segmenter_graph(seed)
    chosen = layers(model)
    made = insert_qdq(model, chosen, dict.fromkeys([one.data for one in chosen], limit))
    check_qdq(made, "test")
    for constant in made.graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.name.endswith("/scale"):
            assert (values > 0).all()
        if constant.name.endswith("/zero"):
            assert values.dtype == np.int8
            assert not values.any()


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1.0])
def test_impossible_ranges_are_refused(limit: float) -> None:
    model = segmenter_graph()
    chosen = layers(model)
    with pytest.raises(CalibrationError, match="expected a finite one"):
        insert_qdq(model, chosen, dict.fromkeys([one.data for one in chosen], limit))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("images/scale", np.float32(0), "not positive"),
        ("stem.weight/scale", np.full(8, np.nan, np.float32), "not positive"),
        ("images/zero", np.int8(3), "not int8 zeros"),
        ("images/zero", np.uint8(0), "not int8 zeros"),
        ("stem.weight/zero", np.zeros(3, np.int8), "not int8 zeros"),
    ],
)
def test_the_check_finds_what_tensorrt_refuses(name: str, value: np.ndarray, message: str) -> None:
    model = segmenter_graph()
    made = insert_qdq(model, layers(model), limits(model))
    for constant in made.graph.initializer:
        if constant.name == name:
            constant.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    with pytest.raises(CalibrationError, match=message):
        check_qdq(made, "test")


def test_the_check_finds_a_wrong_axis() -> None:
    model = segmenter_graph()
    made = insert_qdq(model, layers(model), limits(model))
    for node in made.graph.node:
        if node.output[0] == "wide.weight/dq":
            node.attribute[0].i = 1
    with pytest.raises(CalibrationError, match="wrong axis"):
        check_qdq(made, "test")


def test_a_quantised_graph_is_recognised() -> None:
    model = segmenter_graph()
    assert not is_quantised(model)
    assert is_quantised(insert_qdq(model, layers(model, "mix"), limits(model)))


def test_equal_inputs_give_equal_bytes() -> None:
    first, second = (
        insert_qdq(segmenter_graph(), layers(segmenter_graph()), limits(segmenter_graph())) for _ in range(2)
    )
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
