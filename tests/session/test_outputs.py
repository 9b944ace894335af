from pathlib import Path

import pytest

from edgevision.errors import SinkError, UsageError
from edgevision.session import outputs
from edgevision.session.outputs import check_files, make_folder
from edgevision.session.spec import StreamSpec
from edgevision.video.base import SourceInfo

FILE = SourceInfo("clips/street.mp4", False, 640, 480, 25.0, 100, Path("clips/street.mp4"))
CAMERA = SourceInfo("webcam", True, 640, 480, 30.0)
STREAM = SourceInfo("rtsp://camera.local/front door", True, 640, 480, 30.0)
NO_DISPLAY = "this session has no display"


def plan_outputs(info, **fields):
    return outputs.plan_outputs(StreamSpec(source=info.name, **fields), info)


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
    plan = plan_outputs(info)
    assert (plan.images, plan.records, plan.no_window) == ((expected,), None, "")


def test_a_camera_opens_a_window_where_there_is_a_display(display):
    display(True)
    plan = plan_outputs(CAMERA)
    assert plan.images == ("window",)
    assert plan.no_window == ""
    display(False)
    plan = plan_outputs(CAMERA)
    assert plan.images == ()
    assert plan.no_window == NO_DISPLAY


def test_named_outputs_replace_the_defaults(display, tmp_path):
    display(True)
    plan = plan_outputs(CAMERA, output="o.mp4")
    assert plan.images == ("o.mp4",)
    plan = plan_outputs(FILE, save_json="o.jsonl")
    assert (plan.images, plan.records) == ((), "o.jsonl")
    plan = plan_outputs(FILE, output="o.mp4", display=True)
    assert plan.images == ("window", "o.mp4")
    plan = plan_outputs(STREAM, output=str(tmp_path), save_json=str(tmp_path))
    assert plan.images == (str(tmp_path / "front_door.edgevision.mp4"),)
    assert plan.records == str(tmp_path / "front_door.edgevision.jsonl")


def test_without_defaults_nothing_comes_out_that_was_not_named(display):
    display(True)
    for info in (FILE, CAMERA):
        plan = outputs.plan_outputs(StreamSpec(source=info.name), info, with_defaults=False)
        assert (plan.images, plan.records, plan.no_window) == ((), None, "")


def test_an_address_is_no_file(display):
    display(False)
    spec = StreamSpec(source="webcam", output="ndi://studio/1")
    assert spec.files() == {}
    assert outputs.plan_outputs(spec, CAMERA).images == ("ndi://studio/1",)


def test_one_missing_folder_is_made_and_a_misspelt_path_is_not(tmp_path):
    named = [("output", tmp_path / "drawn"), ("save_json", tmp_path / "json")]
    check_files(named * 2, [], overwrite=False)
    assert (tmp_path / "drawn").is_dir()
    assert (tmp_path / "json").is_dir()
    check_files([("output", tmp_path / "frames" / "%06d.jpg")], [], overwrite=False)
    assert (tmp_path / "frames").is_dir()
    for wrong in ("none/drawn", "none/drawn/%06d.jpg", "none/out.mp4"):
        with pytest.raises(SinkError, match="output folder does not exist"):
            check_files([("output", tmp_path / wrong)], [], overwrite=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "taken.edgevision").touch()
    with pytest.raises(SinkError, match="cannot create folder"):
        make_folder(tmp_path / "taken.edgevision")


def test_several_sources_do_not_fit_one_file(tmp_path):
    with pytest.raises(UsageError, match=r"`output` .*: 2 sources need a folder, not one file"):
        check_files([("output", tmp_path / "a.mp4")] * 2, [], overwrite=False)


def test_one_file_is_not_two_outputs_and_no_input(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(UsageError, match="`output` and `stats` both name"):
        check_files([("output", path), ("stats", path)], [], overwrite=True)
    path.touch()
    with pytest.raises(UsageError, match=r"`stats` .* would overwrite an input"):
        check_files([("stats", path)], [str(path)], overwrite=True)


def test_a_folder_called_hls_takes_playlists(display, tmp_path, monkeypatch):
    display(True)
    monkeypatch.chdir(tmp_path)
    assert plan_outputs(CAMERA, output="hls").images == ("hls/webcam.edgevision.m3u8",)
    assert plan_outputs(STREAM, output="out/gate.hls/", name="gate").images == (
        "out/gate.hls/gate.edgevision.m3u8",
    )
    assert plan_outputs(FILE, output="hls.d").images == ("hls.d",)
    check_files([("output", tmp_path / "yard.hls")], [], overwrite=False)
    assert (tmp_path / "yard.hls").is_dir()
