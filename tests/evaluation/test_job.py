"""Evaluating and comparing models from Python, on images whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgevision.engines import Engine, load_engine
from edgevision.errors import UsageError
from edgevision.evaluation.job import Evaluation, evaluate
from edgevision.evaluation.labelled import LabelledData
from edgevision.evaluation.report import DetectionReport
from edgevision.evaluation.yardstick import DetectionMeasurement
from edgevision.tiling import Tiling
from tests.evaluation.test_yardstick import labelled
from tests.support.models import colour_manifest, write_bright_segmenter, write_colour_model


@dataclass(frozen=True)
class Opened:
    text: str
    sha256: str
    engine: Engine


def run(folder: Path, *paths: Path, notes: list[str] | None = None, classes: str | None = None) -> Evaluation:
    data = LabelledData(data=labelled(folder), images=folder)
    models = [Opened(path.name, path.stem, load_engine(path, "onnxruntime")) for path in paths]
    lines: list[str] = [] if notes is None else notes
    return evaluate(models, data, min_boxes=4, note=lines.append, classes=classes)


def test_one_model_is_measured_and_reported(tmp_path: Path) -> None:
    notes: list[str] = []
    found = run(tmp_path, write_colour_model(tmp_path / "m.onnx"), notes=notes)
    assert found.measured[0].value == pytest.approx(1.0)
    assert found.interval is not None
    assert found.interval.value == pytest.approx(1.0)
    assert (found.skipped, notes) == ((), [])
    report = found.report("made by hand")
    assert isinstance(report, DetectionReport)
    assert (report.model, report.model_hash, report.command) == ("m.onnx", "m", "made by hand")
    assert report.data == str(tmp_path / "labels.json")
    assert report.compared_with is None


def test_two_models_are_compared(tmp_path: Path) -> None:
    good = write_colour_model(tmp_path / "good.onnx")
    bad = tmp_path / "bad.onnx"
    write_colour_model(bad, colour_manifest(classes=("blue", "red", "green")))
    found = run(tmp_path, good, bad)
    assert found.interval is not None
    assert found.interval.value == pytest.approx(-2 / 3)
    report = found.report()
    assert report.compared_with is not None
    assert (report.model, report.compared_with.model) == ("bad.onnx", "good.onnx")
    found.plot(tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    kinds = ("confusion", "precision_recall", "recall_over_iou")
    assert names == [f"{kind}_{one}.png" for kind in kinds for one in "ab"]
    assert [path.parent for path in found.save_worst(tmp_path / "worst")] == [tmp_path / "worst"] * 8


def test_an_image_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    path = write_colour_model(tmp_path / "m.onnx")
    data = LabelledData(data=labelled(tmp_path), images=tmp_path)
    (tmp_path / "0.png").write_bytes(b"no image")
    with load_engine(path, "onnxruntime") as engine:
        found = evaluate([Opened("m", "m", engine)], data, min_boxes=1)
    assert len(found.skipped) == 1
    assert "0.png" in found.skipped[0]
    assert found.measured[0].value == pytest.approx(1.0)


def test_classes_can_be_chosen(tmp_path: Path) -> None:
    path = write_colour_model(tmp_path / "m.onnx")
    report = run(tmp_path, path, classes="red").report()
    assert list(report.per_class) == ["red"]


def test_tiles_are_looked_at_too(tmp_path: Path) -> None:
    path = write_colour_model(tmp_path / "m.onnx")
    data = LabelledData(data=labelled(tmp_path), images=tmp_path)
    with load_engine(path, "onnxruntime") as engine:
        whole = evaluate([Opened("m", "m", engine)], data, min_boxes=1).measured[0]
        tiled = evaluate([Opened("m", "m", engine)], data, min_boxes=1, tiling=Tiling(2, 2)).measured[0]
    assert isinstance(whole, DetectionMeasurement)
    assert isinstance(tiled, DetectionMeasurement)
    scores = [one.predictions.found[1].scores.tolist() for one in (whole, tiled)]
    assert scores[0] != scores[1]  # what only one view has counts less
    assert tiled.value is not None
    assert tiled.value > 0.5


def test_a_model_of_the_other_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bright.onnx"
    write_bright_segmenter(path)
    with pytest.raises(UsageError, match=r"bright\.onnx is a segmentation model"):
        run(tmp_path, path)
