"""The checksum of a model file covers weights that lie in files of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from edgevision.contract.model_file import content_sha256, read_sound_manifest, write_manifest
from edgevision.engines import load_engine
from edgevision.errors import ModelError
from tests.support.manifests import colour_manifest
from tests.support.models import write_colour_model


def move_out(tensor: onnx.TensorProto, location: str) -> None:
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")


def spread_out(path: Path, location: str = "weights.bin", *, in_branch: bool = False) -> Path:
    """The model of the tests with the constant 255 in a file of its own, perhaps inside a branch."""
    write_colour_model(path)
    model = onnx.load(path)
    constant = next(one for one in model.graph.initializer if one.name == "full")
    (path.parent / "weights.bin").write_bytes(numpy_helper.to_array(constant).tobytes())
    if in_branch:
        model.graph.initializer.remove(constant)
        value = numpy_helper.from_array(np.array(255, np.float32))
        move_out(value, location)
        ends = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])]
        node = helper.make_node("Constant", [], ["inner"], value=value)
        branch = helper.make_graph([node], "branch", [], ends)
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        choice = helper.make_node("If", ["yes"], ["full"], then_branch=branch, else_branch=branch)
        model.graph.node.insert(0, choice)
    else:
        move_out(constant, location)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("in_branch", [False, True])
def test_a_change_in_the_weights_beside_a_model_is_noticed(tmp_path: Path, in_branch: bool) -> None:
    path = spread_out(tmp_path / "model.onnx", in_branch=in_branch)
    stored = write_manifest(path, colour_manifest())
    assert content_sha256(path) == stored.sha256 == read_sound_manifest(path).sha256
    if not in_branch:
        load_engine(path, "onnxruntime").close()
    (tmp_path / "weights.bin").write_bytes(np.array(254, np.float32).tobytes())
    with pytest.raises(ModelError, match="its content differs from the checksum in its metadata"):
        read_sound_manifest(path)
    with pytest.raises(ModelError, match="its content differs from the checksum in its metadata"):
        load_engine(path, "onnxruntime")


def test_files_without_such_weights_keep_their_checksum(tmp_path: Path) -> None:
    path = write_colour_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    assert content_sha256(path) == hashlib.sha256(model.SerializeToString()).hexdigest()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("gone.bin", "its weights are in gone.bin, which cannot be read"),
        ("../weights.bin", "expected a file below the model's own folder"),
        ("/etc/hostname", "expected a file below the model's own folder"),
    ],
)
def test_weights_that_are_missing_or_elsewhere_are_named(tmp_path: Path, location: str, words: str) -> None:
    path = spread_out(tmp_path / "model.onnx", location)
    with pytest.raises(ModelError, match=words):
        content_sha256(path)
