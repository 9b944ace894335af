import io
from pathlib import Path

import pytest
from rich.console import Console

from edgevision.cli.console import Watched, show_progress
from edgevision.errors import SinkError, UsageError
from edgevision.session import outputs
from edgevision.session.outputs import check_named_outputs, make_folder, plan_outputs
from edgevision.video.base import SourceInfo
from tests.support.pipeline import run_statistics, stream_statistics

FILE = SourceInfo("clips/street.mp4", False, 640, 480, 25.0, 100, Path("clips/street.mp4"))
CAMERA = SourceInfo("webcam", True, 640, 480, 30.0)
STREAM = SourceInfo("rtsp://camera.local/front door", True, 640, 480, 30.0)
NO_DISPLAY = "this session has no display"


@pytest.fixture
def display(monkeypatch):
    def make(present):
        monkeypatch.setattr(outputs, "why_no_display", lambda: None if present else NO_DISPLAY)

    return make


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (FILE, "street.edgevision.mp4"),
        (SourceInfo("a.jpg", False, 9, 9, path=Path("x/a.JPG"), is_image=True), "a.edgevision.jpg"),
        (SourceInfo("a.gif", False, 9, 9, path=Path("a.gif"), is_image=True), "a.edgevision.png"),
        (SourceInfo("x/pics", False, path=Path("x/pics")), "pics.edgevision/%06d.jpg"),
        (SourceInfo("demo", False, 640, 480, 25.0, 200), "demo.edgevision.mp4"),
    ],
)
def test_what_is_recorded_is_drawn_beside_us(display, info, expected):
    display(True)
    plan = plan_outputs(info, None, None, display=False)
    assert (plan.pictures, plan.records, plan.hint) == ((expected,), None, "")


def test_a_camera_opens_a_window_where_there_is_a_display(display):
    display(True)
    plan = plan_outputs(CAMERA, None, None, display=False)
    assert plan.pictures == ("window",)
    assert "q" in plan.hint
    display(False)
    plan = plan_outputs(CAMERA, None, None, display=False)
    assert plan.pictures == ()
    assert NO_DISPLAY in plan.hint
    assert "--output" in plan.hint


def test_named_outputs_replace_the_defaults(display, tmp_path):
    display(True)
    plan = plan_outputs(CAMERA, Path("o.mp4"), None, display=False)
    assert plan.pictures == ("o.mp4",)
    plan = plan_outputs(FILE, None, Path("o.jsonl"), display=False)
    assert (plan.pictures, plan.records) == ((), "o.jsonl")
    plan = plan_outputs(FILE, Path("o.mp4"), None, display=True)
    assert plan.pictures == ("window", "o.mp4")
    plan = plan_outputs(STREAM, tmp_path, tmp_path, display=False)
    assert plan.pictures == (str(tmp_path / "front_door.edgevision.mp4"),)
    assert plan.records == str(tmp_path / "front_door.edgevision.jsonl")


def test_one_missing_folder_is_made_and_a_misspelt_path_is_not(tmp_path):
    named = {"--output": tmp_path / "drawn", "--save-json": tmp_path / "json", "--stats": None}
    check_named_outputs(named, [], sources=2, overwrite=False)
    assert (tmp_path / "drawn").is_dir()
    assert (tmp_path / "json").is_dir()
    check_named_outputs({"--output": tmp_path / "frames" / "%06d.jpg"}, [], sources=1, overwrite=False)
    assert (tmp_path / "frames").is_dir()
    for wrong in ("none/drawn", "none/drawn/%06d.jpg", "none/out.mp4"):
        with pytest.raises(SinkError, match="output folder does not exist"):
            check_named_outputs({"--output": tmp_path / wrong}, [], sources=1, overwrite=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "taken.edgevision").touch()
    with pytest.raises(SinkError, match="cannot make the output folder"):
        make_folder(tmp_path / "taken.edgevision")


def test_several_sources_do_not_fit_one_file(tmp_path):
    with pytest.raises(UsageError, match="2 sources need a folder, not one file"):
        check_named_outputs({"--output": tmp_path / "a.mp4"}, [], sources=2, overwrite=False)


def told(info, total, terminal, *streams):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with show_progress([Watched(info, total, "(a hint)")], console) as report:
        report(run_statistics(*streams))
    return text.getvalue()


def test_a_file_shows_a_bar_and_a_log_nothing():
    assert "10/100" in told(FILE, 100, terminal=True)
    assert "25.0 fps" in told(FILE, 100, terminal=True)
    assert told(FILE, 100, terminal=False) == ""


def test_a_live_source_shows_rate_latency_and_drops():
    for terminal in (True, False):
        text = told(CAMERA, None, terminal)
        for part in ("webcam", "25.0 fps", "31 ms", "5 dropped", "(a hint)"):
            assert part in text


def test_the_first_frames_show_the_rate_of_the_whole_run():
    """They wait for everything to warm up and come out together: 800 a second would be no rate."""
    first = stream_statistics(written=3, recent_frames_per_second=797.8, frames_per_second=1.5)
    assert "1.5 fps" in told(CAMERA, None, False, first)
