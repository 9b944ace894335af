"""``edgevision panoptic``: maps of two models, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from edgevision.cli import main
from tests.support.models import image_with_block, write_bright_segmenter, write_colour_model
from tests.support.task_models import write_task_model


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of a red block, a model that gives its mask, and one that says what is dark and bright."""
    monkeypatch.chdir(tmp_path)
    write_task_model(tmp_path / "masks.onnx", "instance-segmentation")
    write_bright_segmenter(tmp_path / "ground.onnx")
    write_colour_model(tmp_path / "boxes.onnx")
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(f"photos/{name}.png", image_with_block(160, 120, (40, 40, 80, 80)))
    return tmp_path


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["panoptic", *arguments])
    return int(ended.value.code or 0)


BOTH = ("photos", "--objects", "masks.onnx", "--stuff", "ground.onnx")


def test_maps_and_their_index_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BOTH, "--least-area", "1", "--things", "bright") == 0
    document = json.loads((place / "panoptic" / "panoptic.json").read_text())
    assert [one["file_name"] for one in document["annotations"]] == ["000001.png", "000002.png"]
    assert [one["file_name"] for one in document["images"]] == ["a.png", "b.png"]
    said = capsys.readouterr().err
    assert "note: objects in ground.onnx: bright; their pixels stay open where none is found" in said
    assert "panoptic: 2 maps, 4 segments, " in said


def test_the_maps_are_drawn_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("drawn").mkdir()
    assert call(*BOTH, "--output", "drawn/%06d.png") == 0
    plain, drawn = cv2.imread("photos/b.png"), cv2.imread("drawn/000001.png")
    assert drawn.shape == plain.shape
    assert (drawn[60, 60] != plain[60, 60]).any()  # the block is painted
    assert "drawn: drawn/" in capsys.readouterr().err.replace("\n", "")
    assert call(*BOTH, "--overwrite", "--output", "drawn.mov") != 0
    assert "written as .mp4" in capsys.readouterr().err.replace("\n", " ")
    assert (place / "panoptic" / "panoptic.json").is_file()  # what could not begin costs nothing


def test_maps_are_not_written_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BOTH) == 0
    assert call(*BOTH) != 0
    assert "panoptic.json" in capsys.readouterr().err
    assert call(*BOTH, "--overwrite") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photos", "--objects", "boxes.onnx", "--stuff", "ground.onnx"), "is a model for detection"),
        (("photos", "--objects", "masks.onnx", "--stuff", "masks.onnx"), "expected one for segmentation"),
        ((*BOTH, "--things", "tram"), "has no class 'tram'"),
        ((*BOTH, "--overlap", "nan"), "--overlap nan is not valid"),
        (("nothing", *BOTH[1:]), "nothing"),
    ],
)
def test_what_cannot_be_joined_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert call(*arguments) not in (0, 70)
    shown = capsys.readouterr().err
    assert message in shown.replace("\n", " ")
    assert "Traceback" not in shown
    assert not (place / "panoptic" / "panoptic.json").exists()
