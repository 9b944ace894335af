"""Which models can be quantised, however their weights are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.float_model import load_float_model
from edgevision.calibration.qdq import quantise_weights
from edgevision.calibration.sensitivity import int8_share
from edgevision.contract.model_file import write_manifest
from edgevision.errors import ModelError, UsageError
from tests.support.calibration import segmenter_graph, segmenter_manifest

NAMES = ["stem", "wide", "deep", "mix", "logits"]
Change = Callable[[onnx.GraphProto, onnx.TensorProto], list[onnx.NodeProto]]


def written(folder: Path, change: Change) -> Path:
    """The model of the tests with each weight made by the nodes that ``change`` gives."""
    model = segmenter_graph()
    graph = model.graph
    made = []
    for constant in [one for one in graph.initializer if one.name.endswith(".weight")]:
        copy = onnx.TensorProto.FromString(constant.SerializeToString())
        graph.initializer.remove(constant)
        made += change(graph, copy)
    nodes = [*made, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    path = folder / "bright.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    write_manifest(path, segmenter_manifest())
    return path


def as_constant_nodes(graph: onnx.GraphProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
    return [helper.make_node("Constant", [], [weight.name], value=weight)]


def through_moves(graph: onnx.GraphProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
    values = numpy_helper.to_array(weight).transpose(1, 0, 2, 3)
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float64), f"{weight.name}.far"))
    return [
        helper.make_node("Identity", [f"{weight.name}.far"], [f"{weight.name}.same"]),
        helper.make_node("Cast", [f"{weight.name}.same"], [f"{weight.name}.single"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{weight.name}.single"], [weight.name], perm=[1, 0, 2, 3]),
    ]


def from_int8(graph: onnx.GraphProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
    values, scales = quantise_weights(numpy_helper.to_array(weight))
    parts = {"int8": values, "scale": scales, "zero": np.zeros(len(scales), np.int8)}
    names = [f"{weight.name}.{part}" for part in parts]
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in zip(names, parts.values(), strict=True)
    )
    return [helper.make_node("DequantizeLinear", names, [weight.name], axis=0)]


@pytest.mark.parametrize("change", [as_constant_nodes, through_moves, from_int8])
def test_every_convolution_is_found_whatever_way_its_weights_come(tmp_path: Path, change: Change) -> None:
    model = load_float_model(written(tmp_path, change))
    assert [layer.name for layer in model.convolutions] == NAMES
    assert [layer.name for layer in model.candidates] == NAMES[:-1]
    stored = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.graph.initializer}
    for original in segmenter_graph().graph.initializer:
        if original.name.endswith(".weight"):
            step = 0.02 if change is from_int8 else 0
            np.testing.assert_allclose(stored[original.name], numpy_helper.to_array(original), atol=step)


def doubled(graph: onnx.GraphProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
    """A product of two constants, which no longer only moves one."""
    name, weight.name = weight.name, f"{weight.name}.raw"
    graph.initializer.extend([weight, numpy_helper.from_array(np.array(2, np.float32), f"{name}.two")])
    return [helper.make_node("Mul", [weight.name, f"{name}.two"], [name])]


def test_weights_that_are_computed_stay_in_float_and_count(tmp_path: Path) -> None:
    def change(graph: onnx.GraphProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
        if weight.name == "mix.weight":
            return doubled(graph, weight)
        graph.initializer.append(weight)
        return []

    model = load_float_model(written(tmp_path, change))
    assert [layer.name for layer in model.convolutions] == NAMES
    assert [layer.name for layer in model.candidates] == ["stem", "wide", "deep"]
    (mix,) = (layer for layer in model.convolutions if not layer.constant)
    assert (mix.name, mix.text) == ("mix", "1x1, 8 to 8 channels, 32x32")
    work = [8 * 27, 64, 72, 64, 16]
    assert int8_share(model.candidates, model.convolutions) == pytest.approx(sum(work[:3]) / sum(work))


def test_a_model_without_a_candidate_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="have weights that are computed as it runs"):
        load_float_model(written(tmp_path, doubled))


def test_a_model_that_quantises_activations_is_refused(tmp_path: Path) -> None:
    def change(graph: onnx.GraphProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
        graph.initializer.append(weight)
        if weight.name != "wide.weight":
            return []
        values = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "ones": np.ones(4, np.float32)}
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
        return [helper.make_node("QuantizeLinear", ["ones", "s", "z"], ["unused"])]

    with pytest.raises(UsageError, match="is quantised already"):
        load_float_model(written(tmp_path, change))
