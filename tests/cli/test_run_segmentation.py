"""``edgevision run`` with segmenters: masks as files, opacity, and several models on one frame.

Also tests ``edgevision.video.sinks.masks``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from edgevision.cli import main
from edgevision.contract.model_file import read_manifest, write_manifest
from edgevision.drawing.overlay import Overlay, render
from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult, SegmentationMap
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.masks import MaskSink
from tests.support.models import image_with_block, write_bright_segmenter, write_colour_model

FRAMES = 6
BOX = (40, 30, 100, 90)
Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    write_bright_segmenter(tmp_path / "bright.onnx")
    write_colour_model(tmp_path / "colours.onnx")
    with av.open("clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"crf": "8"}
        for _ in range(FRAMES):
            image = image_with_block(160, 120, BOX)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(
        *arguments: str, source: str = "clip.mp4", models: Sequence[str] = ("bright.onnx",)
    ) -> tuple[int, list[str]]:
        chosen = [part for model in models for part in ("--model", model)]
        with pytest.raises(SystemExit) as ended:
            main(["run", "--source", source, *chosen, *arguments])
        lines = capsys.readouterr().err.splitlines()
        assert "Traceback" not in "".join(lines)
        return int(ended.value.code or 0), lines

    return call


def rename(path: str, copy: str, name: str) -> str:
    Path(copy).write_bytes(Path(path).read_bytes())
    write_manifest(copy, msgspec.structs.replace(read_manifest(path), name=name))
    return copy


def ids(path: Path | str) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, path
    return found


def test_masks_are_class_ids_at_source_size_one_a_frame(run: Run, place: Path) -> None:
    code, lines = run("--save-masks", "masks")
    assert code == 0
    assert sorted(path.name for path in Path("masks").iterdir()) == [f"{i:06d}.png" for i in range(FRAMES)]
    mask = ids("masks/000003.png")
    assert (mask.shape, mask.dtype) == ((120, 160), np.uint8)
    x1, y1, x2, y2 = BOX
    wanted = np.zeros((120, 160), np.uint8)
    wanted[y1:y2, x1:x2] = 1
    assert (mask != wanted).mean() < 0.05  # edges, at the model's 64 pixels
    assert set(np.unique(mask)) == {0, 1}
    assert any("written: masks" in line for line in lines)
    assert not list(place.glob("*.edgevision*"))


def test_masks_of_images_carry_their_names_even_where_two_collide(run: Run, place: Path) -> None:
    (place / "photos").mkdir()
    for name in ("one.jpg", "two.png", "two.bmp"):
        cv2.imwrite(f"photos/{name}", image_with_block(80, 60, (10, 10, 40, 40)))
    assert run("--save-masks", "masks", source="photos")[0] == 0
    assert sorted(path.name for path in Path("masks").iterdir()) == ["one.png", "two.png", "two_000002.png"]
    assert run("--save-masks", "one", source="photos/one.jpg")[0] == 0
    assert [path.name for path in Path("one").iterdir()] == ["one.png"]


def test_a_folder_that_holds_something_is_refused_before_anything_is_made(run: Run, place: Path) -> None:
    (place / "masks").mkdir()
    (place / "masks" / "mine.txt").write_text("keep")
    before = sorted(path.name for path in place.iterdir())
    code, lines = run("--save-masks", "masks", "--output", "o.mp4")
    assert code == 2
    assert lines == ["error: folder masks is not empty; choose another or pass --overwrite"]
    assert sorted(path.name for path in place.iterdir()) == before
    assert run("--save-masks", "masks", "--overwrite")[0] == 0
    assert (place / "masks" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("arguments", "models", "code", "message"),
    [
        (
            ["--save-masks", "m"],
            ["colours.onnx"],
            2,
            "needs a segmentation model; colours gives no class map",
        ),
        (["--save-masks", "absent/m"], ["bright.onnx"], 1, "output folder does not exist: absent"),
        (["--save-masks", "clip.mp4"], ["bright.onnx"], 1, "is not a folder; expected one for masks"),
        (
            ["--save-masks", "bright.onnx", "--overwrite"],
            ["bright.onnx"],
            1,
            "is not a folder; expected one for masks",
        ),
        (["--alpha", "1.5"], ["bright.onnx"], 2, "opacity 1.5 is not valid; expected 0 to 1"),
        (["--alpha", "nan"], ["bright.onnx"], 2, "opacity nan is not valid"),
        ([], ["bright.onnx", "bright.onnx"], 2, "2 models are called 'brightness'"),
        (
            ["--classes", "rde"],
            ["bright.onnx", "colours.onnx"],
            2,
            "no model has the class 'rde'; did you mean 'red'",
        ),
    ],
)
def test_an_impossible_request_is_one_line_and_leaves_nothing(
    run: Run, place: Path, arguments: list[str], models: list[str], code: int, message: str
) -> None:
    before = sorted(path.name for path in place.iterdir())
    found, lines = run(*arguments, models=models)
    assert (found, len(lines)) == (code, 1)
    assert message in lines[0]
    assert sorted(path.name for path in place.iterdir()) == before


def test_masks_never_replace_the_images_they_come_from(run: Run, place: Path) -> None:
    (place / "photos").mkdir()
    image = image_with_block(80, 60, (10, 10, 40, 40))
    cv2.imwrite("photos/one.png", image)
    code, lines = run("--save-masks", "photos", "--overwrite", source="photos")
    assert code == 1
    assert any("would overwrite the source" in line for line in lines)
    np.testing.assert_array_equal(cv2.imread("photos/one.png"), image)


def test_alpha_is_the_share_of_the_paint(run: Run) -> None:
    clean = ids_of_output(run, "0", "clean.png")
    half = ids_of_output(run, "0.5", "half.png")
    full = ids_of_output(run, "1", "full.png")
    inside = (60, 70)  # right of the legend, in the block: class 1, yellow
    assert full[inside].tolist() == [0, 255, 255]
    wanted = (clean[inside].astype(float) + np.array([0, 255, 255])) / 2
    np.testing.assert_allclose(half[inside], wanted, atol=1)
    assert clean[inside].tolist() == cv2.imread("still.png")[inside].tolist()


def ids_of_output(run: Run, alpha: str, name: str) -> np.ndarray:
    cv2.imwrite("still.png", image_with_block(160, 120, BOX))
    assert run("--alpha", alpha, "--output", name, source="still.png")[0] == 0
    return ids(name)


def test_two_models_draw_on_one_frame_and_share_a_line(run: Run) -> None:
    code, lines = run(
        "--output", "f_%02d.png", "--save-json", "o.jsonl", "--stats", "s.json", "--max-frames", "2",
        models=("colours.onnx", "bright.onnx"),
    )  # fmt: skip
    assert code == 0
    record = json.loads(Path("o.jsonl").read_text().splitlines()[0])
    (found,) = record["detections"]
    assert (found["class"], found["model"]) == ("red", "colours")
    area = (BOX[2] - BOX[0]) * (BOX[3] - BOX[1]) / (160 * 120)
    assert record["segmentation"]["bright"] == pytest.approx(area, abs=0.03)
    assert sum(record["segmentation"].values()) == pytest.approx(1, abs=1e-3)
    stats = json.loads(Path("s.json").read_text())
    assert set(stats["models"]) == {"colours", "brightness"}
    assert stats["detections"] == {"red": 2}
    assert stats["class_shares"]["bright"] == pytest.approx(area, abs=0.03)
    drawn = ids("f_00.png")
    assert drawn[60, 70].tolist()[1] > 90  # yellow paint on the red block
    top = round(found["box"][1])
    assert (
        (drawn[max(top - 1, 0) : top + 3, 60] == 0).all(axis=1).any()
    )  # the dark rim of the box above the paint
    assert any("area: " in line for line in lines)
    assert any("detections: red 2" in line for line in lines)


def test_each_model_takes_the_classes_that_it_knows(run: Run) -> None:
    for name, boxes in (("red", 2), ("green", 0)):
        run("--save-json", f"{name}.jsonl", "--classes", name, "--max-frames", "2",
            models=("bright.onnx", "colours.onnx"))  # fmt: skip
        records = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
        assert sum(len(record["detections"]) for record in records) == boxes
        assert all("bright" in record["segmentation"] for record in records)


def test_two_segmenters_have_a_folder_each(run: Run) -> None:
    rename("bright.onnx", "other.onnx", "other")
    code, _ = run("--save-masks", "m", "--save-json", "o.jsonl", models=("bright.onnx", "other.onnx"))
    assert code == 0
    for model in ("brightness", "other"):
        assert len(list((Path("m") / model).iterdir())) == FRAMES


def test_two_sources_have_a_folder_each(run: Run, place: Path) -> None:
    (place / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (place / "clips" / name).write_bytes(Path("clip.mp4").read_bytes())
    assert run("--save-masks", "m", source="clips")[0] == 0
    assert sorted(path.name for path in Path("m").iterdir()) == ["a.edgevision", "b.edgevision"]
    assert len(list(Path("m/b.edgevision").iterdir())) == FRAMES


def test_legends_of_two_maps_stand_below_each_other() -> None:
    manifest = read_manifest("bright.onnx")
    found = SegmentationMap(np.zeros((120, 160), np.uint8), manifest.classes)
    image = np.full((120, 160, 3), 200, np.uint8)
    frame = Frame(image, 0, 0)
    one, two = (
        render(FrameResult(frame, (found,) * maps), [Overlay(manifest, 0.0)] * maps) for maps in (1, 2)
    )
    rows = [np.flatnonzero((drawn != 200).any(axis=(1, 2))) for drawn in (one, two)]
    assert rows[0][0] == rows[1][0] == 0
    assert len(rows[1]) == 2 * len(rows[0])


def test_models_of_one_name_cannot_share_a_folder_of_masks(tmp_path: Path) -> None:
    info = SourceInfo("clip", False, 8, 8)
    with pytest.raises(SinkError, match="same name"):
        MaskSink(tmp_path / "m", info, ["x", "x"])
    assert not (tmp_path / "m").exists()
