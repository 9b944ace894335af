"""Maps of two real models: written, ended early, gone on with."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from edgevision.engines import Engine, load_engine
from edgevision.errors import SinkError, UsageError
from edgevision.panoptic import PanopticOutcome, PanopticRequest, job, write_panoptic_maps
from edgevision.panoptic.folder import INDEX, UNFINISHED, PanopticFolder
from edgevision.pipeline import StopRequest
from edgevision.video.sinks.memory import ListSink
from tests.support.models import image_with_block, write_block_clip, write_bright_segmenter
from tests.support.task_models import write_task_model

Engines = tuple[tuple[Engine, str], tuple[Engine, str]]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """One that gives the mask of a red block, and one that says what is dark and bright."""
    folder = tmp_path_factory.mktemp("models")
    write_task_model(folder / "masks.onnx", "instance-segmentation")
    write_bright_segmenter(folder / "ground.onnx")
    return (
        (load_engine(folder / "masks.onnx"), "masks.onnx"),
        (load_engine(folder / "ground.onnx"), "ground.onnx"),
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "far").mkdir(parents=True)
    for name in ("a", "b", "far/c"):
        cv2.imwrite(str(folder / f"{name}.png"), image_with_block(160, 120, (40, 40, 80, 80)))
    return folder


def write(
    engines: Engines, source: Path, out: Path, stop: StopRequest | None = None, **choice: float
) -> PanopticOutcome:
    request = PanopticRequest(source=str(source), out=out, least_area=1, **choice)  # type: ignore[arg-type]
    return write_panoptic_maps(*engines, request, stop=stop)


def test_the_files_are_as_panopticapi_reads_them(engines: Engines, photos: Path, tmp_path: Path) -> None:
    done = write(engines, photos, tmp_path / "out")
    assert done.is_finished
    assert (done.maps, done.problems) == (len(list(photos.glob("*.png"))), [])
    document = json.loads((tmp_path / "out" / INDEX).read_text())
    categories = {one["id"]: one for one in document["categories"]}
    assert {one["image_id"] for one in document["annotations"]} == {one["id"] for one in document["images"]}
    assert document["images"][0]["file_name"] == "a.png"
    for annotation in document["annotations"]:
        # As pq_compute_single_core and rgb2id of panopticapi do.
        colours = np.array(PillowImage.open(tmp_path / "out" / annotation["file_name"]), dtype=np.uint32)
        ids = colours[:, :, 0] + 256 * colours[:, :, 1] + 256 * 256 * colours[:, :, 2]
        segments = {one["id"]: one for one in annotation["segments_info"]}
        assert set(np.unique(ids).tolist()) - {0} == set(segments)
        for number, one in segments.items():
            rows, columns = np.nonzero(ids == number)
            x, y = int(columns.min()), int(rows.min())
            assert one["area"] == len(rows)
            assert one["bbox"] == [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1]
            assert one["iscrowd"] == 0
        first = segments[ids[60, 60]]
        assert (categories[first["category_id"]]["name"], categories[first["category_id"]]["isthing"]) == (
            "red",
            1,
        )
        assert abs(first["area"] - 40 * 40) < 400


def test_what_was_ended_early_goes_on(engines: Engines, photos: Path, tmp_path: Path) -> None:
    clip = tmp_path / "x.mp4"
    write_block_clip(clip, 3)
    early = write(engines, clip, tmp_path / "out", StopRequest("SIGINT"))
    assert (early.maps, early.is_finished) == (1, False)
    assert (tmp_path / "out" / UNFINISHED).is_file()
    first = (tmp_path / "out" / "000001.png").stat().st_mtime_ns
    late = write(engines, clip, tmp_path / "out")
    assert (late.maps, late.continued, late.is_finished) == (3, 1, True)
    assert (tmp_path / "out" / "000001.png").stat().st_mtime_ns == first
    whole = write(engines, clip, tmp_path / "whole")
    assert whole.continued == 0
    assert (tmp_path / "out" / INDEX).read_bytes() == (tmp_path / "whole" / INDEX).read_bytes()
    images = json.loads((tmp_path / "out" / INDEX).read_text())["images"]
    assert [(one["file_name"], one["frame_id"]) for one in images[:2]] == [
        ("x.mp4/000000.jpg", 0),
        ("x.mp4/000001.jpg", 1),
    ]


def test_what_goes_on_is_drawn_from_the_beginning(engines: Engines, tmp_path: Path) -> None:
    clip = tmp_path / "x.mp4"
    write_block_clip(clip, 3)
    (tmp_path / "drawn").mkdir()
    request = PanopticRequest(
        source=str(clip), out=tmp_path / "out", output=str(tmp_path / "drawn" / "%06d.png"), least_area=1
    )
    write_panoptic_maps(*engines, request, stop=StopRequest("SIGTERM"))
    first = (tmp_path / "drawn" / "000000.png").read_bytes()
    (tmp_path / "drawn" / "000000.png").unlink()
    done = write_panoptic_maps(*engines, request)
    assert (done.maps, done.continued) == (3, 1)
    assert "3 images" in done.drawn
    assert (tmp_path / "drawn" / "000000.png").read_bytes() == first


@pytest.mark.parametrize("is_ended", [False, True])
def test_maps_are_finished_beside_an_output_that_takes_long(
    engines: Engines, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    is_closed, waited = threading.Event(), []

    class Maps(PanopticFolder):
        def close(self) -> None:
            super().close()
            is_closed.set()

    class Slow(ListSink):
        def close(self) -> None:
            waited.append(is_closed.wait(10))

    monkeypatch.setattr(job, "PanopticFolder", Maps)
    monkeypatch.setattr(job, "open_sink", lambda *_, **__: Slow())
    request = PanopticRequest(source=str(photos), out=tmp_path / "out", output="slow", least_area=1)
    write_panoptic_maps(*engines, request, stop=StopRequest("SIGTERM") if is_ended else None)
    assert waited == [True]
    assert (tmp_path / "out" / INDEX).exists() is not is_ended


def test_an_output_is_finished_beside_maps_that_take_long(
    engines: Engines, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_closed, waited = threading.Event(), []

    class Maps(PanopticFolder):
        def finish(self) -> None:
            waited.append(is_closed.wait(10))
            super().finish()

    class Output(ListSink):
        def close(self) -> None:
            is_closed.set()

    monkeypatch.setattr(job, "PanopticFolder", Maps)
    monkeypatch.setattr(job, "open_sink", lambda *_, **__: Output())
    request = PanopticRequest(source=str(photos), out=tmp_path / "out", output="other", least_area=1)
    assert write_panoptic_maps(*engines, request).is_finished
    assert waited == [True]


def test_a_source_that_changed_does_not_go_on(engines: Engines, photos: Path, tmp_path: Path) -> None:
    write(engines, photos, tmp_path / "out", StopRequest("SIGINT"))
    (photos / "a.png").rename(photos / "z.png")
    with pytest.raises(SinkError, match=r"is of a\.png"):
        write(engines, photos, tmp_path / "out")


def test_an_image_that_cannot_be_read_is_told(engines: Engines, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"no image")
    done = write(engines, photos, tmp_path / "out")
    assert done.is_finished
    assert "1 images could not be decoded" in done.problems[0]
    assert "broken.png" in done.problems[1]


@pytest.mark.parametrize(
    "choice", [{"conf": float("nan")}, {"overlap": float("nan")}, {"overlap": 2.0}, {"conf": -1.0}]
)
def test_numbers_out_of_range(tmp_path: Path, choice: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="is not valid"):
        PanopticRequest(source="x", out=tmp_path / "out", **choice)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`least_area` 0"):
        PanopticRequest(source="x", out=tmp_path / "out", least_area=0)
