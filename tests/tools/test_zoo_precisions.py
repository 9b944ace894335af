"""Making the other files of a model that ships, in a zoo of one small model: where they go, what is said."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import edgevision.zoo
from edgevision.contract.model_file import read_manifest
from tests.support.calibration import calibration_place, mean_iou, write_segmenter
from tests.support.paths import ROOT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool with a zoo of one model, and a folder of data beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("zoo_precisions")
    calibration_place(tmp_path)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "bright.onnx").rename(tmp_path / "zoo" / "bright.onnx")
    for module in (edgevision.zoo, tool):
        monkeypatch.setattr(module, "folder", lambda: tmp_path / "zoo")
    recipe = tool.Recipe(sources=("photos",), frames=12, method="minmax", labels="set", split="val")
    monkeypatch.setattr(tool, "RECIPES", {"bright": recipe})
    return tool


def run(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, data: Path, *options: object) -> int:
    arguments = ["zoo_precisions.py", "bright", "--data", str(data), *map(str, options)]
    monkeypatch.setattr(sys, "argv", arguments)
    return int(tool.main())


def test_the_file_stands_beside_the_float_one_with_what_was_measured(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = tmp_path / "keep"
    assert run(tool, monkeypatch, tmp_path, "--keep", keep) == 0
    made, shipped = tmp_path / "zoo" / "bright.int8.onnx", tmp_path / "zoo" / "bright.onnx"
    manifest = read_manifest(made)
    assert manifest.precision == "int8"
    assert sorted(manifest.figures) == ["dice", "drop", "miou", "pixel_accuracy"]
    ours, of_float = mean_iou(made, tmp_path / "set"), mean_iou(shipped, tmp_path / "set")
    assert manifest.figures["miou"] == pytest.approx(ours, abs=0.002)  # the engine here may be another
    assert manifest.figures["drop"] == pytest.approx(of_float - ours, abs=0.002)
    assert f"bright.int8.onnx: miou {manifest.figures['miou']:.4f}, dice " in capsys.readouterr().out
    assert [model.precisions for model in edgevision.zoo.list_models()] == [("fp32", "int8")]
    assert (keep / "bright.int8.onnx").read_bytes() == made.read_bytes()

    made.unlink()
    assert run(tool, monkeypatch, tmp_path, "--file", keep / "bright.int8.onnx") == 0
    assert read_manifest(made) == manifest


def test_the_fp16_file_stands_there_too(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool, monkeypatch, tmp_path, "--precision", "fp16") == 0
    made, shipped = tmp_path / "zoo" / "bright.fp16.onnx", tmp_path / "zoo" / "bright.onnx"
    manifest = read_manifest(made)
    assert manifest.precision == "fp16"
    of_float = mean_iou(shipped, tmp_path / "set")
    assert manifest.figures["miou"] == pytest.approx(of_float, abs=0.002)
    assert manifest.figures["drop"] == pytest.approx(0, abs=0.002)
    assert made.stat().st_size < shipped.stat().st_size
    assert [model.precisions for model in edgevision.zoo.list_models()] == [("fp32", "fp16")]


def test_a_file_that_loses_too_much_or_is_of_another_model_is_refused(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep, zoo = tmp_path / "keep", tmp_path / "zoo"
    monkeypatch.setattr(tool, "MOST_DROP", -1)
    assert run(tool, monkeypatch, tmp_path, "--keep", keep) == 1
    assert "more than -1; it is not put into" in capsys.readouterr().err
    assert sorted(path.name for path in zoo.iterdir()) == ["bright.onnx"]
    assert "drop" in read_manifest(keep / "bright.int8.onnx").figures
    write_segmenter(zoo / "bright.onnx", seed=1)
    assert run(tool, monkeypatch, tmp_path, "--file", keep / "bright.int8.onnx") == 1
    assert "was not calibrated from" in capsys.readouterr().err
    assert sorted(path.name for path in zoo.iterdir()) == ["bright.onnx"]
