"""Every snippet of docs/guides/python.md, and the README's, runs as it stands, beside a clip and a photo."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import edgevision as ev
from tests.support.pages import blocks

pytest.importorskip("skimage", reason="needs the extra 'demo'")
pytest.importorskip("supervision", reason="comes with the extra 'track'")

ZONES = """
units: relative
zones:
  - name: all
    polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
"""


def snippets(page: str) -> list[str]:
    return [block.code for block in blocks(page, "python") if block.reason is None]


PYTHON_PAGE = snippets("docs/guides/python.md")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the demo, in which a person stands, and a photo of it."""
    folder = tmp_path_factory.mktemp("material")
    with ev.open_source("demo") as source:
        frames = [frame for _, frame in zip(range(12), source, strict=False)]
    cv2.imwrite(str(folder / "street.jpg"), frames[0].image)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:02}.png"), cv2.resize(frame.image, (640, 360)))
    ev.run("retinanet-light", str(folder / "*.png"), output=folder / "street.mp4")
    for path in folder.glob("*.png"):
        path.unlink()
    shutil.copy(folder / "street.mp4", folder / "yard.mp4")
    (folder / "zones.yaml").write_text(ZONES)
    return folder


def run(code: str, material: Path, place: Path) -> list[str]:
    """What a snippet prints, in a folder of its own."""
    for path in material.iterdir():
        shutil.copy(path, place)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_there_are_seven_snippets_that_run() -> None:
    assert len(PYTHON_PAGE) == 7


def test_one_image(material: Path, tmp_path: Path) -> None:
    lines = run(PYTHON_PAGE[0], material, tmp_path)
    assert any(re.fullmatch(r"person 0\.\d+ \(.*\)", line) for line in lines)


def test_a_loop(material: Path, tmp_path: Path) -> None:
    lines = run(PYTHON_PAGE[1], material, tmp_path)
    assert lines[0] == "0.00 s: 1 objects"
    assert float(lines[-1].split()[0]) > 0.3
    assert len(lines) < 12


def test_tracking_and_zones(material: Path, tmp_path: Path) -> None:
    lines = run(PYTHON_PAGE[2], material, tmp_path)
    assert lines[0] == "0 person None"
    assert "1 person 1" in lines
    assert "enter all person 1" in lines


def test_the_pipeline_with_a_callback(material: Path, tmp_path: Path) -> None:
    lines = run(PYTHON_PAGE[3], material, tmp_path)
    assert lines[0].startswith("12 frames, ")
    assert lines[1] == "True"
    assert (tmp_path / "boxes.mp4").is_file()
    assert len((tmp_path / "boxes.jsonl").read_text().splitlines()) == 12


def test_several_streams(material: Path, tmp_path: Path) -> None:
    lines = run(PYTHON_PAGE[4], material, tmp_path)
    assert lines == ["gate 12 frames ('gate.mp4',)", "yard 12 frames ('yard.jsonl',)"]


def test_annotators_of_supervision(material: Path, tmp_path: Path) -> None:
    run(PYTHON_PAGE[5], material, tmp_path)
    before, after = (cv2.imread(str(tmp_path / name)) for name in ("street.jpg", "annotated.jpg"))
    assert before.shape == after.shape
    assert (cv2.absdiff(before, after) > 60).sum() > 1000


def test_people_a_minute(material: Path, tmp_path: Path) -> None:
    assert run(PYTHON_PAGE[6], material, tmp_path) == ["minute 0: 1 people"]


def test_the_readme(material: Path, tmp_path: Path) -> None:
    (code,) = snippets("README.md")
    lines = run(code, material, tmp_path)
    assert len(lines) == 12
    assert all(re.fullmatch(r"\d+\.\d+ \[\('person', .*\)\]", line) for line in lines)
