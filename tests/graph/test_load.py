"""Reading ONNX files: whole, without their weights, and what is no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ModelError
from edgevision.graph.load import load_onnx


def write(path: Path, apart: bool) -> None:
    weight = numpy_helper.from_array(np.arange(2048, dtype=np.float32), "w")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2048])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2048])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [made], [weight])
    model = helper.make_model(graph)
    onnx.save(model, path, save_as_external_data=apart, location="weights.bin", size_threshold=0)


@pytest.mark.parametrize("apart", [False, True])
def test_weights_are_read_wherever_they_are(tmp_path: Path, apart: bool) -> None:
    write(tmp_path / "m.onnx", apart)
    [weight] = load_onnx(tmp_path / "m.onnx").graph.initializer
    assert numpy_helper.to_array(weight)[-1] == 2047


def test_weights_beside_the_file_can_stay_there(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", apart=True)
    (tmp_path / "weights.bin").unlink()
    [weight] = load_onnx(tmp_path / "m.onnx", weights=False).graph.initializer
    assert list(weight.dims) == [2048]
    with pytest.raises(ModelError, match=r"m\.onnx: not an ONNX model that can be read .*; copy it again"):
        load_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"no model at all", b"\xff" * 100, None])
def test_what_is_no_model_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx: not an ONNX model") as caught:
        load_onnx(path)
    assert "\n" not in str(caught.value)
