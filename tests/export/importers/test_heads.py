"""Heads of networks that sort their own answers are the dense tensors before that."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.export.importers.heads import dense_heads


def network(after: list[onnx.NodeProto], output: str) -> onnx.ModelProto:
    """A convolution whose map is scored, sorted, and then goes through ``after``."""
    values = {
        "w": np.ones((5, 3, 8, 8), np.float32),
        "flat": np.array([1, 5, -1]),
        "parts": np.array([4, 1]),
        "k": np.array([10]),
        "weights": np.ones((10, 10), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["map"], strides=[8, 8]),
        helper.make_node("Reshape", ["map", "flat"], ["rows"]),
        helper.make_node("Split", ["rows", "parts"], ["boxes", "logits"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["best", "index"], axis=2),
        *after,
    ]
    graph = helper.make_graph(
        nodes,
        "sorted",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def test_what_is_sorted_at_the_end_has_its_heads_before():
    gather = helper.make_node("GatherElements", ["boxes", "wide"], ["chosen"], axis=2)
    wide = helper.make_node("Concat", ["index", "index", "index", "index"], ["wide"], axis=1)
    model = network([wide, gather], "chosen")
    assert dense_heads(model, ["chosen"]) == ("boxes", "scores")


def test_a_network_that_goes_on_after_sorting_has_them_before_too():
    """As a transformer that chooses its queries: near the last place FP16 chooses others."""
    model = network([helper.make_node("MatMul", ["best", "weights"], ["answers"])], "answers")
    assert dense_heads(model, ["answers"]) == ("scores",)


def test_what_follows_from_the_size_of_the_image_is_no_head():
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"], start=2),
        helper.make_node("Cast", ["shape"], ["size"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["size"], ["side"], keepdims=0),
        helper.make_node("Mul", ["best", "side"], ["answers"]),
    ]
    assert dense_heads(network(nodes, "answers"), ["answers"]) == ("scores",)


def test_of_the_outputs_the_float_ones_are_heads():
    model = network([], "scores")
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("Cast", ["scores"], ["labels"], to=TensorProto.INT64))
    assert dense_heads(model, ["labels", "scores"]) == ("scores",)


def test_a_network_that_does_not_sort_keeps_its_outputs():
    model = network([], "scores")
    del model.graph.node[-1]
    assert dense_heads(model, ["scores", "boxes"]) == ("scores", "boxes")
