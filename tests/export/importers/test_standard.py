"""Files as other tools write them give the answers that the plain file gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.model_file import read_manifest
from edgevision.engines import load_engine
from edgevision.errors import ExportError
from edgevision.export.importers import Choices, import_model
from edgevision.export.importers.standard import standard
from edgevision.graph.convolutions import find_convolutions

SIZE = 64


def network() -> onnx.ModelProto:
    """Two convolutions, then boxes of 16 px around the cells of stride 8, and two classes."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(8) * 8.0 + 4, np.arange(8) * 8.0 + 4, indexing="ij")
    values = {
        "w1": rng.normal(0, 0.2, (8, 3, 8, 8)).astype(np.float32),
        "w2": rng.normal(0, 0.8, (6, 8, 1, 1)).astype(np.float32),
        "grid": np.stack([x, y, 0 * x + 16, 0 * y + 16])[None].astype(np.float32),
        "parts": np.array([4, 2]),
        "shape": np.array([0, 6, -1]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w1"], ["a"], strides=[8, 8]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["head"]),
        helper.make_node("Split", ["head", "parts"], ["offsets", "logits"], axis=1),
        helper.make_node("Tanh", ["offsets"], ["moves"]),
        helper.make_node("Add", ["moves", "grid"], ["boxes"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["joined"], axis=1),
        helper.make_node("Reshape", ["joined", "shape"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 64])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog'}"})
    return model


def answers(path: Path) -> dict[str, np.ndarray]:
    frames = np.random.default_rng(3).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    with load_engine(path) as engine:
        return engine.infer({"frames": frames})


def imported(model: onnx.ModelProto, folder: Path, name: str) -> Path:
    source, out = folder / f"{name}.foreign.onnx", folder / f"{name}.onnx"
    onnx.save(model, str(source))
    import_model(source, out, Choices(kind="yolo"))
    return out


def reordered(model: onnx.ModelProto, order: list[int]) -> None:
    nodes = [onnx.NodeProto.FromString(model.graph.node[i].SerializeToString()) for i in order]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def backwards(model: onnx.ModelProto) -> None:
    reordered(model, list(range(len(model.graph.node)))[::-1])


def shuffled(model: onnx.ModelProto) -> None:
    reordered(model, np.random.default_rng(5).permutation(len(model.graph.node)).tolist())


def spelt_out(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.domain = "ai.onnx"


def spelt_out_twice(model: onnx.ModelProto) -> None:
    spelt_out(model)
    model.opset_import.append(helper.make_opsetid("ai.onnx", 17))


def as_constant_nodes(model: onnx.ModelProto) -> None:
    graph = model.graph
    nodes = [helper.make_node("Constant", [], [one.name], value=one) for one in graph.initializer]
    nodes += [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.initializer[:]
    del graph.node[:]
    graph.node.extend(nodes)


def through_moves(model: onnx.ModelProto) -> None:
    """The second weight is stored transposed and as float64, and comes through an Identity."""
    stored = next(one for one in model.graph.initializer if one.name == "w2")
    flipped = numpy_helper.to_array(stored).transpose(1, 0, 2, 3).astype(np.float64)
    stored.CopyFrom(numpy_helper.from_array(flipped, "stored"))
    model.graph.node.extend(
        [
            helper.make_node("Identity", ["stored"], ["same"]),
            helper.make_node("Cast", ["same"], ["single"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["single"], ["w2"], perm=[1, 0, 2, 3]),
        ]
    )


@pytest.mark.parametrize(
    "change", [backwards, shuffled, spelt_out, spelt_out_twice, as_constant_nodes, through_moves]
)
def test_a_graph_written_otherwise_answers_the_same_and_shows_its_weights(tmp_path, change):
    other = network()
    change(other)
    plain, found = (imported(network(), tmp_path, "plain"), imported(other, tmp_path, "other"))
    wanted, got = answers(plain), answers(found)
    assert wanted["count"][0] > 0
    for name, value in wanted.items():
        np.testing.assert_array_equal(value, got[name])
    plain_work, work = (
        sum(one.macs for one in find_convolutions(onnx.load(file), read_manifest(file).heads))
        for file in (plain, found)
    )
    assert work == plain_work == 64 * (8 * 3 * 64 + 6 * 8)


def test_half_precision_with_its_casts_at_the_end_answers_as_single(tmp_path):
    half = network()
    for one in half.graph.initializer:
        if one.data_type == TensorProto.FLOAT:
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float16), one.name))
    half.graph.node[0].input[0] = "images_half"
    half.graph.node[-1].output[0] = "output_half"
    half.graph.node.extend(
        [
            helper.make_node("Cast", ["images"], ["images_half"], to=TensorProto.FLOAT16),
            helper.make_node("Cast", ["output_half"], ["output0"], to=TensorProto.FLOAT),
        ]
    )
    wanted = answers(imported(network(), tmp_path, "plain"))
    got = answers(imported(half, tmp_path, "half"))
    np.testing.assert_allclose(np.sort(got["scores"]), np.sort(wanted["scores"]), atol=5e-3)


def test_nodes_in_a_circle_are_one_clear_line():
    model = network()
    model.graph.node[1].input[0] = "head"
    with pytest.raises(ExportError, match=r"net\.onnx: its nodes wait for each other in a circle"):
        standard(model, Path("net.onnx"))


def test_a_branch_is_sorted_behind_what_it_reads_from_outside():
    then = helper.make_graph(
        [helper.make_node("Neg", ["b"], ["t"])], "then", [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Abs", ["b"], ["e"], domain="ai.onnx")], "else", [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
        helper.make_node("Relu", ["x"], ["b"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    graph = helper.make_graph(
        nodes, "branch", ends[:1], ends[1:], [numpy_helper.from_array(np.array(True), "yes")]
    )
    model = standard(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), Path("b.onnx")
    )
    assert [node.op_type for node in model.graph.node] == ["Relu", "If"]
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("opset", [20, 22, 24])
def test_operators_newer_than_our_opset_are_written_in_older_ones(opset, approximate):
    """GELU and GridSample, as transformers exported with a new opset hold them."""
    nodes = [
        helper.make_node("Gelu", ["x"], ["bent"], approximate=approximate),
        helper.make_node("GridSample", ["bent", "places"], ["y"], mode="linear", align_corners=0),
    ]
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "new",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 3, 3])],
        [numpy_helper.from_array(places, "places")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    x = rng.normal(0, 2, (1, 2, 4, 4)).astype(np.float32)
    (wanted,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    made = standard(model, Path("new.onnx"))
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 19)]
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    np.testing.assert_allclose(found, wanted, atol=1e-5)
