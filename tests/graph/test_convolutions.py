"""What is found of a model's convolutions, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgevision.errors import ModelError
from edgevision.graph.convolutions import cut_model, find_convolutions
from tests.support.calibration import SIZE, images, segmenter_graph


def test_every_convolution_of_the_core_is_found_with_its_work() -> None:
    found = find_convolutions(segmenter_graph(), ["logits"])
    area = SIZE * SIZE
    assert [(one.name, one.macs) for one in found] == [
        ("stem", 8 * 3 * 9 * area),
        ("wide", 8 * 8 * area),
        ("deep", 8 * 9 * area),  # depthwise: one input channel for each output channel
        ("mix", 8 * 8 * area),
        ("logits", 2 * 8 * area),
    ]
    assert [one.name for one in found if one.feeds_head] == ["logits"]
    assert found[0].data == "images"
    assert found[0].weight == "stem.weight"
    assert found[2].text == "depthwise 3x3, 8 to 8 channels, 32x32"
    assert found[0].text == "3x3, 3 to 8 channels, 32x32"


def test_what_feeds_a_head_is_the_last_convolution_on_each_way_to_it() -> None:
    """A sum at the end: both of its convolutions are final."""
    found = find_convolutions(segmenter_graph(), ["total"])
    assert {one.name for one in found} == {"stem", "wide", "deep", "mix"}
    assert {one.name for one in found if one.feeds_head} == {"mix", "stem"}


def test_strides_and_transposed_convolutions_are_counted() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["half"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["half", "t"], ["y"], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 12])],
        [helper.make_tensor_value_info("y", 1, ["N", 5, 8, 12])],
        [
            numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "w"),
            numpy_helper.from_array(np.zeros((4, 5, 2, 2), np.float32), "t"),
        ],
    )
    found = find_convolutions(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]), ["y"])
    # Each of 4x6 positions: the first computes 4 outputs of 27, the second spreads 4 inputs over 5 * 4.
    assert [(one.kind, one.macs) for one in found] == [
        ("Conv", 24 * 4 * 27),
        ("ConvTranspose", 24 * 4 * 20),
    ]
    assert found[1].text == "transposed 2x2, 4 to 5 channels, 6x4"


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ((), "lacks the names of its head tensors"),
        (("logits", "deltas"), "lacks head tensors deltas"),
        (("pre/Cast_0",), "no convolution before its heads"),
    ],
)
def test_models_without_heads_or_convolutions_are_refused(heads: tuple[str, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_convolutions(segmenter_graph(), heads)


def test_a_cut_model_computes_the_same_tensors() -> None:
    model = segmenter_graph()
    whole = segmenter_graph()
    whole.graph.output.append(helper.make_tensor_value_info("deep", 1, None))
    part = cut_model(model, ["deep"])
    assert "logits.weight" not in {constant.name for constant in part.graph.initializer}
    feed = {"frames": images(2)}
    (ours,) = onnxruntime.InferenceSession(part.SerializeToString()).run(["deep"], feed)
    (theirs,) = onnxruntime.InferenceSession(whole.SerializeToString()).run(["deep"], feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_sizes_that_onnx_cannot_infer_are_measured() -> None:
    """The size of what a convolution reads is computed in the graph, as in many transformers."""
    model = segmenter_graph()
    stem = next(node for node in model.graph.node if node.output[0] == "stem")
    stem.input[0] = "resized"
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Mul", ["shape", "once"], ["wanted"]),
        helper.make_node("Expand", ["images", "wanted"], ["resized"]),
        *model.graph.node,
    ]
    made = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    order = [node for node in made[3:] if "images" in node.output] + made[:3]
    order += [node for node in made[3:] if "images" not in node.output]
    del model.graph.node[:]
    model.graph.node.extend(order)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 1, 1]), "once"))
    asked: list[str] = []

    def measure(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        asked.extend(names)
        return dict.fromkeys(names, (1, 8, SIZE, SIZE))

    with pytest.raises(ModelError, match="size of tensor stem cannot be inferred"):
        find_convolutions(model, ["logits"])
    assert find_convolutions(model, ["logits"], measure=measure)[0].macs == 8 * 3 * 9 * SIZE * SIZE
    assert "stem" in asked
