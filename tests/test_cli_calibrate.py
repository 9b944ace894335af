"""``edgevision calibrate`` on small real models and pictures: what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from calibration_helpers import SIZE, pictures, write_segmenter
from onnx import numpy_helper

from calibration.qdq import check_qdq
from calibration.report import CalibrationReport
from calibration.simulate import SimulatedEngine
from edgevision.cli import main
from edgevision.detector import Detector
from edgevision.engines import load_engine
from edgevision.manifest import content_sha256, read_manifest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model, pictures to calibrate on, and a labelled set: bright pixels are class 1."""
    write_segmenter(tmp_path / "bright.onnx")
    save_pictures(tmp_path / "photos", pictures(12, seed=1, size=64))
    write_labelled(tmp_path / "set", pictures(6, seed=2))
    return tmp_path


def save_pictures(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:02}.png"), image)


def write_labelled(folder: Path, images: np.ndarray) -> None:
    save_pictures(folder / "images" / "val", images)
    bright = (images.astype(float).mean(axis=3) > 127.5).astype(np.uint8)
    save_pictures(folder / "labels" / "val", bright)
    (folder / "val.txt").write_text("\n".join(f"{i:02}" for i in range(len(images))) + "\n")
    classes = [{"id": 0, "name": "dark", "rgb": [0, 0, 0]}, {"id": 1, "name": "bright", "rgb": [9, 9, 9]}]
    (folder / "classes.json").write_text(json.dumps({"ignore_index": 255, "classes": classes}))


def calibrate(place: Path, *options: str, model: str = "bright.onnx") -> int:
    """Runs the command in ``place``; its exit code."""
    arguments = ["calibrate", str(place / model), "--out", str(place / "bright.int8.onnx"),
                 "--cache", str(place / "cache")]  # fmt: skip
    if "--from" not in options:
        arguments += ["--from", str(place / "photos")]
    with pytest.raises(SystemExit) as end:
        main([*arguments, *options])
    return int(end.value.code or 0)


def gate(place: Path) -> list[str]:
    return ["--data", str(place / "set"), "--split", "val"]


def report_of(place: Path) -> CalibrationReport:
    return msgspec.json.decode((place / "bright.int8.json").read_bytes(), type=CalibrationReport)


def written(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name.startswith((".", "bright.int8")))


ALL = ["bright.int8.frames.json", "bright.int8.json", "bright.int8.md", "bright.int8.onnx"]


def test_the_int8_model_keeps_the_contract_and_says_what_it_is(place: Path) -> None:
    assert calibrate(place, *gate(place), "--max-drop", "0.05") == 0
    assert written(place) == ALL
    path = place / "bright.int8.onnx"
    manifest, source = read_manifest(path), read_manifest(place / "bright.onnx")
    assert manifest.precision == "int8"
    assert manifest.sha256 == content_sha256(path)
    assert (manifest.classes, manifest.heads, manifest.input_width) == (source.classes, ("logits",), SIZE)
    facts = manifest.calibration
    assert facts is not None
    assert (facts.frames, facts.method, facts.float_sha256) == (12, "minmax", source.sha256)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    check_qdq(model, "result")
    assert [(one.name, one.type) for one in model.graph.input] == [
        (one.name, one.type) for one in onnx.load(place / "bright.onnx").graph.input
    ]
    with load_engine(path, "onnxruntime") as engine, load_engine(place / "bright.onnx") as float_engine:
        picture = pictures(1, seed=5, size=64)[0]
        (told,), (wanted,) = (Detector(one)([picture]) for one in (engine, float_engine))
        assert (told.class_map == wanted.class_map).mean() > 0.95


def test_the_report_holds_what_was_measured(place: Path) -> None:
    assert calibrate(place, *gate(place), "--max-drop", "0.05") == 0
    report = report_of(place)
    # stem 27 * 8, wide and mix 64 each, deep 72; logits, 16, feeds the head.
    assert report.int8_share == pytest.approx((216 + 64 + 72 + 64) / (216 + 64 + 72 + 64 + 16))
    assert [layer.name for layer in report.float_layers] == ["logits"]
    assert "feeds a head" in report.float_layers[0].why
    assert report.gate is not None
    found = report.gate
    assert (found.figure, found.pictures, found.max_drop) == ("miou", 6, 0.05)
    assert found.difference.value == pytest.approx(found.int8_value - found.float_value)
    assert found.difference.low <= found.difference.value <= found.difference.high
    manifest = read_manifest(place / "bright.int8.onnx")
    assert manifest.figures == {"miou": pytest.approx(found.int8_value, abs=1e-4)}
    assert {one.name for one in report.ranges} == {"images", "core/LeakyRelu_1", "core/Relu_3", "deep"}
    for one in report.ranges:
        assert one.limit == pytest.approx(max(abs(one.low), abs(one.high)))
        assert one.scale == pytest.approx(one.limit / 127)
    assert "ONNX Runtime" in " ".join(speed.engine for speed in report.speed)
    assert all(speed.float_ms > 0 < speed.int8_ms for speed in report.speed)
    assert report.int8_bytes == (place / "bright.int8.onnx").stat().st_size
    listed = json.loads((place / "bright.int8.frames.json").read_text())
    assert (len(listed["frames"]), listed["hash"]) == (report.frames, report.frames_sha256)
    text = (place / "bright.int8.md").read_text()
    for part in ("95 % interval", "## Layers in float", "## Speed", "`logits`", "edgevision calibrate"):
        assert part in text


def test_the_reported_figure_is_the_one_that_the_file_has(place: Path) -> None:
    """Measured again from the written file, through the project's own evaluation."""
    from calibration.accuracy import SegmentationYardstick
    from edgevision.data.segmentation import load_segmentation

    assert calibrate(place, *gate(place), "--max-drop", "0.05") == 0
    yardstick = SegmentationYardstick(load_segmentation(place / "set", "val"), "set")
    path = place / "bright.int8.onnx"
    again = yardstick.measure(SimulatedEngine(onnx.load(path), read_manifest(path)))
    found = report_of(place).gate
    assert found is not None
    assert again.value == found.int8_value


def test_the_gate_puts_back_the_layer_that_int8_cannot_hold(place: Path) -> None:
    """One channel of ``wide`` is a thousand times the others; ``deep`` reads it."""
    write_segmenter(place / "bright.onnx", wild=True)
    assert calibrate(place, *gate(place), "--max-drop", "0.02", "--min-share", "0.7") == 0
    report = report_of(place)
    assert report.gate is not None
    assert report.gate.trials[0].float_layers == 0
    assert report.gate.trials[0].drop > 0.02
    assert -report.gate.difference.value <= 0.02
    back = [layer for layer in report.float_layers if "accuracy gate" in layer.why]
    assert [layer.name for layer in back] == ["deep"]
    assert back[0].sqnr_db is not None
    manifest = read_manifest(place / "bright.int8.onnx")
    assert manifest.calibration is not None
    assert manifest.calibration.float_layers == ("deep",)
    names = {constant.name for constant in onnx.load(place / "bright.int8.onnx").graph.initializer}
    assert "deep.weight" in names
    assert "mix.weight/int8" in names


def test_a_budget_that_cannot_be_met_writes_nothing_and_says_why(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segmenter(place / "bright.onnx", wild=True)
    assert calibrate(place, *gate(place), "--max-drop", "0.02", "--min-share", "0.95") == 1
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    for part in (
        "no int8 model within the budget",
        "miou fell by",
        "--max-drop is 0.02",
        "nothing is written",
    ):
        assert part in said
    assert written(place) == []


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_equal_inputs_give_an_equal_file_with_and_without_the_cache(place: Path, method: str) -> None:
    files = []
    for options in ([], [], ["--no-cache"]):
        assert calibrate(place, "--method", method, "--overwrite", *options) == 0
        files.append((place / "bright.int8.onnx").read_bytes())
    assert files[0] == files[1] == files[2]


def test_changed_weights_never_meet_what_was_kept(place: Path) -> None:
    assert calibrate(place) == 0
    first = {one.name: one.limit for one in report_of(place).ranges}
    write_segmenter(place / "bright.onnx", seed=1)
    assert calibrate(place, "--overwrite") == 0
    cached = (place / "bright.int8.onnx").read_bytes()
    second = {one.name: one.limit for one in report_of(place).ranges}
    assert first["images"] == second["images"]
    assert first["deep"] != second["deep"]
    assert calibrate(place, "--overwrite", "--no-cache") == 0
    assert (place / "bright.int8.onnx").read_bytes() == cached


def test_methods_give_ranges_of_their_own(place: Path) -> None:
    limits = []
    for options in (["minmax"], ["percentile", "--percentile", "90"]):
        assert calibrate(place, "--overwrite", "--method", *options) == 0
        limits.append({one.name: one.limit for one in report_of(place).ranges})
    assert all(limits[1][name] <= limit for name, limit in limits[0].items())
    assert limits[1]["deep"] < limits[0]["deep"]


def test_frames_of_another_kind_are_warned_of(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    grey = 126 + rng.integers(0, 5, (8, 1, 1, 1)) + np.kron(
        rng.integers(-3, 4, (8, 4, 4, 1)), np.ones((1, 16, 16, 3), int)
    )  # fmt: skip
    save_pictures(place / "grey", grey.astype(np.uint8))
    options = ["--from", str(place / "grey"), *gate(place), "--max-drop", "0.9"]
    assert calibrate(place, *options) == 0
    said = capsys.readouterr().err
    assert "calibration frames are flat" in said
    assert "unlike" in said
    assert "times as far" in said
    assert any("unlike" in line for line in report_of(place).warnings)
    assert "frames are few" in said


def refused(place: Path, capsys: pytest.CaptureFixture[str], *options: str, **more: str) -> str:
    before = written(place)
    assert calibrate(place, *options, **more) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert said.count("\n") == 0
    assert written(place) == before
    return said


def test_one_frame_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = place / "one"
    save_pictures(one, np.repeat(pictures(1, size=64), 5, axis=0))  # five times the same
    assert "one distinct frame" in refused(place, capsys, "--from", str(one))


def test_no_frames_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "empty").mkdir()
    assert "empty" in refused(place, capsys, "--from", str(place / "empty"))
    assert "nowhere" in refused(place, capsys, "--from", str(place / "nowhere.mp4"))


def test_a_quantised_model_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate(place) == 0
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
        (["--data", "set"], "expected --data FOLDER --split NAME"),
        (["--data", "set", "--images", "x"], "expected --data FOLDER --split NAME"),
        (["--split", "val"], "belong to --data"),
        (["--max-drop", "-1"], "--max-drop -1"),
        (["--min-share", "2"], "--min-share 2"),
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
    save_pictures(place / "many", pictures(400, seed=4, size=64))
    command = [
        sys.executable, "-m", "edgevision", "calibrate", str(place / "bright.onnx"),
        "--from", str(place / "many"), "--out", str(place / "bright.int8.onnx"), "--no-cache",
        "--frames", "400", "--method", "entropy",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "dumb"})
    deadline = time.monotonic() + 60
    while not list(place.glob(".calibrate-*/frames/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert written(place) == []
