"""``edgevision init``: from flags, from answers, and from nothing."""

from __future__ import annotations

import io
import stat

import pytest

from edgevision import doctor
from edgevision.cli import main
from edgevision.doctor import Finding
from edgevision.session.spec import read_streams
from edgevision.video.sources import camera


@pytest.fixture
def init(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "examine", lambda checks: iter([Finding("cameras", "ok", "none")]))
    monkeypatch.setattr(camera, "list_cameras", list)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["init", *arguments])
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run


def test_flags_and_the_next_command(init, tmp_path):
    code, told, _ = init(
        "site.yaml",
        "--source",
        "rtsp://gate.local/1",
        "--source",
        "a.mp4",
        "--name",
        "gate",
        "--classes",
        "person,car",
    )
    assert code == 0
    assert told.splitlines()[0] == "cameras: none"
    assert "written: site.yaml (2 streams)" in told
    assert "edgevision run --streams site.yaml" in told
    gate, second = read_streams(tmp_path / "site.yaml", {})
    assert (gate.name, second.name, gate.classes) == ("gate", "a", ["person", "car"])
    assert stat.S_IMODE((tmp_path / "site.yaml").stat().st_mode) == 0o600


def test_without_anything_it_is_the_cameras_or_the_demo(init, tmp_path, monkeypatch):
    assert init()[0] == 0
    assert [one.source for one in read_streams(tmp_path / "streams.yaml", {})] == ["demo"]
    code, _, told = init()
    assert code == 2
    assert "output exists: streams.yaml" in told
    monkeypatch.setattr(camera, "list_cameras", lambda: ["/dev/video0", "/dev/video2"])
    assert init("--overwrite")[0] == 0
    assert [one.name for one in read_streams(tmp_path / "streams.yaml", {})] == ["video0", "video2"]


def test_a_person_is_asked(init, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("rtsp://gate.local/1\n\nperson\nclips\n"))
    code, told, _ = init()
    assert code == 0, told
    (gate,) = read_streams(tmp_path / "streams.yaml", {})
    assert (gate.source, gate.classes, gate.record) == ("rtsp://gate.local/1", ["person"], "clips")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["streams.json"], "expected one such as streams.yaml"),
        (["--source", "demo", "--name", "a", "--name", "b"], "give one --name for each --source"),
    ],
)
def test_what_cannot_be_is_one_line(init, arguments, said):
    code, _, told = init(*arguments)
    (line,) = told.splitlines()
    assert code == 2
    assert said in line
