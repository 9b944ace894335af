"""Training a segmenter: it learns, resumes, is measured as it ships, and names what it cannot use."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch

from edgevision.cli import main
from edgevision.config import config_folder
from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import CheckpointError, ConfigError, DataError
from edgevision.evaluation.segmentation import confusion_matrix, segmentation_figures
from edgevision.model import Model
from edgevision.models.torch_engine import TorchSegmenterEngine
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import ClassifierTraining, DetectorTraining, SegmenterTraining, load_run
from edgevision.training.loop import Trainer, Watcher
from edgevision.training.segmentation import SegmentationTask, segmenter_manifest
from edgevision.types import IGNORE_ID, SegmentationMap
from tests.support.segmentation import CLASSES, small_run, write_set


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def test_training_learns_and_what_it_reports_is_what_the_model_does(folder: Path, tmp_path: Path) -> None:
    run = small_run(folder, "loop.images=240", "loop.validate_every=240", "loop.save_every=240")
    losses: list[float] = []
    task = SegmentationTask(run)
    watcher = Watcher(on_step=lambda step: losses.append(sum(step.losses.values())))
    figures = Trainer(run, task, tmp_path / "run", watcher=watcher).run()
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert figures["miou"] > 0.6
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert isinstance(best.config, SegmenterTraining)
    assert best.best == figures["miou"]
    model = SegmentationTask(run).model
    model.load_state_dict(best.average)
    detector = Model(TorchSegmenterEngine(model.eval(), segmenter_manifest(run)))
    data = load_segmentation(folder, "val", CLASSES)
    matrix = np.zeros((3, 3), np.int64)
    for pair in data.images:
        image, labels = read_pair(data, pair)
        (found,) = detector([image])
        assert isinstance(found, SegmentationMap)
        matrix += confusion_matrix(labels, found.class_map, 3, IGNORE_ID)
    again = segmentation_figures(matrix, CLASSES)
    assert figures == {
        "miou": round(again.miou, 4),
        "dice": round(again.dice, 4),
        "pixel_accuracy": round(again.pixel_accuracy, 4),
    }


def test_a_run_cut_off_ends_as_if_it_had_not_been(folder: Path, tmp_path: Path) -> None:
    run = small_run(folder, "loop.images=24", "loop.validate_every=24", "model.dropout=0.5")
    whole = Trainer(run, SegmentationTask(run), tmp_path / "whole")
    whole.run()

    class CutError(Exception):
        pass

    def cut(step: object) -> None:
        if step.seen == 20:  # type: ignore[attr-defined]
            raise CutError

    with pytest.raises(CutError):
        Trainer(run, SegmentationTask(run), tmp_path / "cut", watcher=Watcher(on_step=cut)).run()
    resumed = Trainer(run, SegmentationTask(run), tmp_path / "cut", resume=True)
    assert resumed.seen == 16
    resumed.run()
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_images_of_another_size_are_measured_at_their_own(folder: Path) -> None:
    data = load_segmentation(folder, "val")
    for i, pair in enumerate(data.images):
        for path, flag in ((pair.image, cv2.INTER_LINEAR), (pair.labels, cv2.INTER_NEAREST)):
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(path), cv2.resize(image, (130 + i, 50), interpolation=flag))
    task = SegmentationTask(small_run(folder))
    assert set(task.validate(task.model.eval(), torch.device("cpu"))) == {"miou", "dice", "pixel_accuracy"}


def test_images_left_out_and_classes_without_pixels_are_named(folder: Path) -> None:
    data = load_segmentation(folder, "train")
    data.images[2].image.write_bytes(data.images[2].image.read_bytes()[:200])
    for image in data.images:
        ids = cv2.imread(str(image.labels), cv2.IMREAD_UNCHANGED)
        ids[ids == 2] = 0
        cv2.imwrite(str(image.labels), ids)
    notes = list(SegmentationTask(small_run(folder)).notes)
    assert len(notes) == 3
    assert "1 images are left out of training" in notes[0]
    assert "a_train2.png" in notes[1]
    assert "no training pixel of sign" in notes[2]
    data.images[0].image.write_bytes(load_segmentation(folder, "val").images[1].image.read_bytes())
    assert "val: 1 images are trained on too" in list(SegmentationTask(small_run(folder)).notes)[-1]
    for image in load_segmentation(folder, "val").images:
        ids = cv2.imread(str(image.labels), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(image.labels), np.full_like(ids, 9))
    with pytest.raises(DataError, match="val: no pixel of road, car, sign"):
        SegmentationTask(small_run(folder))


def test_bad_requests_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no class 'lorry'"):
        SegmentationTask(small_run(folder, "classes=[road, car, lorry]"))
    with pytest.raises(ConfigError, match=r"class_weights has 2 numbers; expected 3"):
        SegmentationTask(small_run(folder, "loss.class_weights=[1.0, 2.0]"))
    run = small_run(folder)
    other = SegmentationTask(small_run(folder, "model.channels=[8, 8]"))
    Trainer(run, SegmentationTask(run), tmp_path / "run").save("last.pt")
    with pytest.raises(CheckpointError, match="belongs to another model"):
        Trainer(other.config, other, tmp_path / "run", resume=True)
    initial = str(tmp_path / "run" / "last.pt")
    with pytest.raises(CheckpointError, match=r"belongs to another model .* the same architecture"):
        SegmentationTask(msgspec.structs.replace(other.config, initial=initial))
    started = SegmentationTask(msgspec.structs.replace(run, initial=initial)).model.state_dict()
    assert started.keys() == load_checkpoint(initial).average.keys()


def test_median_frequency_weights_come_from_the_training_set(folder: Path) -> None:
    task = SegmentationTask(small_run(folder, "loss.class_weights=median_frequency"))
    weights = task._criterion.weights
    assert weights is not None
    assert float(weights[0]) < float(weights.median()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "task=segmantation",
            "unknown task 'segmantation'; expected detection or segmentation or classification; did you mean",
        ),
        ("task=null", "no key 'task'; expected detection or segmentation"),
        ("model.decodr=bilinear", r"unknown key 'model\.decodr'; did you mean 'decoder'"),
        ("model.decoder=cubic", "`model.decoder` is 'cubic'"),
        ("colours=[[1, 2, 3]]", "1 colours for 11 classes"),
        ("model.input_height=360", "`model.input_height` is 360; expected a multiple of 32"),
        (
            "loss.class_weights=often",
            "`loss.class_weights` is 'often'; expected one of: equal, median_frequency; or a list",
        ),
    ],
)
def test_typos_in_a_configuration_are_named(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run(config_folder() / "models" / "unet-light.yaml", [change])


_KINDS = {
    **dict.fromkeys(("unet", "fcn", "segnet", "deconvnet"), SegmenterTraining),
    **dict.fromkeys(("classifier", "multi-label"), ClassifierTraining),
}


def test_every_configuration_that_ships_is_complete() -> None:
    tasks = {path.stem: load_run(path) for path in sorted((config_folder() / "models").glob("*.yaml"))}
    assert {"retinanet-light", "retinanet-resnet50", "unet-light", "unet-resnet34"} <= tasks.keys()
    for name, run in tasks.items():
        assert run.name == name
        kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), DetectorTraining)
        assert isinstance(run, kind), name


def test_the_command_trains_exports_and_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["loop.images=8", "loop.validate_every=8", "model.backbone={name: resnet18, weights: random}"]
    config = tmp_path / "small.yaml"
    config.write_bytes(msgspec.yaml.encode(small_run(folder, *few)))
    for arguments in (
        ["train", str(config), "--out", str(tmp_path / "run"), "--threads", "1"],
        ["export", str(tmp_path / "run" / "best.pt"), "--out", str(tmp_path / "small.onnx")],
        ["run", "--model", str(tmp_path / "small.onnx"), "--source", str(folder / "images" / "val"),
         "--save-masks", str(tmp_path / "masks")],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code, capsys.readouterr().err
    assert "3 classes, input 96x64, miou 0." in capsys.readouterr().out
    mask = cv2.imread(str(tmp_path / "masks" / "a_val0.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (64, 96)
    assert mask.max() < 3
