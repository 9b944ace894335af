"""``edgevision train --data``: labelled images in, a model with its report out; faults before torch.

Also tests ``edgevision.cli.train``, ``edgevision.cli.train_run``.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgevision.cli import main
from edgevision.cli.train_request import Request
from edgevision.contract.model_file import read_manifest
from edgevision.models.retinanet import RetinaNet
from edgevision.training.checkpoint import Checkpoint, save_checkpoint
from edgevision.training.config import DetectorTraining, load_run
from tests.finetune.test_prepare import folder
from tests.support.training import small_run


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["train", *(str(argument) for argument in arguments)])
    return int(done.value.code or 0)


def small_base(place: Path) -> Path:
    """A checkpoint of a detector of 16 channels with random weights."""
    place.mkdir()
    run = small_run(place)
    weights = RetinaNet(run.model, len(run.classes)).state_dict()
    save_checkpoint(place / "best.pt", Checkpoint(run, 0, weights, weights, {}, {}, None))
    return place


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected a configuration, or --data"),
        (("a.yaml", "--data", "d"), "expected a configuration, or --data"),
        (("a.yaml", "--minutes", "3"), "only with --data: --minutes; a configuration names its own data"),
        (("a.yaml", "--int8"), "only with --data: --int8"),
        (
            ("a.yaml", "--images", "x", "--unlabelled", "empty", "--crowds-are-objects"),
            "only with --data: --images, --unlabelled, --crowds-are-objects",
        ),
        (("--data", "d", "--max-drop", "0.02"), "--max-drop needs --int8"),
        (("--data", "d", "--minutes", "3", "--epochs", "2"), "both say how long"),
        (("--data", "nowhere", "--out", "run"), "not found: nowhere"),
        (("--resume", "--out", "nowhere"), "holds no run of --data to go on with"),
        (("--data", "d", "--resume", "--print-config"), "--print-config trains nothing"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("kind", ["empty folder", "archive of nothing", "damaged archive"])
def test_refused_data_leave_nothing(tmp_path: Path, kind: str, is_there: bool) -> None:
    data = tmp_path / ("data.zip" if "archive" in kind else "data")
    if kind == "empty folder":
        data.mkdir()
    elif kind == "damaged archive":
        data.write_bytes(b"PK no archive")
    else:
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("notes.txt", "no label")
    out = tmp_path / "runs" / "out"
    if is_there:
        out.mkdir(parents=True)
        (out / "notes.txt").write_text("mine")
    assert call("--data", data, "--out", out) == 1
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} - {data.name}
    assert left == ({"runs", "runs/out", "runs/out/notes.txt"} if is_there else set())


def test_an_archive_that_was_killed_while_it_was_unpacked_is_unpacked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, place = tmp_path / "data.zip", tmp_path / "out" / "data"
    png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", png)
    (place / "images.partial").mkdir(parents=True)
    (place / "images.partial" / "0.png").write_bytes(b"half of it")
    assert call("--data", data, "--out", tmp_path / "out") == 1
    assert "3 images and no label" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_images_become_a_model_with_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, out = folder(tmp_path / "d"), tmp_path / "run"
    base = small_base(tmp_path / "base")
    printed = (
        "--data",
        data,
        "--from",
        base,
        "--epochs",
        1,
        "--out",
        out,
        "--print-config",
        "--set",
        "model.input_size=32",
    )
    assert call(*printed) == 0
    captured = capsys.readouterr()
    (tmp_path / "run.yaml").write_text(captured.out)
    run = load_run(tmp_path / "run.yaml")
    assert isinstance(run, DetectorTraining)
    assert run.classes == ("cat", "dog")
    assert not (out / "last.pt").exists()
    assert "of the boxes are below 8 pixels at the input of 32x32" in captured.err
    assert captured.err.splitlines()[0].startswith(f"{data}: YOLO text; train 16 images (cat 16, dog ")
    settings = ("--set", "loop.workers=0", "--set", "model.input_size=64", "--epochs", 2)
    assert call("--data", data, "--from", base, "--out", out, "--int8", *settings) == 0
    captured = capsys.readouterr()
    assert f"{out / 'model.onnx'}: ap50 " in captured.out
    assert "the model finds nothing" in captured.err  # two steps from random weights
    assert f"{out / 'model.int8.onnx'}: " in captured.out
    assert "distinct frames" not in captured.err  # each image is a source of one frame
    assert "accuracy was not measured" in captured.out  # there is nothing that it could lose
    assert f"--model {out / 'model.int8.onnx'} " in captured.out.splitlines()[-1]
    assert read_manifest(out / "model.int8.onnx").precision == "int8"
    figures = json.loads((out / "figures.json").read_text())
    assert set(figures["per_class"]) == {"cat", "dog"}
    report = (out / "report.html").read_text()
    for part in ("By class", "By size", "What is taken for what", "What the data lack", "images: 21 on disk"):
        assert part in report
    assert "# run" in (out / "model.md").read_text()
    assert load_run(out / "config.yaml") == msgspec.structs.replace(
        load_run(out / "config.yaml"), initial=str(base / "best.pt")
    )
    assert call("--data", data, "--out", out) == 2  # a run is there
    assert "--resume to go on" in capsys.readouterr().err


BEGUN = Request(Path("photos"), "unet-light", None, 2.0, None, "leave-out", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--minutes", "3"), "begun with another --minutes"),
        (("--minutes", "30"), "begun with another --minutes"),  # by epochs
        (("--data", "moved", "--from", "ssd", "--epochs", "3"), "begun with another --from, --epochs"),
        (("--unlabelled", "empty", "--crowds-are-objects"), "another --unlabelled, --crowds-are-objects"),
        (("--max-drop", "0.02"), "--max-drop needs --int8"),
        (("--from", "unet-light", "--epochs", "2"), "not found: photos"),  # what it was begun with
        (("--data", "moved", "--int8"), "not found: moved"),
    ],
)
def test_a_run_goes_on_as_it_was_begun(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    BEGUN.write(Path("run"))
    assert call("--resume", "--out", "run", *arguments) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
