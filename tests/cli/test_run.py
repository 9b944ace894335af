import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgevision import zoo
from edgevision.cli import main
from edgevision.session import streams as run_streams
from tests.support.console import without_times
from tests.support.ending import PROGRAM
from tests.support.models import (
    image_with_block,
    write_block_clip,
    write_bright_segmenter,
    write_colour_model,
)

pytestmark = pytest.mark.usefixtures("place")

FRAMES = 24


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A model, and a clip of a red block that moves by four pixels a frame."""
    folder = tmp_path_factory.mktemp("material")
    write_colour_model(folder / "colours.onnx")
    write_block_clip(folder / "clip.mp4", FRAMES)
    return folder


@pytest.fixture
def run(material, capsys):
    """Runs the program in this process: (exit code, lines on stderr)."""

    def call(*arguments, model="colours.onnx", source="clip.mp4"):
        options = ["--model", str(material / model)] if model else []
        with pytest.raises(SystemExit) as ended:
            main(["run", "--source", str(material / source), *options, *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return ended.value.code or 0, without_times(captured.err).splitlines()

    return call


def frame_count(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_video_becomes_a_drawn_video_and_json_lines(run, place):
    code, lines = run("--output", "out.mp4", "--save-json", "out.jsonl", "--stats", "stats.json")
    assert code == 0
    assert frame_count("out.mp4") == FRAMES
    records = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert len(records) == FRAMES
    for i, record in enumerate(records):
        (found,) = record["detections"]
        assert record["frame"] == i
        assert found["class"] == "red"
        expected = [10 + 4 * i, 40, 40 + 4 * i, 80]
        assert np.abs(np.array(found["box"]) - expected).max() <= 160 / 64  # a pixel of the model's input
    stats = json.loads(Path("stats.json").read_text())
    assert stats["frames"] == {
        "captured": FRAMES,
        "inferred": FRAMES,
        "dropped": {},
        "failed": {},
        "waiting": 0,
    }
    assert stats["detections"] == {"red": FRAMES}
    assert any(f"{FRAMES} frames" in line for line in lines)
    assert any(f"red {FRAMES}" in line for line in lines)
    assert any("out.mp4, out.jsonl" in line for line in lines)
    assert {path.name for path in place.iterdir()} == {"out.mp4", "out.jsonl", "stats.json"}


def test_the_image_shows_the_box(run):
    run("--output", "frames_%03d.png", "--max-frames", "1")
    drawn = cv2.imread("frames_000.png")
    assert drawn.shape == (120, 160, 3)
    assert (drawn == 0).all(axis=2).any()  # the dark rim of the box: nothing in the clip is black


def test_without_an_output_a_file_is_drawn_beside_us(run, place):
    assert run()[0] == 0
    assert [path.name for path in place.iterdir()] == ["clip.edgevision.mp4"]
    code, lines = run()
    assert code == 2
    assert lines == ["error: output exists: clip.edgevision.mp4; choose another name or pass --overwrite"]
    assert run("--overwrite")[0] == 0


def test_an_image_becomes_an_image_and_a_folder_a_folder(run, material, place):
    folder = material / "images"
    folder.mkdir(exist_ok=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"p{i}.png"), image_with_block(100 + i, 80, (10, 10, 50, 50)))
    assert run(source="images/p0.png")[0] == 0
    assert cv2.imread("p0.edgevision.png").shape == (80, 100, 3)
    assert run(source="images")[0] == 0
    assert len(list((place / "images.edgevision").iterdir())) == 3


def test_several_videos_run_in_turn_and_a_bad_one_does_not_stop_the_others(run, material, place):
    folder = material / "clips"
    folder.mkdir(exist_ok=True)
    write_block_clip(folder / "a.mp4", 5)
    (folder / "b.mp4").write_text("text")
    write_block_clip(folder / "c.mp4", 7)
    (place / "out").mkdir()
    code, lines = run("--output", "out", "--save-json", "out", "--stats", "stats.json", source="clips")
    assert code == 1
    assert sum(line.startswith("error: ") and "b.mp4" in line for line in lines) == 1
    assert frame_count("out/a.edgevision.mp4") == 5
    assert frame_count("out/c.edgevision.mp4") == 7
    assert [report["written"] for report in json.loads(Path("stats.json").read_text())] == [5, 0, 7]
    code, lines = run("--output", "one.mp4", source="clips")
    assert code == 2
    assert "3 sources need a folder" in lines[0]


def test_only_json_draws_nothing(run, place):
    code, lines = run("--save-json", "out.jsonl")
    assert code == 0
    assert "overlay" not in " ".join(lines)
    assert [path.name for path in place.iterdir()] == ["out.jsonl"]


def test_classes_and_threshold_filter(run):
    run("--save-json", "none.jsonl", "--classes", "blue, green")
    assert '"class"' not in Path("none.jsonl").read_text()
    run("--save-json", "high.jsonl", "--conf", "1")
    assert '"class"' not in Path("high.jsonl").read_text()


def test_a_segmenter_paints_and_reports_areas(run, material):
    write_bright_segmenter(material / "bright.onnx")
    code, lines = run("--output", "o.mp4", "--save-json", "o.jsonl", model="bright.onnx")
    assert code == 0
    record = json.loads(Path("o.jsonl").read_text().splitlines()[0])
    assert record["segmentation"]["bright"] == pytest.approx(30 * 40 / (160 * 120), abs=0.02)
    assert any(line.strip().startswith("area: dark") for line in lines)


class Camera:
    """Looks like cv2.VideoCapture: a red block, image after image."""

    def isOpened(self):  # noqa: N802
        return True

    def read(self):
        time.sleep(0.01)
        return True, image_with_block(160, 120, (40, 40, 80, 80))

    def get(self, key):
        return {3: 160.0, 4: 120.0, 5: 30.0}.get(key, 0.0)

    def set(self, key, value):
        return True

    def release(self):
        pass


def test_a_webcam_alone_shows_a_status_line_where_there_is_no_display(material, place, capsys, monkeypatch):
    monkeypatch.setattr(
        run_streams, "open_source", partial(run_streams.open_source, camera_factory=lambda _: Camera())
    )
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "webcam", "--model", str(material / "colours.onnx"), "--max-frames", "40"])
    lines = without_times(capsys.readouterr().err).splitlines()
    assert not ended.value.code
    assert lines[0].startswith("colours: ONNX Runtime")
    assert re.match(r"camera 0: \d+ frames  \d", lines[1])
    assert "no display" in lines[1]
    assert "--output out.mp4 records" in lines[1]
    assert any(line.startswith("camera 0: 40 frames") for line in lines)
    assert any("red 40" in line for line in lines)
    assert list(place.iterdir()) == []


def test_max_frames(run):
    assert run("--max-frames", 5, "--output", "out.mp4")[0] == 0
    assert frame_count("out.mp4") == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--conf", "35"], 2, "confidence threshold 35.0 is not valid; expected 0 to 1"),
        (["--conf", "-1"], 2, "is not valid"),
        (["--conf", "high"], 2, "--conf"),
        (["--classes", "rde"], 2, "no class 'rde'; did you mean 'red'"),
        (["--classes", "zebra"], 2, "it has: blue, green, red"),
        (["--classes", " , "], 2, "no class was given"),
        (["--engine", "onnxrutime"], 2, "did you mean 'onnxruntime'"),
        (["--max-frames", "0"], 2, "expected 1 or more"),
        (["--output", "absent/o.mp4"], 1, "output folder does not exist: absent"),
        (["--output", "o.xyz"], 1, "unknown kind of output"),
        (["--output", "o.png"], 1, "many frames"),
        (["--output", "o.mp4", "--save-json", "o.mp4"], 2, "both name o.mp4"),
        (["--save-json", "o.jsonl", "--stats", "o.jsonl"], 2, "both name o.jsonl"),
        (["--stats", "absent/s.json"], 1, "output folder does not exist"),
        (["--stats", "/dev/null", "--overwrite"], 1, "not a regular file"),
        (["--display"], 1, "no display"),
        (["--dispaly"], 2, "No such option"),
    ],
)
def test_an_impossible_request_is_one_line_and_leaves_nothing(run, place, arguments, code, message):
    found, lines = run(*arguments)
    assert found == code
    (line,) = lines
    assert line.startswith("error: ")
    assert message in line
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("option", ["--output", "--save-json", "--stats"])
@pytest.mark.parametrize("victim", ["clip.mp4", "colours.onnx"])
def test_an_input_is_never_overwritten(run, material, option, victim):
    before = (material / victim).read_bytes()
    code, lines = run(option, material / victim, "--overwrite")
    assert code == 2
    assert "would overwrite an input" in lines[0]
    assert (material / victim).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.mp4", None, "source not found"),
        ("zero.mp4", b"", "empty"),
        ("text.mp4", b"only text\n" * 50, "text"),
        ("noise.mp4", bytes(range(256)) * 40, "noise.mp4"),
    ],
)
def test_bad_sources_are_one_line(run, material, place, name, content, message):
    if content is not None:
        (material / name).write_bytes(content)
    code, lines = run(source=name)
    assert code == 1
    (line,) = lines
    assert line.startswith("error: ")
    assert message in line
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "model file not found"), (b"", "empty"), (b"text, not a model", "not an ONNX model")],
)
def test_bad_models_are_one_line(run, material, place, content, message):
    if content is not None:
        (material / "bad.onnx").write_bytes(content)
    code, lines = run(model="bad.onnx" if content is not None else "absent.onnx")
    assert code == 1
    (line,) = lines
    assert message in line
    assert list(place.iterdir()) == []


def test_a_truncated_video_is_processed_and_then_said(run, material):
    write_block_clip(material / "whole.mp4", 40, {"movflags": "faststart"})
    data = (material / "whole.mp4").read_bytes()
    (material / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    code, lines = run("--output", "o.mp4", "--save-json", "o.jsonl", source="cut.mp4")
    assert code == 3
    assert any(line.startswith("warning: ") and "cut.mp4" in line for line in lines)
    written = len(Path("o.jsonl").read_text().splitlines())
    assert 10 < written < 40
    assert frame_count("o.mp4") == written


def test_the_default_model_comes_from_the_zoo(run, material, place, monkeypatch):
    monkeypatch.setattr(zoo, "folder", lambda: material)
    assert run("--save-json", "o.jsonl", model=None)[0] == 0
    empty = place / "empty"
    empty.mkdir()
    monkeypatch.setattr(zoo, "folder", lambda: empty)
    code, lines = run("--save-json", "p.jsonl", model=None)
    assert code == 1
    assert "no detection model ships" in lines[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_finishes_its_outputs(material, tmp_path, number, code):
    write_block_clip(material / "long.mp4", 3000)
    command = [sys.executable, "-m", "edgevision", "run", "--source", str(material / "long.mp4")]
    command += ["--model", str(material / "colours.onnx"), "--output", "o.mp4", "--save-json", "o.jsonl"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    records = tmp_path / "o.jsonl"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (records.exists() and records.stat().st_size > 2000):
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    lines = records.read_text().splitlines()
    assert all(json.loads(line)["schema"] == 1 for line in lines)
    assert 5 < len(lines) < 3000
    assert frame_count(tmp_path / "o.mp4") == len(lines)


def test_ctrl_c_while_one_of_several_sources_does_not_answer(material, tmp_path):
    """It is not waited for: its connect time-out is ten minutes here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(120)
        mute = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x#connect-timeout=10m"
        command = [
            sys.executable,
            "-m",
            "edgevision",
            "run",
            "--source",
            material / "clip.mp4",
            "--source",
            mute,
        ]
        process = subprocess.Popen(
            [*command, "--model", material / "colours.onnx", "--save-json", tmp_path / "out"],
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        connection.close()
    assert (process.returncode, err) == (130, "interrupted\n")


@pytest.mark.parametrize("others", [["--source", "clip.mp4"], []], ids=["several", "one"])
def test_ctrl_c_leaves_no_thread_to_a_process_that_is_taken_apart(material, tmp_path, others):
    """FFmpeg would ask Python there whether to go on, and the process crashed now and then."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(120)
        mute = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x#connect-timeout=10m"
        command = [sys.executable, "-c", PROGRAM, "run", *others, "--source", mute, "--model", "colours.onnx"]
        process = subprocess.Popen(
            [*command, "--save-json", tmp_path / "out"], cwd=material, stderr=subprocess.PIPE, text=True
        )
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        connection.close()
    assert (process.returncode, err) == (130, "interrupted\n")


def test_ctrl_c_on_a_stream_that_stalls_leaves_whole_outputs_and_no_thread(material, tmp_path):
    _, jpeg = cv2.imencode(".jpg", image_with_block(160, 120, (10, 40, 40, 80)))
    part = b"--part\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg.tobytes() + b"\r\n"
    has_ended = threading.Event()

    def serve(server):
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(
                b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=part\r\n\r\n"
            )
            for _ in range(20):
                connection.sendall(part)
                time.sleep(0.05)
            has_ended.wait(240)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        source = f"http://127.0.0.1:{server.getsockname()[1]}/x.mjpg#connect-timeout=10m&timeout=10m"
        command = [sys.executable, "-c", PROGRAM, "run", "--source", source, "--output", "o.mp4"]
        command += ["--model", material / "colours.onnx", "--save-json", "o.jsonl", "--stats", "s.json"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        records = tmp_path / "o.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (records.exists() and records.stat().st_size):
            time.sleep(0.05)
        time.sleep(2)  # all has come by then
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        has_ended.set()
    assert process.returncode == 130, err
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert 0 < len(lines) == frame_count(tmp_path / "o.mp4")
    assert json.loads((tmp_path / "s.json").read_text())["frames"]["inferred"] == len(lines)
    assert {path.name for path in tmp_path.iterdir()} == {"o.mp4", "o.jsonl", "s.json"}
