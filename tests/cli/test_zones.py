"""``edgevision zones check``: what is said of a file of zones, and the image of it."""

from __future__ import annotations

import cv2
import pytest

from edgevision.cli import main
from tests.support.models import image_with_block, write_colour_model

ZONES = """
units: pixels
zones:
  - name: yard
    polygon: [[10, 10], [100, 10], [100, 100], [10, 100]]
    classes: [red]
  - name: far
    polygon: [[500, 10], [600, 10], [600, 100]]
lines:
  - {name: door, from: [20, 50], to: [80, 50]}
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_colour_model(tmp_path / "colours.onnx")
    cv2.imwrite("a.png", image_with_block(160, 120, (40, 40, 80, 80)))
    (tmp_path / "zones.yaml").write_text(ZONES)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["zones", "check", "zones.yaml", *arguments])
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run


def test_what_is_in_the_file(check, tmp_path):
    code, told, _ = check("--model", "colours.onnx")
    assert code == 0
    assert told.splitlines() == [
        "zone yard: 4 corners, counts red, bottom-centre",
        "zone far: 3 corners, all classes, bottom-centre",
        "line door: [20, 50] to [80, 50], all classes, bottom-centre",
    ]
    assert not list(tmp_path.glob("*.jpg"))


def test_the_image_and_what_lies_outside_it(check, tmp_path):
    code, told, warned = check("--model", "colours.onnx", "--on", "a.png")
    assert (code, told.splitlines()[-1]) == (0, "written: zones.jpg (160x120)")
    assert "zone 'far' lies outside the image (160x120)" in warned
    assert cv2.imread(str(tmp_path / "zones.jpg")).shape == (120, 160, 3)
    code, _, warned = check("--model", "colours.onnx", "--on", "a.png")
    assert code == 2
    assert "output exists: zones.jpg" in warned


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no model has the class 'red'"),
        (["--out", "x.jpg"], "--out needs --on"),
        (["--model", "colours.onnx", "--on", "a.png", "--out", "x.mp4"], "x.mp4 is not an image"),
        (["--model", "colours.onnx", "--on", "b.png"], "b.png"),
    ],
)
def test_what_cannot_be_is_one_line(check, arguments, said):
    code, _, told = check(*arguments)
    (line,) = told.splitlines()
    assert code in (1, 2)
    assert said in line
