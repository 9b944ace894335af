"""The tool that reads OpenVINO's IR files, against OpenVINO itself."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgevision.engines.onnxrt import OnnxRuntimeEngine
from edgevision.errors import ExportError
from edgevision.model import Model
from edgevision.types import SegmentationMap
from tests.support.paths import ROOT

openvino = pytest.importorskip("openvino")
opset1 = pytest.importorskip("openvino.opset1")
shared_core = pytest.importorskip("edgevision.engines.ov_core").shared_core

HEIGHT, WIDTH = 32, 64
CLASSES = ("background", "road", "mark")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("openvino_segmenter")


def write_ir(path: Path, *, unknown: bool = False, resizable: bool = False) -> None:
    """A network with every kind of layer that the tool knows, of random weights."""
    rng = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return opset1.constant(rng.normal(0, 0.5, shape).astype(np.float32))

    def convolve(x, kernel, stride: int = 1, dilation: int = 1):
        pads = [dilation, dilation]
        make = opset1.group_convolution if len(kernel.shape) == 5 else opset1.convolution
        return make(x, kernel, [stride] * 2, pads, pads, [dilation] * 2)

    image = opset1.parameter([1, 3, HEIGHT, WIDTH], np.float32, name="data")
    x = opset1.add(convolve(image, weights(8, 3, 3, 3), stride=2), weights(1, 8, 1, 1))
    x = opset1.relu(x)
    pooled = opset1.max_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], "ceil")
    deep = opset1.relu(convolve(pooled, weights(8, 1, 1, 3, 3), dilation=2))
    small = opset1.avg_pool(deep, [2, 2], [0, 0], [0, 0], [2, 2], False, "ceil")
    if unknown:
        small = opset1.sigmoid(small)
    half = opset1.strided_slice(
        opset1.shape_of(pooled),
        opset1.constant(np.array([2], np.int64)),
        opset1.constant(np.array([4], np.int64)),
        opset1.constant(np.array([1], np.int64)),
        [0],
        [0],
    )
    back = opset1.interpolate(small, half, {"axes": [2, 3], "mode": "linear", "align_corners": True})
    full = opset1.constant(np.array([HEIGHT, WIDTH], np.int64))
    if resizable:
        ends = (opset1.constant(np.array([at], np.int64)) for at in (2, 4, 1))
        full = opset1.strided_slice(opset1.shape_of(image), *ends, [0], [0])
    scores = convolve(opset1.add(pooled, back), weights(3, 8, 3, 3))
    grown = opset1.interpolate(scores, full, {"axes": [2, 3], "mode": "linear", "align_corners": True})
    openvino.save_model(openvino.Model([opset1.softmax(grown, 1)], [image]), path, compress_to_fp16=False)


def test_the_model_answers_as_openvino_does(tool, tmp_path):
    write_ir(tmp_path / "net.xml")
    manifest = tool.convert(tmp_path / "net.xml", CLASSES, "Apache-2.0", tmp_path / "net.onnx")
    assert (manifest.input_width, manifest.input_height) == (WIDTH, HEIGHT)
    assert (manifest.classes, manifest.licence) == (CLASSES, "Apache-2.0")
    image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    core = shared_core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # processors with AMX would take bf16
    compiled = core.compile_model(core.read_model(tmp_path / "net.xml"), "CPU", exact)
    scores = compiled(image.transpose(2, 0, 1)[None].astype(np.float32))[0]
    (found,) = Model(OnnxRuntimeEngine(tmp_path / "net.onnx"))([image])
    assert isinstance(found, SegmentationMap)
    expected = scores[0].argmax(axis=0)
    assert len(np.unique(expected)) > 1
    assert (found.class_map == expected).mean() > 0.999  # equal scores are broken by rounding


def test_another_size_answers_as_openvino_reshaped_does(tool, tmp_path):
    write_ir(tmp_path / "net.xml", resizable=True)
    manifest = tool.convert(tmp_path / "net.xml", CLASSES, "Apache-2.0", tmp_path / "net.onnx", (128, 96))
    assert (manifest.input_width, manifest.input_height) == (128, 96)
    image = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    core = shared_core()
    model = core.read_model(tmp_path / "net.xml")
    model.reshape([1, 3, 96, 128])
    scores = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        image.transpose(2, 0, 1)[None].astype(np.float32)
    )[0]
    (found,) = Model(OnnxRuntimeEngine(tmp_path / "net.onnx"))([image])
    expected = scores[0].argmax(axis=0)
    assert len(np.unique(expected)) > 1
    assert (found.class_map == expected).mean() > 0.999
    with pytest.raises(ExportError, match="a size of 100x96 does not fit; expected multiples of 32"):
        tool.convert(tmp_path / "net.xml", CLASSES, "Apache-2.0", tmp_path / "odd.onnx", (100, 96))


def test_what_cannot_be_read_is_named(tool, tmp_path):
    write_ir(tmp_path / "net.xml")
    (tmp_path / "text.xml").write_text("no xml")
    (tmp_path / "empty.xml").write_text("<net/>")
    write_ir(tmp_path / "other.xml", unknown=True)
    out = tmp_path / "out.onnx"
    for name, classes, words in (
        ("nowhere.xml", CLASSES, "not an OpenVINO IR file"),
        ("text.xml", CLASSES, "not an OpenVINO IR file"),
        ("empty.xml", CLASSES, "no layer"),
        ("other.xml", CLASSES, "is a Sigmoid, which this tool does not know"),
        ("net.xml", ("road",), "has 3 classes, but 1 names were given"),
    ):
        with pytest.raises(ExportError, match=words):
            tool.convert(tmp_path / name, classes, "Apache-2.0", out)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ExportError, match="cannot read the weights"):
        tool.convert(tmp_path / "net.xml", CLASSES, "Apache-2.0", out)
    assert not out.exists()


@pytest.mark.parametrize("size", ["384", "384x", "axb", "1x2x3"])
def test_a_size_that_is_none_is_named(tool, tmp_path, monkeypatch, capsys, size):
    assert tool.parse_size("384x224") == (384, 224)
    given = [
        "net.xml",
        "--classes",
        "a,b",
        "--licence",
        "MIT",
        "--size",
        size,
        "--out",
        str(tmp_path / "n.onnx"),
    ]
    monkeypatch.setattr(sys, "argv", ["openvino_segmenter.py", *given, "--size", size])
    with pytest.raises(SystemExit) as ended:
        tool.main()
    assert ended.value.code == 2
    assert f"'{size}' is no size; expected such as 384x224" in capsys.readouterr().err


def test_a_size_of_nothing_and_a_file_that_is_there_are_refused(tool, tmp_path, monkeypatch):
    write_ir(tmp_path / "net.xml", resizable=True)
    out = tmp_path / "out.onnx"
    given = [str(tmp_path / "net.xml"), "--classes", ",".join(CLASSES), "--licence", "MIT", "--out", str(out)]
    for more, words in (
        ("--size=0x0", "a size of 0x0 is none"),
        ("--size=-64x64", "a size of -64x64 is none"),
    ):
        monkeypatch.setattr(sys, "argv", ["openvino_segmenter.py", *given, more])
        with pytest.raises(SystemExit, match=words):
            tool.main()
    out.write_text("mine")
    monkeypatch.setattr(sys, "argv", ["openvino_segmenter.py", *given])
    with pytest.raises(SystemExit, match=r"output exists: .* or pass --overwrite"):
        tool.main()
    assert out.read_text() == "mine"
    monkeypatch.setattr(sys, "argv", ["openvino_segmenter.py", *given, "--overwrite"])
    tool.main()
    assert out.stat().st_size > 1000
