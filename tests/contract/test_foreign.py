"""Weights of other projects that are not ONNX: each is called what it is, with the command to export it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgevision.contract.foreign import export_advice
from edgevision.contract.model_file import read_manifest
from edgevision.errors import ModelError
from edgevision.zoo import find_model


def torch_file(path: Path, names: bytes) -> Path:
    """As torch.save writes one: a zip with a pickle in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02c" + names)
    return path


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            b"ultralytics.nn.tasks\nDetectionModel",
            "weights of ultralytics; export them with: yolo export model=",
        ),
        (b"yolox.models", "YOLOX"),
        (b"torchvision.models.detection", "torch.onnx.export"),
        (b"models.yolo\nModel", "python export.py --weights"),
        (b"optimiser", "a checkpoint of edgevision; export it with 'edgevision export'"),
        (b"collections\nOrderedDict", "export them with the project that trained them"),
    ],
)
def test_weights_of_pytorch_are_known_by_the_names_in_them(tmp_path, names, words):
    assert words in export_advice(torch_file(tmp_path / "best.pt", names))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("m.safetensors", "optimum-cli export onnx"),
        ("m.tflite", "python -m tf2onnx.convert --tflite"),
        ("m.pb", "python -m tf2onnx.convert --graphdef"),
        ("m.h5", "python -m tf2onnx.convert --keras"),
        ("m.keras", 'model.export("m.onnx", format="onnx")'),
        ("m.pdmodel", "--params_filename m.pdiparams"),
        ("m.pdiparams", "paddle2onnx"),
        ("m.xml", "an OpenVINO model; take the ONNX file that it was converted from"),
        ("m.mlmodel", "a Core ML model"),
        ("m.param", "tools/ncnn_to_onnx.py"),
        ("m.weights", "Darknet"),
        ("m.trt", "machine code for one GPU"),
        ("m.rknn", "take the ONNX file that it was made from"),
        ("old.pth", "yolo export"),
    ],
)
def test_a_file_that_is_no_onnx_names_the_export_command_of_its_project(tmp_path, name, command):
    path = tmp_path / name
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError) as caught:
        read_manifest(path)
    text = str(caught.value)
    assert command in text
    assert text.endswith("then 'edgevision import'")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("files", "folder", "words"),
    [
        (["saved_model.pb"], "saved", "tf2onnx.convert --saved-model"),
        (["model.safetensors", "config.json"], "detr", "optimum-cli export onnx -m"),
        (["Manifest.json"], "yolo.mlpackage", "Core ML"),
        (["inference.pdmodel"], "ppyoloe", "paddle2onnx --model_dir"),
        (["a.onnx"], "exported", "a.onnx"),
    ],
)
def test_folders_are_known_by_what_is_in_them(tmp_path, files, folder, words):
    place = tmp_path / folder
    place.mkdir()
    for name in files:
        (place / name).write_bytes(b"x")
    for read in (find_model, read_manifest):
        with pytest.raises(ModelError, match="is ") as caught:
            read(place)
        assert words in str(caught.value)


def test_what_says_nothing_has_no_advice(tmp_path):
    assert export_advice(tmp_path / "model.onnx") == ""
    assert export_advice(tmp_path) == ""


def test_a_plan_of_another_project_is_told(tmp_path):
    (tmp_path / "m.engine").write_bytes(b"ftrt")
    with pytest.raises(
        ModelError, match=r"another project built it; .*take the ONNX file that it was built from"
    ):
        read_manifest(tmp_path / "m.engine")
