"""Weights written in other ways than as initializers, and what they come to."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.graph.constants import MOVES, fold_constants

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.GraphProto:
    """``y = x @ w``, with ``w`` made by ``nodes``."""
    return helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def weight(found: onnx.GraphProto) -> np.ndarray:
    (only,) = found.initializer
    assert only.name == "w"
    assert [node.op_type for node in found.node] == ["MatMul"]
    return numpy_helper.to_array(only)


def test_a_constant_node_becomes_an_initializer() -> None:
    found = graph(helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT)))
    fold_constants(found, 19)
    np.testing.assert_array_equal(weight(found), WEIGHT)


def test_what_moves_or_casts_a_constant_is_computed() -> None:
    found = graph(
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["w"], perm=[1, 0]),
        a=WEIGHT.T.astype(np.float16),
    )
    fold_constants(found, 19)
    np.testing.assert_array_equal(weight(found), WEIGHT)


@pytest.mark.parametrize(("moves", "folded"), [(MOVES, False), ((*MOVES, "DequantizeLinear"), True)])
def test_int8_stays_int8_unless_asked_for(moves: tuple[str, ...], folded: bool) -> None:
    found = graph(
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=1),
        q=np.array([[1, 2, 3], [4, 5, 6]], np.int8),
        scale=np.array([1, 0.5, 2], np.float32),
        zero=np.zeros(3, np.int8),
    )
    fold_constants(found, 19, moves)
    if folded:
        np.testing.assert_array_equal(weight(found), [[1, 1, 6], [4, 2.5, 12]])
    else:
        assert [node.op_type for node in found.node] == ["DequantizeLinear", "MatMul"]


def test_what_is_computed_from_the_input_stays() -> None:
    found = graph(helper.make_node("Transpose", ["x"], ["w"], perm=[1, 0]))
    before = found.SerializeToString()
    fold_constants(found, 19)
    assert found.SerializeToString() == before
