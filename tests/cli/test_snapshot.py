"""``edgevision snapshot``, and ``run`` into a single image: which files there are and what is told of them.

Also tests ``edgevision.session.snapshots``.
"""

from __future__ import annotations

import cv2
import pytest

from edgevision.cli import main
from tests.support.models import image_with_block, write_colour_model

ZONES = """
units: relative
zones:
  - name: yard
    polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with two images of a red block, a model that finds it, and zones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    write_colour_model(tmp_path / "colours.onnx")
    for name in ("a", "b"):
        cv2.imwrite(f"{name}.png", image_with_block(160, 120, (40, 40, 80, 80)))
    (tmp_path / "zones.yaml").write_text(ZONES)
    return tmp_path


@pytest.fixture
def call(place, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--model", "colours.onnx"])
        return ended.value.code or 0, capsys.readouterr().err

    return run


def test_streams_of_a_file_by_name_and_none_of_their_outputs(place, call):
    (place / "streams.yaml").write_text(
        "streams:\n"
        "  - {source: a.png, name: gate, zones: zones.yaml, record: clips, output: drawn.png}\n"
        "  - {source: b.png, events: [seen.jsonl]}\n"
    )
    code, shown = call("snapshot", "streams.yaml", "--out", "shots")
    assert code == 0, shown
    found = sorted(path.name for path in (place / "shots").iterdir())
    assert found == ["b.boxes.jpg", "b.jpg", "gate.boxes.jpg", "gate.jpg", "gate.zones.jpg"]
    assert "gate: written: shots/gate.jpg, shots/gate.boxes.jpg, shots/gate.zones.jpg" in shown
    assert not [name for name in ("clips", "drawn.png", "seen.jsonl") if (place / name).exists()]
    code, shown = call("snapshot", "streams.yaml", "--out", "shots")
    assert (code, shown.count("output exists")) == (2, 4)


def test_one_source_and_one_that_is_not_there(place, call):
    assert call("snapshot", "a.png")[0] == 0
    assert (place / "snapshots" / "a.boxes.jpg").is_file()
    code, shown = call("snapshot", "nothing.png")
    (line,) = shown.splitlines()
    assert code == 1
    assert "nothing.png" in line


def test_a_run_of_one_frame_can_be_an_image_and_says_what_was_written(place, call):
    code, shown = call("run", "--source", "demo", "--max-frames", "1", "--output", "snap.jpg")
    assert code == 0, shown
    assert "written: snap.jpg" in shown
    assert cv2.imread("snap.jpg").shape[:2] == (720, 1280)
    code, shown = call("run", "--source", "demo", "--max-frames", "2", "--output", "two.jpg")
    assert code != 0
    assert "--max-frames 1" in shown


def test_numbered_images_are_told_by_their_names(place, call):
    code, shown = call("run", "--source", "demo", "--max-frames", "3", "--output", "all/%03d.jpg")
    assert code == 0, shown
    assert "written: all/000.jpg to 002.jpg (3 images)" in shown
