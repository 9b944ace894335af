"""What a training refuses before and while it runs: settings, places and files that cannot be."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import pytest
import torch
from torch import nn

from edgevision.cli import main
from edgevision.config import build_config
from edgevision.data.detection.sources import CocoSource
from edgevision.errors import CheckpointError, ConfigError, DataError, SinkError, TrainingError
from edgevision.models.backbone import load_classifier_weights
from edgevision.training.checkpoint import load_checkpoint, save_checkpoint
from edgevision.training.config import DetectorTraining
from edgevision.training.detection import DetectionTask
from edgevision.training.loop import Trainer, torch_errors
from edgevision.training.lr_find import describe
from edgevision.training.records import RunRecords
from tests.support.training import small_run


@pytest.fixture
def run(tmp_path: Path) -> DetectorTraining:
    return small_run(tmp_path)


@pytest.fixture
def command(tmp_path: Path, run: DetectorTraining) -> Callable[..., list[str]]:
    """Arguments that train two steps of four images."""
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(run))

    def arguments(*more: str) -> list[str]:
        return ["train", str(config), "--set", "loop.images=8", *more]

    return arguments


def code_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    return int(done.value.code or 0)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("classes", [], "classes is empty"),
        ("classes", ["car", ""], "classes is empty or has an empty name"),
        ("classes", ["car", "dog", "car"], "classes has car more than once"),
        ("data.train", [], "train is empty; expected one source or more"),
        ("optimiser.lr", -0.1, "`optimiser.lr` is -0.1; expected a number above 0"),
        ("optimiser.lr", 0, "expected a number above 0"),
        ("optimiser.ema_decay", 1.5, "ema_decay` is 1.5; expected a number of at least 0 and below 1"),
        ("optimiser.weight_decay", -1, "`optimiser.weight_decay` is -1; expected a number of at least 0"),
        (
            "optimiser.schedule",
            "linear",
            "`optimiser.schedule` is 'linear'; expected one of: constant, cosine, one_cycle",
        ),
        ("loop.workers", -1, "`loop.workers` is -1; expected a whole number of at least 0"),
        ("augment.mosaic", 2, "`augment.mosaic` is 2; expected a number from 0 to 1"),
        ("data.val.kind", "yoloo", "`data.val.kind` is 'yoloo'; expected one of: coco, voc, yolo"),
    ],
)
def test_an_impossible_setting_is_named(
    run: DetectorTraining, place: str, value: object, message: str
) -> None:
    document = json.loads(msgspec.json.encode(run))
    *parents, last = place.split(".")
    part = document
    for parent in parents:
        part = part[parent]
    part[last] = value
    with pytest.raises(ConfigError) as caught:
        build_config(document, DetectorTraining, "run.yaml")
    assert message in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_line(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert code_of(command("--out", str(tmp_path / "taken"))) == 1
    assert f"cannot create folder {tmp_path / 'taken'}: File exists" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(SinkError, match=r"cannot write .*log\.jsonl: Is a directory"):
        RunRecords(tmp_path, 0, tensorboard=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_ends_the_log_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with (
        pytest.raises(SinkError, match=r"cannot write .*log\.jsonl: No space"),
        RunRecords(tmp_path, 0, False) as log,
    ):
        log.write(8, loss=1.0)


@pytest.mark.parametrize(
    "error", [RuntimeError("unexpected pos 64 vs 0"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_full_disk_keeps_the_last_checkpoint(
    run: DetectorTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """torch's writer raises a RuntimeError that names neither the file nor the disk."""
    trainer = Trainer(run, DetectionTask(run), tmp_path / "out")
    trainer.save("last.pt")
    kept = load_checkpoint(tmp_path / "out" / "last.pt")

    def fail(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(SinkError, match=r"cannot write .*last\.pt"):
        save_checkpoint(tmp_path / "out" / "last.pt", kept)
    assert load_checkpoint(tmp_path / "out" / "last.pt").seen == kept.seen
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["last.pt"]


def test_a_run_goes_on_wherever_its_first_weights_came_from(run: DetectorTraining, tmp_path: Path) -> None:
    """The file of the first weights may be on another machine: a checkpoint has all weights."""
    Trainer(run, DetectionTask(run), tmp_path / "out").save("last.pt")
    backbone = msgspec.structs.replace(run.model.backbone, weights="elsewhere.pth")
    elsewhere = msgspec.structs.replace(run, model=msgspec.structs.replace(run.model, backbone=backbone))
    Trainer(elsewhere, DetectionTask(run), tmp_path / "out", resume=True)
    larger = msgspec.structs.replace(run, model=msgspec.structs.replace(run.model, input_size=96))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        Trainer(larger, DetectionTask(run), tmp_path / "out", resume=True)


def test_a_checkpoint_is_no_file_of_first_weights(run: DetectorTraining, tmp_path: Path) -> None:
    Trainer(run, DetectionTask(run), tmp_path / "out").save("last.pt")
    with pytest.raises(
        CheckpointError, match="to start from a checkpoint of 'edgevision train', set 'initial'"
    ):
        load_classifier_weights(nn.Identity(), str(tmp_path / "out" / "last.pt"))
    (tmp_path / "list.pth").write_bytes(b"no pickle")
    with pytest.raises(CheckpointError) as caught:
        load_classifier_weights(nn.Identity(), str(tmp_path / "list.pth"))
    assert str(caught.value).endswith("is not a PyTorch state dict, or it is damaged")


def test_resume_without_a_checkpoint_says_so(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(command("--out", str(tmp_path / "new"), "--resume")) == 0
    err = " ".join(capsys.readouterr().err.split())
    assert f"no checkpoint in {tmp_path / 'new'}: training from the start" in err


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (4, "stopped after 4 images, before the first checkpoint (loop.save_every)"),
        (12, "stopped after 12 images; --resume goes on from OUT/last.pt, after 8"),
    ],
)
def test_ctrl_c_says_what_is_kept(
    command: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    last: int,
    message: str,
) -> None:
    """Checkpoints are written every 8 images; the interrupt comes in the step after ``last``."""
    step = Trainer.step

    def interrupted(self: Trainer, *batch: object) -> object:
        if self.seen == last:
            raise KeyboardInterrupt
        return step(self, *batch)

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert code_of(command("--set", "loop.images=16", "--out", str(tmp_path / "out"))) == 130
    err = capsys.readouterr().err.replace("\n", "")
    assert message.replace("OUT", str(tmp_path / "out")).replace(" ", "") in err.replace(" ", "")
    assert (tmp_path / "out" / "last.pt").exists() == (last > 8)


def test_the_lowest_point_is_never_suggested() -> None:
    """A loss that falls ever faster and then explodes is steepest where the next rate is too high."""
    rates = [10 ** (-6 + i / 10) for i in range(60)]
    losses = [2.0 - 0.0005 * i**2 for i in range(50)] + [50.0] * 10
    curve = describe(rates, losses)
    assert curve.suggestion < curve.lowest


def test_a_validation_set_without_a_box_is_refused_at_once(run: DetectorTraining, tmp_path: Path) -> None:
    """Not after the first thousands of images."""
    document = json.loads((tmp_path / "set.json").read_text())
    (tmp_path / "bare.json").write_text(json.dumps({**document, "annotations": []}))
    bare = CocoSource(str(tmp_path / "bare.json"), str(tmp_path / "images"))
    data = msgspec.structs.replace(run.data, val=bare)
    with pytest.raises(DataError, match=r"no box to learn from: 1 \(12 images, 0 boxes to ignore\)"):
        DetectionTask(msgspec.structs.replace(run, data=data))


def test_what_torch_raises_is_one_line_with_a_remedy() -> None:
    with (
        pytest.raises(TrainingError, match=r"BatchNorm cannot learn from one image.*batch_size to 2"),
        torch_errors("training"),
    ):
        nn.BatchNorm2d(1).train()(torch.zeros(1, 1, 1, 1))
    with (
        pytest.raises(TrainingError, match=r"^torch failed while validating: first line$"),
        torch_errors("validating"),
    ):
        raise RuntimeError("first line\nsecond line")
    with pytest.raises(DataError, match=r"^a label is missing$"), torch_errors("reading a batch"):
        raise DataError("a label is missing\nOriginal traceback of a worker")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.EIO, "Input/output error"),
            r"torch failed while reading a batch: OSError: \[Errno 5\]",
        ),
        (IndexError("index 7"), r"torch failed while reading a batch: IndexError: index 7"),
        (cv2.error("cannot resize"), r"torch failed while reading a batch: .*cannot resize"),
        (
            TypeError("Caught\nOriginal Traceback\n  at\nTypeError: a str"),
            r"reading a batch: TypeError: a str$",
        ),
        (MemoryError("Unable to allocate"), r"the memory is full .*lower loop.batch_size"),
    ],
)
def test_what_a_worker_raises_is_one_line(error: Exception, message: str) -> None:
    with pytest.raises(TrainingError, match=message), torch_errors("reading a batch"):
        raise error


def test_errors_that_say_what_to_do_stay_as_they_are() -> None:
    for error in (SinkError("the disk is full"), ImportError("no module")):
        with pytest.raises(type(error)) as caught, torch_errors("training"):
            raise error
        assert caught.value is error


def test_a_model_that_torch_cannot_build_is_one_line(
    command: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> nn.Module:
        return nn.Conv2d(4, 4, 3, groups=0)

    monkeypatch.setattr("edgevision.training.detection.build_network", fail)
    assert code_of(command("--out", str(tmp_path / "out"))) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "error: torch failed while building the model: groups must be a positive integer"


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"image_id": 0, "category_id": 1, "bbox": [5, 5, 0, 9]}, "0.png: car at 5, 5, 5, 14"),
        (
            {"image_id": 0, "category_id": 1, "bbox": [50, 5, 20, 9]},
            "boxes outside the image: 1 (0.png: car at 50, 5, 70, 14)",
        ),
        ({"image_id": 0, "category_id": 1, "bbox": "x"}, "expected numbers"),
    ],
)
def test_single_bad_labels_are_left_out_and_refused_by_strict(
    tmp_path: Path,
    command: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    label: dict[str, object],
    words: str,
) -> None:
    labels = json.loads((tmp_path / "set.json").read_text())
    labels["annotations"].append(label)
    (tmp_path / "set.json").write_text(json.dumps(labels))
    assert code_of(command("--out", str(tmp_path / "out"), "--strict")) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: the data are broken: ")
    assert words in err
    assert not (tmp_path / "out").exists()
    assert code_of(command("--out", str(tmp_path / "out"))) == 0
    assert words in capsys.readouterr().err, "what is left out is told"
