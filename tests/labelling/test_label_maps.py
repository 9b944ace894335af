"""Label maps of a fake segmenter that calls every pixel of 128 or more bright."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.data.segmentation.label_maps import read_label_map
from edgevision.engines.fake import FakeEngine, bright_area, fake_manifest
from edgevision.errors import DataError, OutputExistsError, SourceError, UsageError
from edgevision.labelling.label_maps import LabelledMaps, LabelMapRequest, write_label_maps
from edgevision.pipeline import StopRequest
from edgevision.types import IGNORE_ID, SegmentationMap
from tests.support.video import write_clip


def left_half(image):
    """Calls the left half bright, whatever it sees: its mirror image never agrees."""
    class_map = np.zeros(image.shape[:2], np.uint8)
    class_map[:, : image.shape[1] // 2] = 1
    return SegmentationMap(class_map)


def engine(answer=bright_area):
    return FakeEngine(answer, fake_manifest("segmentation", ("dark", "bright")))


def label(answer=bright_area, **changes: object) -> LabelledMaps:
    request = LabelMapRequest(**{"sources": ["photos"], "out": Path("set"), **changes})  # type: ignore[arg-type]
    return write_label_maps(engine(answer), "fake", request, stop=StopRequest())


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, bright in (("photos/a.jpg", 40), ("photos/b.png", 10)):
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :bright] = 250
        Path(name).parent.mkdir(exist_ok=True)
        cv2.imwrite(name, image)


def test_what_is_written_is_a_data_set():
    done = label(split="val")
    assert (done.images, done.left_out, done.ignored) == (2, 0, 0)
    assert done.pixels.sum() == 2 * 48 * 64
    data = load_segmentation("set", "val")
    assert [one.image.name for one in data.images] == ["a.jpg", "b.png"]
    for one, bright in zip(data.images, (40, 10), strict=True):
        shares = (read_label_map(one.labels) == 1).mean()
        assert shares == pytest.approx(bright / 64, abs=0.02)
        assert one.image.read_bytes() == (Path("photos") / one.image.name).read_bytes()


def test_colours_that_are_not_one_a_class_are_left_out():
    one = engine(bright_area)
    one.manifest = msgspec.structs.replace(one.manifest, colours=((1, 2, 3),))
    request = LabelMapRequest(sources=["photos"], out=Path("set"))
    assert write_label_maps(one, "fake", request, stop=StopRequest()).images == 2
    assert all("rgb" not in each for each in json.loads(Path("set/classes.json").read_text())["classes"])


def test_pixels_where_the_mirror_image_disagrees_are_ignored():
    done = label(left_half, flip=True)
    assert done.ignored == 2 * 48 * 64
    assert (read_label_map(Path("set/labels/train/a.png")) == IGNORE_ID).all()
    assert json.loads(Path("set/classes.json").read_text())["ignore_index"] == IGNORE_ID


def test_the_mirror_image_is_turned_back():
    done = label(flip=True)
    assert done.ignored < 0.03 * 2 * 48 * 64  # pixels of the edge alone, where the resizing rounds
    labels = read_label_map(Path("set/labels/train/a.png"))
    assert (labels[:, :38] == 1).all()
    assert (labels[:, 42:] == 0).all()


def test_images_of_too_much_doubt_are_left_out():
    def doubtful(image):
        return left_half(image) if image[:, :, 0].mean() > 100 else bright_area(image)

    done = label(doubtful, flip=True, max_ignored=0.5)
    assert (done.images, done.left_out) == (1, 1)
    assert [path.name for path in Path("set/images/train").iterdir()] == ["b.png"]
    assert [path.name for path in Path("set/labels/train").iterdir()] == ["b.png"]
    with pytest.raises(
        SourceError, match="no image was labelled of photos; 2 were left out by `max_ignored`"
    ):
        label(left_half, flip=True, max_ignored=0.5, split="val")
    assert not Path("set/images/val").exists()
    assert not Path("set/labels/val").exists()


@pytest.mark.parametrize("source", ["photos", "walk.mp4"])
def test_where_no_image_is_left_nothing_is(source):
    write_clip(Path("walk.mp4"), [0, 40])
    before = sorted(Path().rglob("*"))
    with pytest.raises(SourceError, match="2 were left out by `max_ignored`; nothing is written"):
        label(left_half, sources=[source], flip=True, max_ignored=0.5)
    assert sorted(Path().rglob("*")) == before
    Path("set").mkdir()
    with pytest.raises(SourceError, match="no image was labelled"):
        label(left_half, sources=[source], flip=True, max_ignored=0.5)
    assert list(Path("set").iterdir()) == []  # it was there


def test_images_that_cannot_be_read_are_counted_where_none_is_left():
    Path("photos/c.png").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="of photos; 1 could not be read; 2 were left out by `max_ignored`"):
        label(left_half, flip=True, max_ignored=0.5)
    for name in ("a.jpg", "b.png"):
        Path("photos", name).write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="of photos; 3 could not be read; nothing is written"):
        label()
    assert not Path("set").exists()


def test_frames_of_a_video_are_written_beside_the_photographs():
    write_clip(Path("walk.mp4"), [40 * i for i in range(10)])
    done = label(sources=["photos", "walk.mp4"], every=5)
    assert done.images == 4
    names = sorted(path.name for path in Path("set/images/train").iterdir())
    assert names == ["a.jpg", "b.png", "walk_000000.jpg", "walk_000005.jpg"]
    assert len(load_segmentation("set", "train").images) == 4


def test_images_of_several_folders_keep_names_of_their_own():
    Path("more").mkdir()
    Path("more/a.jpg").write_bytes(Path("photos/a.jpg").read_bytes())
    label(sources=["photos", "more"])
    names = sorted(path.name for path in Path("set/images/train").iterdir())
    assert names == ["more_a.jpg", "photos_a.jpg", "photos_b.png"]


def test_two_images_of_one_name_are_refused():
    cv2.imwrite("photos/a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="would both be called 'a'"):
        label()


def test_an_existing_data_set_is_not_spoilt():
    label()
    with pytest.raises(OutputExistsError, match=r"not empty: set/images/train; .*`split`.*`overwrite`"):
        label()
    assert label(overwrite=True).images == 2
    assert label(split="val").images == 2
    Path("set/classes.json").write_text('{"classes": [{"id": 0, "name": "sky"}, {"id": 1, "name": "road"}]}')
    with pytest.raises(DataError, match="has sky 0, road 1, ignore_index none; expected dark 0, bright 1, i"):
        label(split="test")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_ignored": 1.2}, "`max_ignored` is 1.2"),
        ({"split": "../x"}, "`split` is '../x'"),
        ({"out": Path("labels.json")}, "expected a folder as `out`"),
    ],
)
def test_impossible_requests(change, words):
    with pytest.raises(UsageError, match=words):
        label(**change)


def test_a_detector_is_refused():
    request = LabelMapRequest(sources=["photos"], out=Path("set"))
    with pytest.raises(UsageError, match="expected a segmenter"):
        write_label_maps(FakeEngine(), "fake", request, stop=StopRequest())
    assert not Path("set").exists()
