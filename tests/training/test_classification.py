"""Training a classifier: it learns from boxes, is measured on crops, and shows where it looks.

Also tests ``edgevision.cli.explain``, ``edgevision.training.explain``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch

from edgevision.cli import main
from edgevision.config import config_folder
from edgevision.contract.model_file import read_manifest
from edgevision.data.classification.sources import CropSource, FolderSource, ImageLabelSource
from edgevision.errors import CheckpointError, ConfigError, DataError, UsageError
from edgevision.evaluation.report import ClassificationReport, read_report
from edgevision.training.check import check_classifier_data
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.classification import ClassificationTask
from edgevision.training.config import ClassifierTraining, load_run
from edgevision.training.explain import explain
from edgevision.training.loop import Trainer
from edgevision.training.networks import checkpoint_engine, load_classifier, load_detector
from tests.support import training


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def small(folder: Path, family: str, *overrides: str) -> ClassifierTraining:
    """A run of seconds on the images of a detector's: each has a red car or a blue dog."""
    training.small_run(folder)
    run = load_run(
        config_folder() / "models" / f"{family}.yaml",
        [
            "classes=[car, dog]",
            "model.backbone.weights=random",
            "model.input_size=32",
            "model.channels=16",
            "optimiser={lr: 0.003, warmup_images: 40, ema_decay: 0.9}",
            "loop={images: 480, batch_size: 8, workers: 0, seed: 1, validate_every: 480, save_every: 480}",
            *overrides,
        ],
    )
    assert isinstance(run, ClassifierTraining)
    kind = CropSource if family == "classifier" else ImageLabelSource
    source = kind(str(folder / "set.json"), str(folder / "images"))
    return msgspec.structs.replace(run, data=msgspec.structs.replace(run.data, train=(source,), val=source))


@pytest.mark.parametrize(("family", "figure"), [("classifier", "top1"), ("multi-label", "map")])
def test_it_learns_and_eval_says_of_its_checkpoint_what_the_run_said(
    tmp_path: Path, family: str, figure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, family)
    figures = Trainer(run, ClassificationTask(run), tmp_path / "run").run()
    assert figures[figure] > 0.9
    model = tmp_path / "run" / "best.pt"
    report = tmp_path / "report.json"
    options = ["--data", str(tmp_path / "set.json"), "--images", str(tmp_path / "images")]
    crops = ["--crops"] if family == "classifier" else []
    with pytest.raises(SystemExit, match="0"):
        main(["eval", "--model", str(model), *options, *crops, "--json", str(report)])
    found = read_report(report)
    assert isinstance(found, ClassificationReport)
    assert getattr(found, figure) == pytest.approx(figures[figure], abs=1e-4)
    checkpoint = load_checkpoint(tmp_path / "run" / "best.pt")
    assert checkpoint_engine(checkpoint).manifest.multi_label is (family == "multi-label")
    with pytest.raises(CheckpointError, match="holds no detector"):
        load_detector(checkpoint)
    capsys.readouterr()
    check_thresholds_in_the_file(model, report, family, capsys)
    out = tmp_path / "where.png"
    with pytest.raises(SystemExit, match="0"):
        main(
            ["explain", str(tmp_path / "run" / "best.pt"), str(tmp_path / "images" / "1.png"),
             "--classes", "car,dog", "--out", str(out)]
        )  # fmt: skip
    drawn = cv2.imread(str(out))
    assert drawn is not None
    assert drawn.shape == (32, 64, 3)
    assert capsys.readouterr().out.startswith(f"{out}: car ")
    (best,) = explain(checkpoint, cv2.imread(str(tmp_path / "images" / "1.png")))
    assert best.score >= 0.5
    assert best.name == "dog" or family == "classifier"  # which learnt from crops, not from whole images
    with pytest.raises(UsageError, match="has no class 'cat'"):
        explain(checkpoint, np.zeros((8, 8, 3), np.uint8), ("cat",))


def check_thresholds_in_the_file(
    checkpoint: Path, report: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exported file of several labels keeps the thresholds of a report; of one label there are none."""
    out = checkpoint.with_name("model.onnx")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(checkpoint), "--thresholds", str(report), "--out", str(out)])
    if family == "classifier":
        assert "that report has no thresholds" in capsys.readouterr().err
        assert ended.value.code == 1
        assert not out.exists()
        return
    assert ended.value.code == 0
    points = read_report(report).points
    assert points is not None
    assert read_manifest(out).class_thresholds == {name: one.best.threshold for name, one in points.items()}
    assert set(points) == {"car", "dog"}
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(out), "--thresholds", str(report), "--out", str(out.with_name("again.onnx"))])
    assert "--thresholds goes with a checkpoint (.pt) of several labels" in capsys.readouterr().err


def test_a_file_name_that_is_no_png_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", "best.pt", "a.jpg", "--out", str(tmp_path / "a.jpg")])
    assert "expected a file name that ends in .png" in capsys.readouterr().err


def test_a_checkpoint_gives_its_weights_to_another_with_other_classes(tmp_path: Path) -> None:
    run = small(tmp_path, "classifier", "loop.images=8")
    Trainer(run, ClassificationTask(run), tmp_path / "run").run()
    last = str(tmp_path / "run" / "last.pt")
    three = msgspec.structs.replace(run, classes=("car", "dog", "cat"), initial=last)
    task = ClassificationTask(three)
    assert "classes without a label: 1 (cat)" in task.notes
    first = load_classifier(load_checkpoint(last))
    assert torch.equal(task.model.neck[0].weight, first.neck[0].weight)  # type: ignore[union-attr,index]
    assert task.model.classify.out_features == 3  # type: ignore[union-attr]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    run = small(tmp_path, "classifier")
    folders = FolderSource(str(tmp_path / "absent"))
    wrong = msgspec.structs.replace(run, data=msgspec.structs.replace(run.data, val=folders))
    with pytest.raises(DataError, match="cannot read"):
        check_classifier_data(wrong, read_images=False)
    configuration = config_folder() / "models" / "classifier.yaml"
    with pytest.raises(ConfigError, match="expected kind crops or folders"):
        load_run(configuration, ["data.val={kind: labels, annotations: a, images: b}"])
    with pytest.raises(ConfigError, match="expected two or more"):
        load_run(configuration, ["classes=[car]"])
    with pytest.raises(ConfigError, match="kind labels for the family multi-label"):
        load_run(config_folder() / "models" / "multi-label.yaml", ["data.val={kind: folders, folder: a}"])


def test_data_check_looks_at_every_image_of_a_classifier(tmp_path: Path) -> None:
    run = small(tmp_path, "classifier")
    (tmp_path / "images" / "3.png").write_bytes(b"not an image")
    report = check_classifier_data(run, read_images=True)
    assert any("unreadable images: 1 (3.png)" in str(finding) for finding in report.broken)
