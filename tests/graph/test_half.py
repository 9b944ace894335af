"""FP16 by the operators' own schemas: small graphs whose types and numbers are worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ExportError
from edgevision.graph.half import LARGEST, to_half
from edgevision.graph.network import core_nodes, element_types

F = np.float32
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def build(
    core: list[onnx.NodeProto],
    constants: dict[str, NDArray],
    shape: tuple[int, ...] = (1, 2, 4, 4),
    opset: int = 19,
) -> onnx.ModelProto:
    """``frames`` times 2 (preprocessing), the core from ``images`` to ``head``, and ``head`` plus 2."""
    nodes = [
        helper.make_node("Mul", ["frames", "gain"], ["images"], name="pre/Mul"),
        *core,
        helper.make_node("Add", ["head", "gain"], ["answer"], name="post/Add"),
    ]
    constants = {"gain": np.array(2, F), **constants}
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("frames", FLOAT, shape)],
        [helper.make_tensor_value_info("answer", FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def convert(
    model: onnx.ModelProto, **peaks: float
) -> tuple[onnx.ModelProto, tuple[str, ...], dict[str, int]]:
    half, notes = to_half(model, ("head",), peaks)
    onnx.checker.check_model(half, full_check=True)
    return half, notes, element_types(half)


def run(model: onnx.ModelProto, frames: NDArray) -> NDArray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"frames": frames})[0]


def frames(seed: int = 0) -> NDArray:
    return np.random.default_rng(seed).normal(size=(1, 2, 4, 4)).astype(F)


def casts(model: onnx.ModelProto) -> list[tuple[str, str, int]]:
    return [(n.input[0], n.output[0], n.attribute[0].i) for n in model.graph.node if n.op_type == "Cast"]


def kernel(value: float = 0.25) -> NDArray:
    return np.full((2, 2, 1, 1), value, F)


def convolution(**constants: NDArray) -> onnx.ModelProto:
    node = helper.make_node("Conv", ["images", "w", "b"], ["head"], name="conv")
    return build([node], {"w": kernel(), "b": np.array([1, -1], F), **constants})


def test_the_core_is_half_its_borders_are_cast_and_the_rest_is_untouched() -> None:
    model = convolution()
    half, notes, types = convert(model)
    assert notes == ()
    assert casts(half) == [("images", "images/float16", HALF), ("head", "head/float32", FLOAT)]
    assert [types[name] for name in ("images", "head", "w", "b", "gain", "answer")] == [
        FLOAT, HALF, HALF, HALF, FLOAT, FLOAT,
    ]  # fmt: skip
    assert [value.name for value in half.graph.input] == ["frames"]
    assert [value.name for value in half.graph.output] == ["answer"]
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3, atol=2e-3)
    assert element_types(model)["w"] == FLOAT, "the model that was given has changed"


def test_equal_models_give_equal_files() -> None:
    first, second = (convert(convolution())[0].SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_only_what_a_schema_allows_becomes_half() -> None:
    """Resize takes FP32 scales, whatever its data; Constant, ConstantOfShape and Cast say their own type."""
    values = numpy_helper.from_array(np.array([0.5], F))
    one = numpy_helper.from_array(np.array([1.5], F))
    nodes = [
        helper.make_node("Constant", [], ["scales"], value_floats=[1.0, 1.0, 2.0, 2.0], name="scales"),
        helper.make_node("Resize", ["images", "", "scales"], ["large"], name="resize", mode="nearest"),
        helper.make_node("Constant", [], ["one"], value=one, name="one"),
        helper.make_node("Shape", ["large"], ["size"], name="shape"),
        helper.make_node("ConstantOfShape", ["size"], ["halves"], name="fill", value=values),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"], name="zeros"),
        helper.make_node("ArgMax", ["large"], ["best"], name="best", axis=1, keepdims=1),
        helper.make_node("Cast", ["best"], ["number"], name="number", to=FLOAT),
        helper.make_node("Sum", ["large", "halves", "zeros", "number", "one"], ["head"], name="sum"),
    ]
    model = build(nodes, {})
    half, notes, types = convert(model)
    assert notes == ()
    assert {types[name] for name in ("large", "halves", "zeros", "number", "one", "head")} == {HALF}
    assert types["scales"] == FLOAT
    assert len(casts(half)) == 3, "one in, one out, and the model's own"
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3, atol=2e-3)


def test_an_operator_without_half_stays_in_float_between_casts() -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["a"], name="relu"),
        helper.make_node("Add", ["a", "a"], ["head"], name="head"),
    ]
    model = build(nodes, {})
    foreign = helper.make_node("Gelu", ["a"], ["g"], name="gelu", domain="com.microsoft")
    model.graph.node.insert(2, foreign)
    model.graph.node[3].input[1] = "g"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.value_info.append(helper.make_tensor_value_info("g", FLOAT, [1, 2, 4, 4]))
    half, notes = to_half(model, ("head",))
    assert notes == ("gelu (Gelu) stays in FP32: it is not a standard operator",)
    assert ("a", "a/float32", FLOAT) in casts(half)
    assert ("g", "g/float16", HALF) in casts(half)
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3, atol=2e-3)


def test_a_constant_that_both_sides_read_exists_in_both_types() -> None:
    model = build([helper.make_node("Mul", ["images", "gain"], ["head"], name="core_mul")], {})
    half, _, types = convert(model)
    assert (types["gain"], types["gain/float16"]) == (FLOAT, HALF)
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3)


@pytest.mark.parametrize(
    ("operator", "value", "reason"),
    [
        ("Mul", 70000.0, "k holds 7e+04, beyond FP16's 65504"),
        ("Mul", -1e9, "k holds 1e+09, beyond FP16's 65504"),
        ("Div", 1e-9, "k holds 1e-09, which FP16 rounds to zero"),
    ],
)
def test_numbers_outside_half_keep_their_node_in_float(operator: str, value: float, reason: str) -> None:
    nodes = [
        helper.make_node(operator, ["images", "k"], ["a"], name="danger"),
        helper.make_node("Tanh", ["a"], ["head"], name="tanh"),
    ]
    model = build(nodes, {"k": np.array(value, F)})
    half, notes, types = convert(model)
    assert notes == (f"danger ({operator}) stays in FP32: {reason}",)
    assert (types["k"], types["a"], types["head"]) == (FLOAT, FLOAT, HALF)
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3)


@pytest.mark.parametrize(
    ("value", "fits"), [(65504.0, True), (65505.0, False), (2.0**-24, True), (0.0, True)]
)
def test_the_limits_of_half_are_its_own(value: float, fits: bool) -> None:
    model = build([helper.make_node("Mul", ["images", "k"], ["head"], name="m")], {"k": np.array(value, F)})
    assert (convert(model)[1] == ()) == fits


def test_weights_beyond_half_keep_the_convolution_in_float_and_vanishing_ones_do_not() -> None:
    notes = convert(convolution(w=kernel(1e5)))[1]
    assert notes == ("conv (Conv) stays in FP32: w holds 1e+05, beyond FP16's 65504",)
    model = convolution(b=np.array([3e-8, 0], F) / 2)
    half, notes, types = convert(model)
    assert (notes, types["b"]) == ((), HALF)
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3, atol=2e-3)


def test_the_bounds_of_a_clip_end_where_half_ends() -> None:
    clip = helper.make_node("Clip", ["images", "low", "high"], ["head"], name="clip")
    bounds = {"low": np.array(-np.inf, F), "high": np.array(np.finfo(F).max)}
    model = build([clip], bounds)
    half, notes, _ = convert(model)
    stored = {c.name: numpy_helper.to_array(c) for c in half.graph.initializer}
    assert notes == ()
    assert stored["high"] == LARGEST == 65504
    assert stored["low"] == -np.inf
    np.testing.assert_allclose(run(half, frames()), run(model, frames()), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("peak", "kept"), [(32000.0, False), (33000.0, True), (1e6, True)])
def test_layers_that_reach_too_far_stay_in_float(peak: float, kept: bool) -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="second"),
        helper.make_node("Tanh", ["b"], ["head"], name="third"),
    ]
    _, notes, types = convert(build(nodes, {"w": kernel()}), b=peak)
    assert [note.split()[0] for note in notes] == (["second", "third"] if kept else [])
    if kept:
        assert f"b reaches {peak:.4g}, too near to FP16's 65504" in notes[0]
    assert (types["a"], types["b"]) == (HALF, FLOAT if kept else HALF)


def quantised(scale: float, weight_scales: NDArray, opset: int = 19) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], name="wd", axis=0),
        helper.make_node("Conv", ["d", "wd"], ["head"], name="conv"),
    ]
    weights = np.array([[127, -64], [100, 3]], np.int8).reshape(2, 2, 1, 1)
    constants = {
        "s": np.array(scale, F),
        "z": np.array(0, np.int8),
        "w": weights,
        "ws": weight_scales.astype(F),
        "wz": np.zeros(2, np.int8),
    }
    return build(nodes, constants, opset=opset)


def test_what_is_quantised_stays_so_with_half_scales() -> None:
    model = quantised(0.03, np.array([0.01, 0.002]))
    half, notes, types = convert(model)
    assert notes == ()
    assert (types["q"], types["w"], types["s"], types["ws"], types["head"]) == (
        TensorProto.INT8, TensorProto.INT8, HALF, HALF, HALF,
    )  # fmt: skip
    before, after = ({c.name: numpy_helper.to_array(c) for c in m.graph.initializer} for m in (model, half))
    np.testing.assert_array_equal(before["w"], after["w"])
    # A step of the input may go the other way at its edge, and costs one scale times the weights.
    assert np.abs(run(half, frames()) - run(model, frames())).max() < 0.03 * 1.27 * 1.5 + 0.01


def test_below_opset_19_scales_stay_in_float() -> None:
    half, _, types = convert(quantised(0.03, np.array([0.01, 0.002]), opset=17))
    assert (types["s"], types["ws"], types["d"], types["head"]) == (FLOAT, FLOAT, FLOAT, HALF)
    assert ("d", "d/float16", HALF) in casts(half)


def test_scales_below_half_are_raised_and_their_weights_quantised_anew() -> None:
    """2**-24 is FP16's smallest step: 4.2 of them become 5, and 100 * 4.2 / 5 is 84."""
    tiny = 2.0**-24
    model = quantised(0.03, np.array([0.01, 4.2 * tiny]))
    half, notes, _ = convert(model)
    stored = {c.name: numpy_helper.to_array(c) for c in half.graph.initializer}
    assert notes == ()
    assert stored["ws"].dtype == np.float16
    assert float(stored["ws"][1]) == 5 * tiny
    assert stored["w"].reshape(2, 2).tolist() == [[127, -64], [84, 3]]
    for scale in (tiny / 100, 1e-30):
        stored = {
            c.name: numpy_helper.to_array(c)
            for c in convert(quantised(scale, np.full(2, scale)))[0].graph.initializer
        }
        assert float(stored["s"]) == tiny, "a scale of 0 is refused by every compiler"
        assert (stored["ws"] == tiny).all()
        assert np.abs(stored["w"]).max() <= 2


def test_what_cannot_become_half_is_refused_in_one_line() -> None:
    with pytest.raises(ExportError, match=r"head tensors that are not in the graph: nothing; export"):
        to_half(convolution(), ("nothing",))
    half = convert(convolution())[0]
    with pytest.raises(ExportError, match="holds no FP32 tensor, so it is FP16 already"):
        to_half(half, ("head",))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, None)],
    )
    choice = helper.make_node("If", ["yes"], ["head"], name="choice", then_branch=branch, else_branch=branch)
    with pytest.raises(ExportError, match=r"choice \(If\) holds graphs of its own"):
        to_half(build([choice], {"yes": np.array(True)}), ("head",))


def test_the_core_lies_between_preprocessing_and_heads() -> None:
    model = convolution()
    assert [model.graph.node[i].name for i in core_nodes(model.graph, ("head",))] == ["conv"]
