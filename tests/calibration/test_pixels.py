"""Whole pixels: the same answers, a range that holds each of the 256 values, and where nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.pixels import read_whole_pixels
from edgevision.calibration.qdq import insert_qdq
from edgevision.calibration.simulate import Simulation
from edgevision.graph.convolutions import cut_model, find_convolutions
from edgevision.graph.half import to_half
from tests.support.calibration import segmenter_manifest

SIZE = 8
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def by_channel(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def model(
    steps: Sequence[tuple[str, list[str]]] = (("Sub", ["x", "mean"]), ("Div", ["x", "std"])),
    bias: bool = True,
    extra: Sequence[onnx.NodeProto] = (),
    mean: np.ndarray = MEAN,
    heads: Sequence[str] = ("logits",),
    **attributes: Any,
) -> FloatModel:
    """Frames turned to RGB and normalised by ``steps`` (x is what came before), then two convolutions."""
    rng = np.random.default_rng(3)
    constants = {
        "mean": by_channel(mean.tolist()),
        "std": by_channel(STD.tolist()),
        "minus": np.array(-1, np.float32),
        "full": np.array(255, np.float32),
        "yes": np.array(True),
        "places": np.ones((1, 3, SIZE, SIZE), np.float32),
        "rgb": np.array([2, 1, 0], np.int64),
        "first.weight": rng.normal(size=(6, 3 // attributes.get("group", 1), 3, 3)).astype(np.float32),
        "first.bias": rng.normal(size=6).astype(np.float32),
        "other.weight": rng.normal(size=(6, 3, 1, 1)).astype(np.float32),
        "last.weight": rng.normal(size=(2, 6, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["planes", "rgb"], ["step0"], axis=1),
    ]
    for place, (operator, inputs) in enumerate(steps):
        names = [f"step{place}" if name == "x" else name for name in inputs]
        nodes.append(helper.make_node(operator, names, [f"step{place + 1}"]))
    given = {"pads": [1, 1, 1, 1], **attributes}
    names = [f"step{len(steps)}", "first.weight", *(["first.bias"] if bias else [])]
    nodes.append(helper.make_node("Conv", names, ["first"], **given))
    nodes.append(helper.make_node("Relu", ["first"], ["active"]))
    nodes.append(helper.make_node("Conv", ["active", "last.weight"], ["logits"]))
    nodes += extra
    outputs = ["logits", *(node.output[0] for node in extra)]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(one, name) for name, one in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    manifest = msgspec.structs.replace(segmenter_manifest(), input_width=SIZE, input_height=SIZE)
    return FloatModel(Path("pixels.onnx"), "", manifest, made, find_convolutions(made, heads))


def frames() -> np.ndarray:
    found = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    found[0, 0, 0], found[0, 0, 1] = 0, 255
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 2, 1]])
@pytest.mark.parametrize(
    "steps",
    [
        (("Sub", ["x", "mean"]), ("Div", ["x", "std"])),
        (("Mul", ["x", "std"]), ("Add", ["mean", "x"])),
        (("Sub", ["mean", "x"]), ("Mul", ["std", "x"])),
        (("Mul", ["x", "minus"]), ("Add", ["x", "mean"])),
        (("Div", ["x", "full"]),),
        (),
    ],
)
def test_answers_stay(steps: Sequence[tuple[str, list[str]]], pads: list[int], bias: bool) -> None:
    whole = np.rint(MEAN)  # so that padding is a whole pixel
    if steps and steps[0] == ("Mul", ["x", "std"]):
        whole = -STD.astype(np.float32) * np.float64(40)
    before = model(steps, bias, mean=whole, pads=pads)
    after = read_whole_pixels(before)
    assert after is not before
    assert [layer.data for layer in after.convolutions] == [*after.known, "active"]
    wanted, seen = (Simulation(one.graph, ["logits"])(frames())[0] for one in (before, after))
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=np.abs(wanted).max() * 1e-5)


def same_answers(before: FloatModel, after: FloatModel) -> None:
    names = [value.name for value in before.graph.graph.output]
    assert [value.name for value in after.graph.graph.output] == names
    found = [Simulation(one.graph, names)(frames()) for one in (before, after)]
    for wanted, seen in zip(*found, strict=True):
        np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=np.abs(wanted).max() * 1e-5)


def test_padding_is_off_by_half_a_pixel_at_most_and_the_rest_not_at_all() -> None:
    before = model()
    after = read_whole_pixels(before)
    wanted, seen = (
        Simulation(cut_model(one.graph, ["first"]), ["first"])(frames())[0] for one in (before, after)
    )
    padding = sliding_window_view(np.pad(np.zeros((SIZE, SIZE)), 1, constant_values=1), (3, 3))
    (weight,) = (one for one in before.graph.graph.initializer if one.name == "first.weight")
    half = 0.5 / STD
    bound = np.einsum("hwij,mcij,c->mhw", padding, np.abs(numpy_helper.to_array(weight)), half)
    assert (bound[:, 1:-1, 1:-1] == 0).all()
    off = np.abs(seen - wanted)
    assert (off <= bound + 1e-5).all()
    assert (off[..., 0, :].max(), off[..., 1:-1, 1:-1].max()) > (1e-3, 0)


def test_int8_holds_every_pixel() -> None:
    after = read_whole_pixels(model())
    first = after.convolutions[0]
    assert after.known == {first.data: 127 / 64}  # 1/64 is the power of two next to 1/57
    exact = insert_qdq(after.graph, [first], dict(after.known))
    names = [first.data, f"{first.data}/dq"]
    before, through = Simulation(cut_model(exact, names), names)(frames())
    np.testing.assert_array_equal(before, through)
    assert (before.min(), before.max()) == (-128 / 64, 127 / 64)


@pytest.mark.parametrize(
    ("steps", "factor"),
    [
        ((("Sub", ["x", "mean"]), ("Div", ["x", "std"])), 64 / STD),
        ((("Div", ["x", "full"]),), np.full(3, 256 / 255)),
        ((), np.ones(3)),
    ],
)
def test_weights_keep_their_size_so_that_fp16_holds_their_scales(
    steps: Sequence[tuple[str, list[str]]], factor: np.ndarray
) -> None:
    before = model(steps)
    after = read_whole_pixels(before)
    was, now = (
        next(numpy_helper.to_array(w) for w in one.graph.graph.initializer if w.name == "first.weight")
        for one in (before, after)
    )
    np.testing.assert_allclose(now, was * factor.reshape(1, 3, 1, 1), rtol=1e-6)
    first = after.convolutions[0]
    exact = insert_qdq(after.graph, [first], dict(after.known))
    half, kept = to_half(exact, ("logits",))
    assert kept == ()
    steps_of = [
        next(numpy_helper.to_array(w) for w in one.graph.initializer if w.name == "first.weight/int8")
        for one in (exact, half)
    ]
    np.testing.assert_array_equal(*steps_of)


def test_what_a_branch_reads_stays() -> None:
    """An If reads a step of the normalising and a constant that no other node has."""
    branches = {}
    for name, operator in (("then_branch", "Add"), ("else_branch", "Sub")):
        node = helper.make_node(operator, ["step1", "places"], ["inner"])
        output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        branches[name] = helper.make_graph([node], name, [], [output])
    before = model(mean=np.rint(MEAN), extra=[helper.make_node("If", ["yes"], ["seen"], **branches)])
    after = read_whole_pixels(before)
    assert len(after.known) == 1
    same_answers(before, after)


def test_a_weight_that_a_branch_reads_too_is_shared() -> None:
    node = helper.make_node("Identity", ["first.weight"], ["inner"])
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([node], "branch", [], [output])
    before = model(extra=[helper.make_node("If", ["yes"], ["seen"], then_branch=branch, else_branch=branch)])
    assert read_whole_pixels(before) is before
    quantised = insert_qdq(before.graph, before.candidates, dict.fromkeys(("step2",), 3.0))
    Simulation(quantised, ["logits", "seen"])(frames())


def test_two_convolutions_may_read_one_image() -> None:
    extra = [
        helper.make_node("Conv", ["step2", "other.weight"], ["again"]),
        helper.make_node("Conv", ["again", "last.weight"], ["more"]),
    ]
    before = model(mean=np.rint(MEAN), extra=extra, heads=("logits", "more"))
    after = read_whole_pixels(before)
    assert len(after.known) == 2
    same_answers(before, after)


def test_the_normalised_image_stays_where_something_else_reads_it() -> None:
    before = model(mean=np.rint(MEAN), extra=[helper.make_node("Relu", ["step2"], ["seen"])])
    after = read_whole_pixels(before)
    assert len(after.known) == 1
    same_answers(before, after)


def test_without_padding_none_is_put_on() -> None:
    before = model(pads=None, auto_pad="VALID")
    after = read_whole_pixels(before)
    assert len(after.known) == 1
    assert "Pad" not in [node.op_type for node in after.graph.graph.node]
    same_answers(before, after)


def test_what_is_no_longer_read_is_gone() -> None:
    after = read_whole_pixels(model())
    assert "step1" not in [name for node in after.graph.graph.node for name in node.output]
    assert "std" not in [one.name for one in after.graph.graph.initializer]


@pytest.mark.parametrize(
    "given",
    [
        {"steps": (("Sub", ["x", "places"]),)},  # another constant at each place
        {"steps": (("Div", ["mean", "x"]),)},
        {"steps": (("Sub", ["x", "mean"]), ("Relu", ["x"]))},
        {"mean": np.array([-1.0, 100, 100])},  # padding is no pixel
        {"mean": np.array([256.0, 100, 100])},
        {"steps": (("Mul", ["mean", "std"]),)},  # no image at all
        {"pads": None, "auto_pad": "SAME_UPPER"},
        {"group": 3},
        {"extra": [helper.make_node("Conv", ["step2", "other.weight", "first.bias"], ["again"])]},
        {"extra": [helper.make_node("Conv", ["step2", "first.weight"], ["again"])]},  # shared weights
    ],
)
def test_other_networks_stay_as_they_are(given: dict[str, object]) -> None:
    before = model(**given)  # type: ignore[arg-type]
    assert read_whole_pixels(before) is before


def test_a_convolution_that_is_spared_stays_as_it_is() -> None:
    before = model()
    spared = replace(before, spared=frozenset({before.convolutions[0].name}))
    assert read_whole_pixels(spared) is spared
