"""Channels are followed to all that read them: small graphs, node by node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.channels import Channels, find_channels
from tests.calibration.test_equalise import network


def graph(nodes: Sequence[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    """``a`` makes 4 channels of x and ``b`` another 4; whatever makes ``end`` is read by ``last``."""
    weights = {name: np.zeros((4, 2, 1, 1), np.float32) for name in ("a.weight", "b.weight")}
    stored = {**weights, **constants}
    made = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "a.weight"], ["a"]),
            helper.make_node("Conv", ["x", "b.weight"], ["b"]),
            *nodes,
            helper.make_node("Conv", ["end", "last.weight"], ["y"]),
        ],
        "channels",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(one, name) for name, one in stored.items()],
    )
    return helper.make_model(made)


def branching(tensor: str, operator: str = "Identity") -> onnx.NodeProto:
    """An If whose two branches read a tensor from outside."""
    branches = [
        helper.make_graph(
            [helper.make_node(operator, [tensor], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name in ("then", "else")
    ]
    return helper.make_node("If", ["bright"], ["seen"], then_branch=branches[0], else_branch=branches[1])


def dense(channels: int) -> np.ndarray:
    return np.zeros((3, channels, 1, 1), np.float32)


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.int64)


def read(found: Channels, weight: str = "last.weight") -> list[int]:
    return next(one for one in found.readers if one.weight == weight).channels.tolist()


def test_activations_and_pools_are_followed_and_a_channel_that_two_read_has_one_factor() -> None:
    found = find_channels(network())
    assert [(one.weight, one.bias) for one in found.makers] == [
        ("first.weight", "first.bias"),
        ("depth.weight", "depth.bias"),
        ("other.weight", ""),
        ("point.weight", ""),
    ]
    kinds = {one.weight: (one.is_depthwise, one.tensor, one.channels.tolist()) for one in found.readers}
    assert kinds == {
        "depth.weight": (True, "pooled", [0, 1, 2, 3]),
        "point.weight": (False, "pooled", [0, 1, 2, 3]),
        "other.weight": (False, "deep", [4, 5, 6, 7]),
        "last.weight": (False, "positive", [8, 9, 10, 11, 12]),  # a sum ties what both of its sides make
    }
    assert found.count == 13
    assert found.tensors == ("deep", "pooled", "positive")


@pytest.mark.parametrize(
    ("extra", "outputs"),
    [
        ([], ["logits", "pooled"]),  # somebody sees the channels
        ([helper.make_node("Sigmoid", ["active"], ["seen"])], ["logits", "seen"]),
        ([helper.make_node("Clip", ["first"], ["seen"])], ["logits", "seen"]),  # ReLU6 does not commute
        ([helper.make_node("Conv", ["images", "first.weight"], ["seen"])], ["logits", "seen"]),  # shared
        ([helper.make_node("Mul", ["depth.weight", "scale"], ["seen"])], ["logits", "seen"]),
        ([branching("active", "Sigmoid")], ["logits", "seen"]),
        ([branching("first")], ["logits", "seen"]),
        ([branching("first.weight")], ["logits", "seen"]),
        ([branching("depth.weight")], ["logits", "seen"]),
    ],
)
def test_channels_that_something_else_depends_on_are_left_alone(
    extra: list[onnx.NodeProto], outputs: list[str]
) -> None:
    assert "first.weight" not in [one.weight for one in find_channels(network(extra, outputs)).makers]


def test_a_shuffle_moves_channels() -> None:
    """Two groups of four, interleaved: a0 b0 a1 b1 ... ; then the second half of them."""
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["both"], axis=1),
        helper.make_node("Reshape", ["both", "apart"], ["groups"]),
        helper.make_node("Transpose", ["groups"], ["turned"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["turned", "together"], ["mixed"]),
        helper.make_node("Split", ["mixed", "halves"], ["rest", "end"], axis=1),
    ]
    model = graph(
        nodes,
        apart=numbers(-1, 2, 4, 8, 8),
        together=numbers(-1, 8, 8, 8),
        halves=numbers(4, 4),
        **{"last.weight": dense(4)},
    )
    found = find_channels(model)
    assert found.count == 4
    assert read(found) == [0, 2, 1, 3]  # a2 b2 a3 b3
    assert [one.channels.tolist() for one in found.makers] == [[-1, -1, 0, 1], [-1, -1, 2, 3]]


@pytest.mark.parametrize(
    ("node", "channels", "free"),
    [
        (helper.make_node("Concat", ["a", "b"], ["end"], axis=1), 8, 8),
        (helper.make_node("Concat", ["a", "b"], ["end"], axis=-3), 8, 8),
        (helper.make_node("Concat", ["a", "b"], ["end"], axis=2), 4, 0),
        (helper.make_node("Add", ["a", "b"], ["end"]), 4, 4),
        (helper.make_node("Add", ["a", "shift"], ["end"]), 4, 0),  # a constant does not grow with it
        (helper.make_node("Mul", ["a", "b"], ["end"]), 4, 0),
        (helper.make_node("Resize", ["a", "", "twice"], ["end"], mode="linear"), 4, 4),
        (helper.make_node("Resize", ["a", "", "channels"], ["end"], mode="nearest"), 8, 0),
        (helper.make_node("Transpose", ["a"], ["end"], perm=[0, 1, 3, 2]), 4, 0),
        (helper.make_node("Reshape", ["a", "flat"], ["end"]), 2, 0),
        (helper.make_node("Split", ["a", "uneven"], ["other", "end"], axis=1), 3, 3),
        (helper.make_node("Split", ["a"], ["other", "end"], axis=1), 2, 2),
        (helper.make_node("Softmax", ["a"], ["end"], axis=1), 4, 0),
    ],
)
def test_what_keeps_a_factor(node: onnx.NodeProto, channels: int, free: int) -> None:
    model = graph(
        [node],
        shift=np.ones((1, 4, 1, 1), np.float32),
        twice=np.array([1, 1, 2, 2], np.float32),
        channels=np.array([1, 2, 1, 1], np.float32),
        flat=numbers(-1, 2, 16, 8),
        uneven=numbers(1, 3),
        **{"last.weight": dense(channels)},
    )
    assert find_channels(model).count == free


@pytest.mark.parametrize(
    ("shape", "free"),
    [
        ((-1, 4, 8, 8), 4),
        ((0, 4, 8, 8), 4),
        ((1, 4, 8, 8), 4),  # a batch of one
        ((-1, 4, 4, 4), 0),  # four images out of the positions of one
        ((4, 4, 4, 4), 0),
        ((4, 4, -1, 8), 0),
        ((-1, 4, 16, 4), 0),
        ((-1, 4, 4, 16), 0),
    ],
)
def test_a_reshape_that_moves_images_or_positions_ends_a_channel(shape: tuple[int, ...], free: int) -> None:
    node = helper.make_node("Reshape", ["a", "shape"], ["end"])
    model = graph([node], shape=numbers(*shape), **{"last.weight": dense(4)})
    assert find_channels(model).count == free
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert find_channels(model).count == 0  # who knows


def test_only_what_may_change_does() -> None:
    model = graph([helper.make_node("Relu", ["a"], ["end"])], **{"last.weight": dense(4)})
    assert find_channels(model, {"a.weight", "last.weight"}).count == 4
    assert find_channels(model, {"a.weight"}).count == 0
    assert find_channels(model, {"last.weight"}).count == 0
