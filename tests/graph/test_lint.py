"""What TensorRT refuses is refused by us first; where its parser is installed, it is asked too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ExportError
from edgevision.graph.lint import GraphProblem, check_tensorrt, require_tensorrt
from edgevision.zoo import list_models

F = np.float32
WEIGHTS = np.ones((4, 3, 1, 1), np.int8)
ZERO = np.int8(0)


def build(
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray],
    element: int = TensorProto.FLOAT,
    domain: str = "",
) -> onnx.ModelProto:
    """A model from ``x`` float [1, 3, 8, 8] to ``y``."""
    graph = helper.make_graph(
        nodes,
        "lint",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 19), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def quantised(
    *,
    scale: NDArray | float = 0.1,
    zero: NDArray | np.generic = ZERO,
    weights: NDArray = WEIGHTS,
    weight_scale: NDArray | None = None,
    weight_zero: NDArray | None = None,
    bias: NDArray | None = None,
) -> onnx.ModelProto:
    """One convolution between Q/DQ nodes, as quantisers write it."""
    constants = {
        "scale": np.asarray(scale, F),
        "zero": np.asarray(zero),
        "w": weights,
        "w_scale": np.full(4, 0.01, F) if weight_scale is None else weight_scale,
        "w_zero": np.zeros(4, weights.dtype) if weight_zero is None else weight_zero,
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"], name="x/q"),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], name="x/dq"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], name="w/dq", axis=0),
    ]
    if bias is not None:
        constants |= {"b": bias, "b_scale": np.full(4, 0.001, F), "b_zero": np.zeros(4, bias.dtype)}
        nodes.append(
            helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["bd"], name="b/dq", axis=0)
        )
    nodes.append(
        helper.make_node("Conv", ["xd", "wd", *(["bd"] if bias is not None else [])], ["y"], name="c")
    )
    return build(nodes, constants)


def integer_convolution() -> onnx.ModelProto:
    numbers = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *numbers], ["q"], name="x/q"),
        helper.make_node(
            "QLinearConv", ["q", *numbers, "w", *numbers, *numbers], ["c"], name="integer_convolution"
        ),
        helper.make_node("DequantizeLinear", ["c", *numbers], ["y"], name="y/dq"),
    ]
    return build(nodes, {"s": np.array(0.1, F), "z": np.array(0, np.int8), "w": WEIGHTS})


def dynamic() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="range"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="y/dq"),
    ]
    return build(nodes, {})


def foreign_operator() -> onnx.ModelProto:
    node = helper.make_node("FusedConv", ["x", "w"], ["y"], name="fused", domain="com.microsoft")
    return build([node], {"w": WEIGHTS.astype(F)}, domain="com.microsoft")


def nonzero() -> onnx.ModelProto:
    return build([helper.make_node("NonZero", ["x"], ["y"], name="where")], {}, TensorProto.INT64)


def suppression() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["x", "box_shape"], ["boxes"], name="boxes"),
        helper.make_node("ReduceMax", ["boxes", "last"], ["best"], name="best", keepdims=0),
        helper.make_node("Unsqueeze", ["best", "first"], ["scores"], name="scores"),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["y"], name="nms"),
    ]
    constants = {
        "box_shape": np.array([1, -1, 4]),
        "last": np.array([2]),
        "first": np.array([1]),
        "most": np.array([5]),
        "iou": np.array([0.5], F),
    }
    return build(nodes, constants, TensorProto.INT64)


def regions() -> onnx.ModelProto:
    node = helper.make_node("RoiAlign", ["x", "boxes", "images"], ["y"], name="pool")
    return build([node], {"boxes": np.array([[0, 0, 4, 4]], F), "images": np.array([0])})


def condition(other: str = "Squeeze", computed: bool = True) -> onnx.ModelProto:
    branches = [
        helper.make_graph(
            [helper.make_node(operator, ["x", *extra], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for operator, extra, name in (
            ("Identity", [], "then"),
            (other, ["axis"] if other == "Squeeze" else [], "else"),
        )
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["peak"], name="peak", keepdims=0),
        helper.make_node("Cast", ["peak"], ["is_bright"], name="is_bright", to=TensorProto.BOOL),
    ]
    choice = helper.make_node(
        "If",
        ["is_bright" if computed else "yes"],
        ["y"],
        name="choice",
        then_branch=branches[0],
        else_branch=branches[1],
    )
    constants = {"axis": np.array([0]), "yes": np.array(True)}
    return build([*(nodes if computed else []), choice], constants)


# What the parser itself refuses: how to make it, the node that is named, and what is said of it.
PARSER: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "int32 bias": (lambda: quantised(bias=np.ones(4, np.int32)), "b/dq", "dequantises int32"),
    "zero point": (lambda: quantised(zero=np.int8(3)), "x/q", "a zero point of 3"),
    "one channel's zero point": (
        lambda: quantised(weight_zero=np.array([0, -7, 0, 0], np.int8)),
        "w/dq",
        "a zero point of -7",
    ),
    "uint8 with its usual zero point": (lambda: quantised(zero=np.uint8(128)), "x/q", "a zero point of 128"),
    "uint8 weights": (lambda: quantised(weights=WEIGHTS.astype(np.uint8)), "w/dq", "uint8 weights"),
    "QLinearConv": (integer_convolution, "integer_convolution", "an operator on integers"),
    "DynamicQuantizeLinear": (dynamic, "range", "an operator on integers"),
    "int16": (lambda: quantised(zero=np.int16(0)), "x/q", "16-bit integers"),
    "int16 weights": (lambda: quantised(weights=WEIGHTS.astype(np.int16)), "w/dq", "16-bit integers"),
    "a scale of 0": (lambda: quantised(scale=0.0), "x/q", "a scale of 0;"),
    "one channel's scale of 0": (
        lambda: quantised(weight_scale=np.array([0.1, 0, 0.1, 0.1], F)),
        "w/dq",
        "a scale of 0;",
    ),
    "a negative scale": (lambda: quantised(scale=-0.5), "x/q", "a scale of -0.5"),
    "a scale that is no number": (lambda: quantised(scale=np.nan), "x/q", "a scale of nan"),
    "foreign operator": (foreign_operator, "fused", "an operator of com.microsoft"),
    "NonZero": (nonzero, "where", "depends on the data"),
    "RoiAlign": (regions, "pool", "a plugin in TensorRT"),
}
# What the parser takes and the builder of TensorRT for RTX refuses.
BUILDER: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "NonMaxSuppression": (suppression, "nms", "depends on the data"),
    "If": (condition, "choice", "different or unknown rank"),
}
ACCEPTED: dict[str, Callable[[], onnx.ModelProto]] = {
    "our form": quantised,
    "int8 bias": lambda: quantised(bias=np.ones(4, np.int8)),
    "If with a fixed condition": lambda: condition(computed=False),
    "If with branches alike": lambda: condition("Neg"),
}


def product(operator: str, element: int) -> onnx.ModelProto:
    """Rows of 8 numbers times 8x8 others, in one type."""
    kind = helper.tensor_dtype_to_np_dtype(element)
    rows = [helper.make_node("Cast", ["x"], ["typed"], name="typed", to=element)]
    rows += [helper.make_node("Reshape", ["typed", "sizes"], ["rows"], name="rows")]
    settings = {"equation": "ij,jk->ik"} if operator == "Einsum" else {}
    nodes = [*rows, helper.make_node(operator, ["rows", "w"], ["y"], name="product", **settings)]
    return build(nodes, {"sizes": np.array([24, 8]), "w": np.eye(8, dtype=kind)}, element)


@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Einsum"])
def test_products_in_float_are_refused_for_rtx_20_alone(operator: str) -> None:
    single, half = (product(operator, kind) for kind in (TensorProto.FLOAT, TensorProto.FLOAT16))
    (problem,) = check_tensorrt(single, compute_capability="7.5")
    assert (problem.node, problem.operator) == ("product", operator)
    assert "FP32, which TensorRT for RTX cannot build for RTX 20" in problem.text
    assert check_tensorrt(half, compute_capability="7.5") == []
    assert check_tensorrt(single, compute_capability="8.6") == check_tensorrt(single) == []
    assert check_tensorrt(single, "tensorrt", "7.5") == []
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    for model, capability, is_built in (
        (single, "SM75", False), (half, "SM75", True), (single, "SM86", True)
    ):  # fmt: skip
        assert is_built_by_nvidia(trt, model, capability) == is_built


@pytest.mark.parametrize("form", PARSER | BUILDER)
def test_each_form_is_refused_with_its_node(form: str) -> None:
    make, node, text = (PARSER | BUILDER)[form]
    problems = check_tensorrt(make())
    assert problems, "nothing was found"
    assert problems[0].node == node
    assert text in problems[0].text
    with pytest.raises(ExportError, match=r"^street\.onnx: TensorRT would refuse ") as caught:
        require_tensorrt(make(), "street.onnx")
    assert node in str(caught.value)
    assert "\n" not in str(caught.value)


def is_built_by_nvidia(trt: Any, model: onnx.ModelProto, compute_capability: str) -> bool:
    """Whether the builder of TensorRT for RTX makes a plan of what its parser takes."""
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString())
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, compute_capability), 0)
    return builder.build_serialized_network(network, config) is not None


@pytest.mark.parametrize("form", ACCEPTED)
def test_what_tensorrt_takes_is_not_refused(form: str) -> None:
    assert check_tensorrt(ACCEPTED[form]()) == []
    require_tensorrt(ACCEPTED[form](), "street.onnx")


def test_tensorrt_itself_takes_what_only_rtx_refuses() -> None:
    for make in (suppression, nonzero, regions, condition):
        assert check_tensorrt(make(), "tensorrt") == []
        assert len(check_tensorrt(make(), "tensorrt-rtx")) == 1


def test_every_problem_is_listed_and_the_message_counts_them() -> None:
    model = quantised(scale=0.0, zero=np.int8(1), bias=np.ones(4, np.int32))
    assert [problem.node for problem in check_tensorrt(model)] == ["x/q", "x/q", "x/dq", "x/dq", "b/dq"]
    with pytest.raises(ExportError, match=r"\(and 4 more: 'edgevision inspect' lists them\)$"):
        require_tensorrt(model, "street.onnx")


def test_constants_in_nodes_are_seen_and_nameless_nodes_are_named_by_their_output() -> None:
    model = quantised(zero=np.int8(5))
    constant = next(value for value in model.graph.initializer if value.name == "zero")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["zero"], value=constant))
    model.graph.initializer.remove(constant)
    model.graph.node[1].name = ""
    first = check_tensorrt(model)[0]
    assert first == GraphProblem("xq", "QuantizeLinear", first.text)
    assert str(first).startswith("xq (QuantizeLinear): a zero point of 5")


@pytest.mark.parametrize("name", [model.name for model in list_models()])
def test_what_ships_is_clean(name: str) -> None:
    path = next(model.path for model in list_models() if model.name == name)
    assert check_tensorrt(onnx.load(path)) == []


@pytest.mark.parametrize("form", [*PARSER, *ACCEPTED])
def test_nvidias_parser_agrees(form: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    make = ACCEPTED[form] if form in ACCEPTED else PARSER[form][0]
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(make().SerializeToString()) == (form in ACCEPTED)


@pytest.mark.parametrize("form", [*BUILDER, *ACCEPTED])
def test_nvidias_builder_agrees(form: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    make = ACCEPTED[form] if form in ACCEPTED else BUILDER[form][0]
    assert is_built_by_nvidia(trt, make(), "SM89") == (form in ACCEPTED)
