"""A sequence of MOTChallenge as COCO json, with values worked by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.benchmarks import load_tool
from tests.support.video import number_of, write_clip

mot_to_coco: Any = load_tool("mot_to_coco")


def write_sequence(folder: Path, rows: str) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text(rows)
    write_clip(folder / "clip.mp4", [0, 40, 80, 120, 160])
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mot_to_coco.py", *map(str, arguments)])
    code: int = mot_to_coco.main()
    return code


def test_frames_and_boxes_of_each_second_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (
        "1,7,11,6,20,30,1,-1,-1,-1\n2,7,1,1,5,5,1,-1,-1,-1\n"
        "3,7,12,6,20,30.5,1,-1,-1,-1\n3,8,1,1,9,9,0,2,1,0.3\n"
    )
    folder = write_sequence(tmp_path / "seq", rows)
    out = tmp_path / "out"
    assert run(monkeypatch, folder, "--out", out, "--every", 2) == 0
    assert "3 images, 2 boxes of person" in capsys.readouterr().out
    document = json.loads((out / "instances.json").read_text())
    assert [one["file_name"] for one in document["images"]] == ["000001.png", "000003.png", "000005.png"]
    assert [(one["image_id"], one["bbox"], one["iscrowd"]) for one in document["annotations"]] == [
        (1, [10.0, 5.0, 20.0, 30.0], 0),
        (3, [11.0, 5.0, 20.0, 30.5], 0),
        (3, [0.0, 0.0, 9.0, 9.0], 1),
    ]
    third = cv2.imread(str(out / "images" / "000003.png"))
    assert third is not None
    assert third.shape == (96, 160, 3)
    assert number_of(np.asarray(third, np.uint8)) == 2
    assert run(monkeypatch, folder, "--out", out) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    (out / "images" / "mine.png").touch()
    assert run(monkeypatch, folder, "--out", out, "--every", 3, "--overwrite") == 0
    assert sorted(path.name for path in (out / "images").iterdir()) == [
        "000001.png",
        "000004.png",
        "mine.png",
    ]


def test_images_in_place_of_a_clip_and_boxes_beyond_the_last_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sequence(tmp_path / "seq", "1,7,11,6,20,30,1\n2,7,11,6,20,30,1\n")
    (folder / "clip.mp4").unlink()
    (folder / "img1").mkdir()
    for name in ("000001.jpg", "000002.jpg"):
        cv2.imwrite(str(folder / "img1" / name), np.zeros((48, 64, 3), np.uint8))
    assert run(monkeypatch, folder, "--out", tmp_path / "out") == 0
    assert "2 images, 2 boxes" in capsys.readouterr().out
    (folder / "img1" / "000002.jpg").unlink()
    assert run(monkeypatch, folder, "--out", tmp_path / "short") == 1
    assert "has 1 frames, and gt.txt boxes of frame 2" in capsys.readouterr().err
    assert run(monkeypatch, tmp_path / "nowhere", "--out", tmp_path / "short") == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1,7,11,6,20,30\n", "6 columns"),
        ("frame,id\n", "expected rows of frame"),
        (None, "gt.txt"),
        ("\n", "gt.txt is empty"),
    ],
)
def test_what_is_no_sequence_is_one_line(
    rows: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_sequence(tmp_path / "seq", rows or "")
    if rows is None:
        (folder / "gt" / "gt.txt").unlink()
    assert run(monkeypatch, folder, "--out", tmp_path / "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "out").exists()
    (folder / "clip.mp4").unlink()
    assert run(monkeypatch, folder, "--out", tmp_path / "out") == 1
    assert "0 clips" in capsys.readouterr().err
