from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgevision
from edgevision.errors import DataError, SinkError, UsageError
from edgevision.evaluation.bootstrap import ap50_mean_interval
from edgevision.evaluation.detection import DetectionEvaluation, evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.plots import plot_confusion_matrix, plot_precision_recall
from edgevision.evaluation.report import (
    DetectionReport,
    Provenance,
    detection_report,
    hash_files,
    read_report,
    segmentation_report,
    write_report,
)
from edgevision.evaluation.segmentation import confusion_matrix, segmentation_figures
from edgevision.evaluation.worst import draw_errors, save_worst
from edgevision.types import Detections

ORIGIN = Provenance(
    model="light", model_hash="ab", data="val.json", data_hash="cd", command="edgevision eval --model light"
)
CLASSES = ["person", "car"]
LEFT, RIGHT = [20.0, 60.0, 120.0, 160.0], [200.0, 60.0, 300.0, 160.0]


def evaluation() -> tuple[DetectionEvaluation, dict[int, Detections], dict[int, GroundTruth]]:
    """Image 1: one person found, one missed. Image 2: all found. Image 3: a false car."""
    truth = {
        1: GroundTruth(np.array([LEFT, RIGHT]), np.array([0, 0]), np.zeros(2, bool)),
        2: GroundTruth(np.array([LEFT]), np.array([0]), np.zeros(1, bool)),
        3: GroundTruth(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool)),
    }
    predictions = {
        1: Detections(np.array([LEFT]), np.array([0.9]), np.array([0])),
        2: Detections(np.array([LEFT]), np.array([1.0]), np.array([0])),
        3: Detections(np.array([RIGHT]), np.array([0.5]), np.array([1])),
    }
    return evaluate_detections(predictions, truth, CLASSES, min_boxes=2), predictions, truth


def test_a_detection_report_has_its_keys_and_comes_back(tmp_path: Path) -> None:
    result, _, _ = evaluation()
    report = detection_report(result.figures, ORIGIN, ap50_mean_interval(result, resamples=20))
    path = tmp_path / "report.json"
    write_report(path, report)
    document = json.loads(path.read_text(encoding="utf-8"))
    wanted = {
        "ap50", "ap", "ar", "ap50_mean", "ap50_mean_ci", "mar", "per_class", "ap50_voc07", "ap50_voc",
        "model_hash", "data_hash", "command", "version", "task", "schema", "images", "min_boxes",
    }  # fmt: skip
    assert wanted <= document.keys()
    assert document["version"] == edgevision.__version__
    assert document["ap50"] == pytest.approx(67 / 101)  # recall 2/3: points 0.00 to 0.66
    assert document["per_class"]["person"]["boxes"] == 3
    assert document["per_class"]["car"]["ap50"] is None
    assert document["ap50_mean_ci"]["resamples"] == 20
    assert read_report(path) == report
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_a_segmentation_report_has_its_keys_and_comes_back(tmp_path: Path) -> None:
    labels = np.array([[0, 0, 1, 1]])
    matrix = confusion_matrix(labels, np.array([[0, 1, 1, 1]]), 2)
    report = segmentation_report(segmentation_figures(matrix, CLASSES), ORIGIN, 1, matrix.tolist())
    write_report(tmp_path / "report.json", report)
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {
        "miou",
        "dice",
        "pixel_accuracy",
        "per_class",
        "model_hash",
        "data_hash",
        "command",
        "version",
    } <= (document.keys())
    assert document["pixel_accuracy"] == 0.75
    assert document["confusion_matrix"] == [[1, 1], [0, 2]]
    assert read_report(tmp_path / "report.json") == report


def test_a_comparison_names_the_other_model(tmp_path: Path) -> None:
    result, _, _ = evaluation()
    write_report(tmp_path / "report.json", detection_report(result.figures, ORIGIN, compared_with=ORIGIN))
    back = read_report(tmp_path / "report.json")
    assert isinstance(back, DetectionReport)
    assert back.compared_with == ORIGIN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a report"),
        (b"[]", "is not a report"),
        (b'{"task": "detection", "schema": 99}', "report schema 99; expected 1"),
        (b'{"task": "detection", "schema": 1}', "is not a report"),
    ],
)
def test_what_is_no_report_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_report(tmp_path / "report.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot read report"):
        read_report(tmp_path / "other.json")


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    result, _, _ = evaluation()
    with pytest.raises(SinkError, match="cannot write"):
        write_report(tmp_path / "missing" / "report.json", detection_report(result.figures, ORIGIN))


def test_the_data_hash_knows_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    before = hash_files([first, second])
    assert hash_files([second, first]) == before
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert hash_files([first.rename(moved / "a.jpg"), second]) == before
    second.write_bytes(b"three")
    assert hash_files([moved / "a.jpg", second]) != before
    with pytest.raises(DataError, match="cannot read"):
        hash_files([first])


def test_plots_are_images_with_something_in_them(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result, _, _ = evaluation()
    curves = {name: result.curve(k) for k, name in enumerate(CLASSES)}
    plot_precision_recall(tmp_path / "pr.png", curves, "validation")
    plot_precision_recall(tmp_path / "none.png", {})
    plot_confusion_matrix(tmp_path / "confusion.png", np.array([[8, 2], [1, 9]]), CLASSES)
    drawn = {name: cv2.imread(str(tmp_path / f"{name}.png")) for name in ("pr", "none", "confusion")}
    for image in drawn.values():
        assert image is not None
        assert min(image.shape[:2]) >= 300
    assert (drawn["pr"] < 128).sum() > (drawn["none"] < 128).sum() + 500


def test_without_matplotlib_a_plot_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "matplotlib":
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(UsageError, match="a plot needs matplotlib"):
        plot_confusion_matrix(tmp_path / "confusion.png", np.eye(2, dtype=np.int64), CLASSES)
    assert not list(tmp_path.iterdir())


def near(image: np.ndarray, box: list[float], rgb: tuple[int, int, int]) -> bool:
    """Whether the box's left edge is drawn in this colour."""
    strip = image[100:140, int(box[0]) - 3 : int(box[0]) + 4, ::-1].astype(int)
    return bool((np.abs(strip - np.array(rgb)).sum(axis=2) < 30).any())


GREEN, RED, BLUE = (60, 190, 60), (230, 50, 50), (60, 110, 255)


def test_errors_are_drawn_by_what_they_are() -> None:
    _, predictions, truth = evaluation()
    blank = np.full((240, 320, 3), 200, np.uint8)
    first = draw_errors(blank, predictions[1], truth[1], CLASSES)
    assert near(first, LEFT, GREEN)
    assert near(first, RIGHT, BLUE)
    third = draw_errors(blank, predictions[3], truth[3], CLASSES)
    assert near(third, RIGHT, RED)
    assert not near(third, LEFT, GREEN)
    assert (blank == 200).all()


def test_weak_detections_are_not_drawn_and_their_object_is_missed() -> None:
    _, predictions, truth = evaluation()
    drawn = draw_errors(np.full((240, 320, 3), 200, np.uint8), predictions[1], truth[1], CLASSES, 0.95)
    assert near(drawn, LEFT, BLUE)
    assert not near(drawn, LEFT, GREEN)


def test_an_ignored_region_is_neither_missed_nor_are_detections_in_it_false() -> None:
    there = GroundTruth(np.array([LEFT, RIGHT]), np.array([0, 0]), np.array([True, True]))
    inside = Detections(np.array([LEFT]), np.array([0.9]), np.array([0]))
    drawn = draw_errors(np.full((240, 320, 3), 200, np.uint8), inside, there, CLASSES)
    assert not any(near(drawn, box, colour) for box in (LEFT, RIGHT) for colour in (GREEN, RED, BLUE))


def test_the_worst_images_are_saved_worst_first(tmp_path: Path) -> None:
    result, predictions, truth = evaluation()
    paths = {}
    for image in (1, 2, 3):
        paths[image] = tmp_path / f"photo{image}.png"
        cv2.imwrite(str(paths[image]), np.full((240, 320, 3), 200, np.uint8))
    written = save_worst(tmp_path / "worst", result, paths, predictions, truth)
    assert [path.name for path in written] == ["01_photo1.jpg", "02_photo3.jpg"]
    assert sorted(path.name for path in (tmp_path / "worst").iterdir()) == ["01_photo1.jpg", "02_photo3.jpg"]
    paths[1].write_bytes(b"no longer an image")
    again = save_worst(tmp_path / "again", result, paths, predictions, truth)
    assert [path.name for path in again] == ["01_photo3.jpg"]
    with pytest.raises(SinkError, match="cannot create folder"):
        save_worst(paths[2] / "worst", result, paths, predictions, truth)
