"""What ``edgevision calibrate`` refuses, in one line each, and that an end before the end leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgevision.cli import console as console_module
from edgevision.cli import main
from tests.support.calibration import (
    calibration_place,
    gate_options,
    images,
    run_calibrate,
    save_images,
    write_segmenter,
    written,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return calibration_place(tmp_path)


def refused(place: Path, capsys: pytest.CaptureFixture[str], *options: str, **more: str) -> str:
    before = written(place)
    assert run_calibrate(place, *options, **more) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert said.count("\n") == 0
    assert written(place) == before
    return said


def test_one_frame_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = place / "one"
    save_images(one, np.repeat(images(1, size=64), 5, axis=0))  # five times the same
    assert "one distinct frame" in refused(place, capsys, "--from", str(one))


def test_no_frames_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "empty").mkdir()
    assert "empty" in refused(place, capsys, "--from", str(place / "empty"))
    assert "nowhere" in refused(place, capsys, "--from", str(place / "nowhere.mp4"))


def test_a_quantised_model_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_calibrate(place) == 0
    (place / "bright.int8.onnx").rename(place / "again.onnx")
    capsys.readouterr()
    assert "quantised already" in refused(place, capsys, "--overwrite", model="again.onnx")


def test_an_fp16_model_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_segmenter(place / "half.onnx", precision="fp16")
    assert "is not FP32" in refused(place, capsys, model="half.onnx")


def test_a_foreign_model_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(place / "bright.onnx")
    del model.metadata_props[:]
    onnx.save(model, place / "foreign.onnx")
    assert "without edgevision metadata" in refused(place, capsys, model="foreign.onnx")
    (place / "junk.onnx").write_bytes(b"not a model")
    assert "junk.onnx" in refused(place, capsys, model="junk.onnx")


def test_an_edited_model_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(place / "bright.onnx")
    model.graph.initializer[3].CopyFrom(
        numpy_helper.from_array(np.zeros(8, np.float32), model.graph.initializer[3].name)
    )
    onnx.save(model, place / "edited.onnx")
    assert "differs from the checksum" in refused(place, capsys, model="edited.onnx")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "entrop"], "did you mean 'entropy'"),
        (["--method", "percentile", "--percentile", "101"], "--percentile 101"),
        (["--method", "minmax", "--percentile", "99"], "--percentile 99 has no effect on --method minmax"),
        (["--method", "entropy", "--percentile", "99.99"], "--percentile 99.99 has no effect on --method"),
        (["--method", "trained", "--percentile", "99"], "--percentile 99 has no effect on --method trained"),
        (["--min-boxes", "3"], "--min-boxes has no effect without --data or --max-drop"),
        (["--data", "set", "--split", "val", "--min-boxes", "3"], "--min-boxes is for labelled boxes"),
        (["--weight-scale", "tenser"], "--weight-scale tenser; did you mean 'tensor'"),
        (["--data", "set"], "segmentation model; expected a folder as --data, and --split"),
        (["--data", "set", "--images", "x"], "segmentation model; expected a folder as --data, and --split"),
        (["--split", "val"], "--images and --split need --data"),
        (["--data", "set", "--split", "val", "--max-drop", "-1"], "--max-drop -1: "),
        (["--data", "set", "--split", "val", "--min-share", "2"], "--min-share 2: "),
        (["--max-drop", "0.02"], "found 12 distinct frames; expected 32 or more"),
        (["--max-drop", "-1"], "--max-drop -1: expected 0 or more"),
        (["--cache", "kept", "--no-cache"], "--cache and --no-cache exclude each other"),
        (["--cache", __file__], "is a file; expected a folder"),
        (["--classes", "voc"], "--classes has no effect without --data or --max-drop"),
        (["--min-share", "0.9"], "--min-share 0.9 has no effect without --data or --max-drop"),
    ],
)
def test_impossible_requests_are_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in refused(place, capsys, *options)


def test_a_folder_that_cannot_be_written_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("needs a folder that not even root can write in: /proc")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "calibrate",
                str(place / "bright.onnx"),
                "--from",
                str(place / "photos"),
                "--out",
                "/proc/x.onnx",
            ]
        )
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("error: cannot write in /proc")


def test_existing_outputs_are_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "bright.int8.md").write_text("mine")
    assert "--overwrite" in refused(place, capsys)
    assert (place / "bright.int8.md").read_text() == "mine"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(place: Path, sent: signal.Signals, code: int) -> None:
    save_images(place / "many", images(400, seed=4, size=64))
    command = [
        sys.executable, "-m", "edgevision", "calibrate", str(place / "bright.onnx"),
        "--from", str(place / "many"), "--out", str(place / "bright.int8.onnx"), "--no-cache",
        "--frames", "400", "--method", "entropy",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "dumb"})
    deadline = time.monotonic() + 240
    while not list(place.glob(".calibrate-*/frames/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    _, said = process.communicate(timeout=240)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert written(place) == []


PHASES = (
    "sampling frames", "measuring ranges", "counting magnitudes", "comparing ranges",
    "comparing with the labelled images", "evaluating the float model", "evaluating int8, 1 ",
    "ranking layers", "evaluating int8, 4 ", "timing",
)  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_in_any_phase_leaves_nothing_and_spoils_no_later_run(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    write_segmenter(place / "bright.onnx", wild=True)  # so that layers are ranked and put back
    options = [*gate_options(place), "--max-drop", "0.02", "--min-share", "0.7"]
    opened = []

    @contextmanager
    def interrupted(console: object, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        opened.append(label)

        def progress(done: int) -> None:
            if label.startswith(phase):
                raise KeyboardInterrupt

        yield progress

    with monkeypatch.context() as patch:
        patch.setattr(console_module, "counting", interrupted)
        assert run_calibrate(place, *options) == 130
    assert opened[-1].startswith(phase)
    assert "Traceback" not in capsys.readouterr().err
    assert written(place) == []
    assert run_calibrate(place, *options) == 0
    after = (place / "bright.int8.onnx").read_bytes()
    assert run_calibrate(place, *options, "--no-cache", "--overwrite") == 0
    assert (place / "bright.int8.onnx").read_bytes() == after
