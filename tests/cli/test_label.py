"""'edgevision label' with a teacher that finds what is bright: its score is the brightness, 1 for 255.

Also tests ``edgevision.labelling.footage``, ``edgevision.labelling.image_labels``,
``edgevision.labelling.job``, ``edgevision.labelling.shapes``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.cli import main
from edgevision.data.classification.dataset import read_class_folders, read_image_labels
from edgevision.data.detection.dataset import load_coco
from edgevision.data.detection.sources import CocoSource, load_source
from edgevision.data.formats.coco import read_coco
from edgevision.data.segmentation.dataset import load_segmentation
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import UsageError
from edgevision.labelling.footage import name_below
from edgevision.labelling.shapes import UNITS
from tests.support.manifests import colour_manifest
from tests.support.models import image_with_block, write_bright_segmenter, write_colour_model
from tests.support.paths import ROOT
from tests.support.task_models import ANGLE, SKELETON, write_task_model
from tests.support.video import number_of, write_clip

THRESHOLDS = ("--positive", "0.9", "--ignore", "0.8")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_colour_model(tmp_path / "teacher.onnx")

    def run(*arguments, model="teacher.onnx"):
        with pytest.raises(SystemExit) as ended:
            main(["label", "--model", model, *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.err

    return run


def write_photos(folder: Path) -> Path:
    """Strong red, weak green (0.84), and nothing, in images of different sizes."""
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), image_with_block(64, 64, (8, 16, 40, 48), (0, 0, 255)))
    cv2.imwrite(str(folder / "b.png"), image_with_block(128, 64, (16, 16, 80, 48), (0, 215, 0)))
    cv2.imwrite(str(folder / "c.png"), image_with_block(64, 64, (0, 0, 64, 64), (30, 30, 30)))
    return folder


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


def test_images_of_a_folder(call, tmp_path):
    write_photos(tmp_path / "photos")
    code, err = call("photos", "--out", "labels.json", *THRESHOLDS)
    assert code == 0, err
    document = read("labels.json")
    assert [(e["file_name"], e["width"], e["height"]) for e in document["images"]] == [
        ("a.png", 64, 64),
        ("b.png", 128, 64),
        ("c.png", 64, 64),
    ]
    names = {e["id"]: e["name"] for e in document["categories"]}
    first, second = document["annotations"]
    assert (names[first["category_id"]], first["iscrowd"], first["score"]) == ("red", 0, 1.0)
    assert first["bbox"] == pytest.approx([8, 16, 32, 32])
    assert first["area"] == pytest.approx(1024)
    assert (names[second["category_id"]], second["iscrowd"]) == ("green", 1)
    assert second["score"] == pytest.approx(215 / 255, abs=1e-4)
    assert second["bbox"] == pytest.approx([16, 16, 64, 32], abs=2)
    assert "red 1" in err
    assert "regions to ignore: 1" in err
    assert str(tmp_path / "photos") in err
    # What is written is what training and evaluation read.
    loaded = load_coco("labels.json", "photos", ["red", "green"])
    assert [one.ignore.tolist() for one in loaded.images] == [[False], [True], []]
    assert all(one.path.is_file() for one in loaded.images)


def test_several_places_share_one_root(call, tmp_path):
    write_photos(tmp_path / "data" / "first")
    write_photos(tmp_path / "data" / "second")
    code, err = call("data/first", "data/second/a.png", "--out", "labels.json", *THRESHOLDS)
    assert code == 0, err
    names = [entry["file_name"] for entry in read("labels.json")["images"]]
    assert names == ["first/a.png", "first/b.png", "first/c.png", "second/a.png"]


def test_a_link_counts_where_it_stands(call, tmp_path):
    elsewhere = write_photos(tmp_path / "elsewhere")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "first.png").symlink_to(elsewhere / "a.png")
    assert call("in", "--out", "in/labels.json", *THRESHOLDS)[0] == 0
    (image,) = load_coco(tmp_path / "in" / "labels.json", tmp_path / "in", ("red",)).images
    assert image.path.name == "first.png"
    assert len(image.boxes) == 1
    (tmp_path / "in" / "more").symlink_to(elsewhere)
    root = (tmp_path / "in").resolve()
    assert name_below(root, Path("in/more/b.png")) == "more/b.png"
    with pytest.raises(UsageError, match="lies outside"):
        name_below(root, elsewhere / "b.png")


def test_two_links_to_one_file_elsewhere_are_two_images(call, tmp_path):
    store = write_photos(tmp_path / "store")
    (tmp_path / "links").mkdir()
    for name in ("a.png", "b.png"):  # as tools do that keep equal files once
        (tmp_path / "links" / name).symlink_to(store / "a.png")
    code, err = call("links", "--out", "labels.json", *THRESHOLDS)
    assert (code, "named twice" in err) == (0, False), err
    document = read("labels.json")
    assert [entry["file_name"] for entry in document["images"]] == ["a.png", "b.png"]
    code, err = call("links", "--results-for", "labels.json", "--out", "rows.json", *THRESHOLDS)
    assert (code, "not among the sources" in err) == (0, False), err
    assert len({row["image_id"] for row in read("rows.json")}) == 2
    # With the store beside them all three are one file below the folder of all.
    code, err = call("links", "store/a.png", "--out", "all.json", *THRESHOLDS)
    assert (code, "is named twice" in err) == (0, True), err
    assert len(read("all.json")["images"]) == 1


@pytest.mark.parametrize(
    ("sources", "files", "note"),
    [
        (["photos", "photos"], ["a.png", "b.png", "c.png"], "3 images are named twice"),
        (["photos", "./photos", "photos/"], ["a.png", "b.png", "c.png"], "3 images are named twice"),
        (["photos", "photos/[ab].png"], ["a.png", "b.png", "c.png"], "2 images are named twice"),
        (["photos/b.png", "photos"], ["b.png", "a.png", "c.png"], "1 image is named twice"),
        (["link", "photos"], ["a.png", "b.png", "c.png"], "3 images are named twice"),
        (["photos/c.png", "other.png"], ["c.png"], "1 image is named twice"),
    ],
)
def test_a_file_that_is_named_twice_is_labelled_once(call, tmp_path, sources, files, note):
    photos = write_photos(tmp_path / "photos")
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "other.png").symlink_to(photos / "c.png")
    code, err = call(*sources, "--out", "labels.json", *THRESHOLDS)
    assert (code, f"note: {note}; each is labelled once" in err) == (0, True), err
    document = read("labels.json")
    assert [entry["file_name"] for entry in document["images"]] == files
    assert f"{len(files)} images labelled, in {photos}" in err
    assert [e["iscrowd"] for e in document["annotations"]] == [int(f[0] == "b") for f in files if f[0] != "c"]
    write_bright_segmenter(tmp_path / "bright.onnx")
    code, err = call(*sources, "--out", "set", model="bright.onnx")
    assert (code, f"{len(files)} images labelled" in err, note in err) == (0, True, True), err
    write_task_model(tmp_path / "kind.onnx", "classification")
    code, err = call(*sources, "--positive", "0.01", "--out", "kinds.json", model="kind.onnx")
    assert (code, len(read("kinds.json")["images"]), note in err) == (0, len(files), True), err


def test_a_damaged_rest_of_a_folder_does_not_cost_the_others(call, tmp_path):
    photos = write_photos(tmp_path / "photos")
    (photos / "b.png").write_bytes(b"nonsense")
    (photos / "c.png").unlink()
    code, err = call("photos/a.png", "photos", "--out", "labels.json", *THRESHOLDS)
    assert code == 3, err
    assert [entry["file_name"] for entry in read("labels.json")["images"]] == ["a.png"]
    assert "warning: photos/b.png is not an image" in err


def test_a_video_that_is_named_twice_is_labelled_once(call, tmp_path):
    clip(tmp_path / "walk.mp4", 3)
    (tmp_path / "again.mp4").symlink_to(tmp_path / "walk.mp4")
    arguments = ("walk.mp4", "./walk.mp4", "again.mp4", "*.mp4", "--images-out", "frames", "--every", 2)
    code, err = call(*arguments, "--out", "labels.json")
    assert (code, "note: 1 video is named twice; each is labelled once" in err) == (0, True), err
    assert [e["file_name"] for e in read("labels.json")["images"]] == ["walk_000000.jpg", "walk_000002.jpg"]
    assert len(list(Path("frames").iterdir())) == 2


def test_frames_do_not_replace_images_that_are_labelled(call, tmp_path):
    clip(tmp_path / "walk.mp4", 3)
    assert call("walk.mp4", "--images-out", "frames", "--out", "labels.json")[0] == 0
    before = {path: path.read_bytes() for path in Path("frames").iterdir()}
    code, err = call("frames", "walk.mp4", "--images-out", "frames", "--out", "x.json", "--overwrite")
    assert (code, err.count("\n"), "would be replaced by a frame of 'walk'" in err) == (2, 1, True), err
    assert {path: path.read_bytes() for path in Path("frames").iterdir()} == before


def test_rows_count_an_image_once(call, tmp_path):
    write_photos(tmp_path / "photos")
    people = {"images": [{"id": 7, "file_name": "a.png"}], "categories": [{"id": 3, "name": "red"}]}
    Path("people.json").write_text(json.dumps({**people, "annotations": []}))
    code, err = call("photos", "./photos", "--results-for", "people.json", "--out", "rows.json", *THRESHOLDS)
    assert (code, "1 boxes in 1 images" in err, "warning" in err) == (0, True, False), err
    assert len(read("rows.json")) == 1


def test_a_folder_of_which_nothing_can_be_read_does_not_cost_the_others(call, tmp_path):
    write_photos(tmp_path / "photos")
    (tmp_path / "bad").mkdir()
    for name in ("x.png", "y.png"):
        (tmp_path / "bad" / name).write_bytes(b"nonsense")
    code, err = call("photos", "bad", "--out", "labels.json", *THRESHOLDS)
    assert (code, "bad: none of 2 images could be read" in err, "bad/x.png is not" in err) == (3, True, True)
    assert len(read("labels.json")["images"]) == 3
    code, err = call("bad", "--out", "none.json", *THRESHOLDS)
    assert (code, err) == (
        1,
        "error: no image was labelled of bad; 2 could not be read; nothing is written\n",
    )


@pytest.mark.parametrize("source", ["bad/x.png", "bad", "bad/*.png"])
def test_one_damaged_image_does_not_cost_the_others(call, tmp_path, source):
    write_photos(tmp_path / "photos")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"nonsense")
    code, err = call("photos", source, "--out", "labels.json", *THRESHOLDS)
    assert (code, "warning: bad/x.png is not an image" in err) == (3, True), err
    assert [entry["file_name"] for entry in read("labels.json")["images"]] == [
        f"photos/{name}.png" for name in "abc"
    ]
    code, err = call(source, "--out", "none.json", *THRESHOLDS)
    assert (code, err.count("\n"), "1 could not be read; nothing is written" in err) == (1, 1, True), err


def test_where_no_image_is_left_no_frames_are(call, tmp_path):
    clip(tmp_path / "walk.mp4", 3)
    Path("a.json").write_text('{"images": [], "categories": [], "annotations": []}')
    write_task_model(tmp_path / "kind.onnx", "classification")
    arguments = ("walk.mp4", "--images-out", "new/frames", "--out", "x.json")
    code, err = call(*arguments, "--results-for", "a.json")
    assert (code, "nothing is written" in err, Path("new").exists()) == (1, True, False), err
    code, err = call("walk.mp4", "--out", "sorted", "--positive", "1", model="kind.onnx")
    assert (code, "nothing is written" in err, Path("sorted").exists()) == (1, True, False), err


def test_classes(call, tmp_path):
    write_photos(tmp_path / "photos")
    code, _ = call(
        "photos", "--out", "labels.json", "--classes", "Green", "--positive", "0.8", "--ignore", "0.5"
    )
    assert code == 0
    document = read("labels.json")
    assert [e["name"] for e in document["categories"]] == ["green"]
    assert len(document["images"]) == 3
    assert [(e["image_id"], e["iscrowd"]) for e in document["annotations"]] == [(2, 0)]


def test_two_teachers_are_fused(call, tmp_path):
    """Both find red; what one calls blue the other calls azure, and each knows its own word only."""
    write_colour_model(tmp_path / "other.onnx", colour_manifest(classes=("azure", "Green", "red")))
    photos = write_photos(tmp_path / "photos")
    cv2.imwrite(str(photos / "c.png"), image_with_block(64, 64, (8, 16, 40, 48), (255, 0, 0)))
    code, err = call("photos", "--model", "other.onnx", "--out", "labels.json", *THRESHOLDS)
    assert code == 0, err
    document = read("labels.json")
    names = {e["id"]: e["name"] for e in document["categories"]}
    found = [(e["image_id"], names[e["category_id"]], e["score"]) for e in document["annotations"]]
    assert found == [
        (1, "red", 1.0),
        (2, "green", pytest.approx(0.8431, abs=1e-4)),
        (3, "blue", 1.0),
        (3, "azure", 1.0),
    ]


def test_teachers_that_share_no_class_are_refused(call, tmp_path):
    write_photos(tmp_path / "photos")
    for name, classes in (("other", ("class_0", "class_1", "class_2")), ("bridge", ("blue", "x", "Class-1"))):
        write_colour_model(tmp_path / f"{name}.onnx", colour_manifest(classes=classes))
    code, err = call("photos", "--model", "other.onnx", "--out", "labels.json", *THRESHOLDS)
    assert (code, err.count("\n"), Path("labels.json").exists()) == (2, 1, False), err
    assert (
        "teacher.onnx and other.onnx share no class: the first begins with blue, green, red, the second"
        in err
    )
    assert "second with class_0, class_1, class_2; " in err
    assert "give 'edgevision import' the --classes of both" in err
    # A third that shares a class with each connects them.
    arguments = ("photos", "--model", "other.onnx", "--model", "bridge.onnx", "--out", "labels.json")
    code, err = call(*arguments, *THRESHOLDS)
    assert code == 0, err


def test_rows_for_a_set_that_people_labelled(call, tmp_path):
    write_photos(tmp_path / "photos")
    entries = [{"id": 7, "file_name": "a.png", "width": 64, "height": 64}, {"id": 9, "file_name": "d.png"}]
    categories = [{"id": 3, "name": "Red"}, {"id": 4, "name": "dog"}]
    people = {"images": entries, "categories": categories, "annotations": []}
    Path("people.json").write_text(json.dumps(people))
    code, err = call("photos", "--results-for", "people.json", "--out", "rows.json", *THRESHOLDS)
    assert code == 0, err
    (row,) = read("rows.json")
    assert (row["image_id"], row["category_id"], row["score"]) == (7, 3, 1.0)
    assert row["bbox"] == pytest.approx([8, 16, 32, 32])
    assert "rows.json: 1 boxes in 1 images of people.json" in err
    assert "warning: 1 images of people.json are not among the sources" in err
    # What is written is what a training source reads.
    source = CocoSource("people.json", "photos", labelled=(), detections="rows.json")
    assert [one.labels.tolist() for one in load_source(source, ["red", "dog"]).images] == [[0], []]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "teacher.onnx"), "--model teacher.onnx is given twice"),
        (("--scales", "1,x"), "--scales 1,x: expected numbers with commas between"),
        (("--scales", "1.5,2,1.50"), "--scales 1.5 is given twice; expected each once"),
        (
            ("--tiles", "--scales", "1.5,1.667"),
            "--scales 1.667 is what --tiles looks at; leave one of them out",
        ),
        (("--scales", "9"), "--scales 9 is not possible; expected 0.25 to 4"),
        (("--classes", "mauve", "--model", "other.onnx"), "mauve"),
        (("--results-for", "a.json", "--merge", "a.json"), "exclude each other"),
        (("--results-for", "a.json"), "expected images that a.json names"),
    ],
)
def test_what_cannot_be_looked_for_is_one_line(call, tmp_path, options, words):
    write_colour_model(tmp_path / "other.onnx")
    write_photos(tmp_path / "photos")
    Path("a.json").write_text('{"images": [], "categories": [], "annotations": []}')
    code, err = call("photos", "--out", "labels.json", *options)
    assert (code, words in err, err.count("\n")) == (2 if "a.json names" not in words else 1, True, 1), err
    assert not Path("labels.json").exists()


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("teacher.onnx", ("--max-ignored", "1"), "is a detection model; --max-ignored is for segmenters"),
        ("teacher.onnx", ("--split", "train"), "a detection model; --split is for segmenters"),
        ("instance-segmentation.onnx", ("--split", "val"), "an instance-segmentation model; --split is"),
        ("classification.onnx", ("--split", "val"), "--split is for segmenters"),
        ("classification.onnx", ("--max-ignored", "0.2"), "--max-ignored is for segmenters"),
        ("classification.onnx", ("--ignore", "0.25"), "--ignore is for detectors"),
        ("bright.onnx", ("--positive", "0.42"), "--positive is for detectors and classifiers: leave it out"),
        ("bright.onnx", ("--ignore", "0.3"), "--ignore is for detectors: leave it out"),
        *(
            (model, options, f"{options[0]} is for frames of videos; found images only: leave it out")
            for model in ("teacher.onnx", "bright.onnx", "classification.onnx")
            for options in (("--every", "2"), ("--seed", "0"), ("--images-out", "frames"))
            if (model, options[0]) != ("bright.onnx", "--images-out")
        ),
    ],
)
def test_an_option_that_would_change_nothing_is_one_line(call, tmp_path, model, options, words):
    write_photos(tmp_path / "photos")
    write_bright_segmenter(tmp_path / "bright.onnx")
    for task in ("classification", "instance-segmentation"):
        write_task_model(tmp_path / f"{task}.onnx", task)
    out = "labels" if model == "bright.onnx" else "labels.json"
    code, err = call("photos", "--out", out, *options, model=model)
    assert (code, words in err, err.count("\n")) == (2, True, 1), err
    assert not Path(out).exists()
    assert not Path("frames").exists()


def test_a_seed_without_runs_to_draw_from_is_one_line_and_videos_beside_images_take_every_option(
    call, tmp_path
):
    write_photos(tmp_path / "photos")
    clip(tmp_path / "walk.mp4", 4)
    arguments = ("photos", "walk.mp4", "--seed", 1, "--images-out", "frames", "--out", "labels.json")
    code, err = call(*arguments)
    assert (code, "--seed draws one frame of --every so many; found every frame" in err) == (2, True), err
    assert err.count("\n") == 1
    code, err = call(*arguments, "--every", 2)
    assert code == 0, err
    assert len(read("labels.json")["images"]) == 5


def clip(path: Path, frames: int = 10) -> Path:
    return write_clip(path, [40 * i for i in range(frames)])


def test_every_nth_frame_of_videos(call, tmp_path):
    clip(tmp_path / "walk.mp4")
    clip(tmp_path / "drive.mp4", 7)
    arguments = ("walk.mp4", "drive.mp4", "--every", 4, "--out", "labels.json", *THRESHOLDS)
    code, err = call(*arguments)
    assert (code, "--images-out" in err) == (2, True)
    code, err = call(*arguments, "--images-out", "frames/new")
    assert code == 0, err
    names = [entry["file_name"] for entry in read("labels.json")["images"]]
    assert names == [f"walk_{i:06d}.jpg" for i in (0, 4, 8)] + [f"drive_{i:06d}.jpg" for i in (0, 4)]
    assert [number_of(cv2.imread(f"frames/new/{name}")) for name in names] == [0, 4, 8, 0, 4]
    loaded = load_coco("labels.json", "frames/new", ["red", "green", "blue"])
    # The teacher boxes the white bars: none in frame 0, bit 2 in frame 4, bit 3 in frame 8.
    assert [len(one.boxes) for one in loaded.images] == [0, 1, 1, 0, 1]
    np.testing.assert_allclose(loaded.images[1].boxes[0], [40, 0, 60, 48], atol=4)
    np.testing.assert_allclose(loaded.images[2].boxes[0], [60, 0, 80, 48], atol=4)


def test_frames_drawn_at_random_are_the_same_for_a_seed(call, tmp_path):
    clip(tmp_path / "walk.mp4", 40)
    chosen = {}
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        code, _ = call("walk.mp4", "--every", 10, "--seed", seed, "--images-out", run, "--out", f"{run}.json")
        assert code == 0
        chosen[run] = [int(e["file_name"][5:11]) for e in read(f"{run}.json")["images"]]
    assert chosen["a"] == chosen["b"] != chosen["c"]
    assert [index // 10 for index in chosen["a"]] == [0, 1, 2, 3]
    assert any(index % 10 for index in chosen["a"])


def existing(path: Path, size: tuple[int, int] = (64, 64)) -> dict:
    """Red is labelled in a.png where it is, in b.png nothing is, and a note that nobody reads is kept."""
    document = {
        "info": {"made by": "hand"},
        "images": [
            {"id": 40, "file_name": "a.png", "width": size[0], "height": size[1], "source": "camera 3"},
            {"id": 50, "file_name": "b.png", "width": 128, "height": 64},
        ],
        "annotations": [
            {
                "id": 8,
                "image_id": 40,
                "category_id": 3,
                "bbox": [8, 16, 32, 33],
                "iscrowd": 0,
                "note": "sure",
            },
            {"id": 9, "image_id": 50, "category_id": 3, "bbox": [100, 0, 9, 9], "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "Red"}, {"id": 4, "name": "person"}],
    }
    path.write_text(json.dumps(document))
    return document


def test_existing_labels_are_kept_and_completed_with_regions_to_ignore(call, tmp_path):
    write_photos(tmp_path / "photos")
    before = existing(tmp_path / "real.json")
    arguments = (
        "photos",
        "--merge",
        "real.json",
        "--out",
        "more.json",
        "--positive",
        "0.8",
        "--ignore",
        "0.5",
    )
    code, err = call(*arguments)
    assert code == 0, err
    after = read("more.json")
    assert after["info"] == before["info"]
    assert after["images"][:2] == before["images"]
    assert after["annotations"][:2] == before["annotations"]
    assert after["categories"][:2] == before["categories"]
    # a.png has its red box already; the green one of b.png is new, and only to be ignored, sure as it is.
    (added,) = after["annotations"][2:]
    names = {e["id"]: e["name"] for e in after["categories"]}
    assert (added["id"], added["image_id"], added["iscrowd"]) == (10, 50, 1)
    assert names[added["category_id"]] == "green"
    assert added["score"] == pytest.approx(215 / 255, abs=1e-4)
    # c.png was not in the file.
    assert (after["images"][2]["id"], after["images"][2]["file_name"]) == (51, "c.png")
    assert "2 of the images were in real.json" in err
    assert read("real.json") == before


def test_labels_of_other_images_are_noticed(call, tmp_path):
    write_photos(tmp_path / "photos")
    existing(tmp_path / "real.json", size=(640, 480))
    code, err = call("photos", "--merge", "real.json", "--out", "more.json")
    assert code == 1
    assert "64x64" in err
    assert "640x480" in err
    assert not Path("more.json").exists()
    (tmp_path / "photos" / "a.png").rename(tmp_path / "photos" / "x.png")
    (tmp_path / "photos" / "b.png").rename(tmp_path / "photos" / "y.png")
    code, err = call("photos", "--merge", "real.json", "--out", "more.json")
    assert code == 0
    assert "check which folder" in err


def test_with_flip_both_views_are_used(call, tmp_path):
    write_photos(tmp_path / "photos")
    assert call("photos", "--out", "once.json", *THRESHOLDS)[0] == 0
    assert call("photos", "--out", "twice.json", "--flip", *THRESHOLDS)[0] == 0
    once, twice = read("once.json")["annotations"], read("twice.json")["annotations"]
    assert [e["category_id"] for e in once] == [e["category_id"] for e in twice]
    for first, second in zip(once, twice, strict=True):
        assert second["bbox"] == pytest.approx(first["bbox"], abs=2.1)


def test_damaged_input_is_skipped_and_named(call, tmp_path):
    write_photos(tmp_path / "photos")
    (tmp_path / "photos" / "b.png").write_bytes(b"nonsense")
    code, err = call("photos", "--out", "labels.json", *THRESHOLDS)
    assert code == 3
    assert "b.png" in err
    assert [e["file_name"] for e in read("labels.json")["images"]] == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["photos", "--out", "taken.json"], ["exists", "--overwrite"]),
        (["photos", "--out", "nowhere/x.json"], ["nowhere"]),
        (["nothing.mp4", "--out", "x.json"], ["not found: nothing.mp4"]),
        (["photos", "--out", "x.json", "--positive", "0.2"], ["ignore <= positive"]),
        (["photos", "--out", "x.json", "--classes", "grene"], ["no class 'grene'", "'green'"]),
        (["photos", "--out", "x.json", "--merge", "taken.json"], ["taken.json", "not COCO"]),
        (["photos", "--out", "x.json", "--merge", "nothing.json"], ["not found"]),
        (
            ["one/walk.mp4", "two/walk.mp4", "--images-out", "f", "--out", "x.json"],
            ["two videos are called 'walk'"],
        ),
        (["one/walk.mp4", "--images-out", "full", "--out", "x.json"], ["exists", "walk_000000.jpg"]),
        (["one/walk.mp4", "--images-out", "taken.json", "--out", "x.json"], ["taken.json"]),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(call, tmp_path, arguments, words):
    write_photos(tmp_path / "photos")
    (tmp_path / "taken.json").write_text("[]")
    for folder in ("one", "two", "full"):
        (tmp_path / folder).mkdir()
    clip(tmp_path / "one" / "walk.mp4", 3)
    clip(tmp_path / "two" / "walk.mp4", 3)
    (tmp_path / "full" / "walk_000000.jpg").write_bytes(b"kept")
    code, err = call(*arguments)
    assert code in (1, 2)
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err
    assert not Path("x.json").exists()
    assert Path("taken.json").read_text() == "[]"
    assert Path("full/walk_000000.jpg").read_bytes() == b"kept"


def test_a_segmenter_writes_a_data_set(call, tmp_path):
    write_photos(tmp_path / "photos")
    write_bright_segmenter(tmp_path / "bright.onnx")
    code, err = call("photos", "--flip", "--out", "set", model="bright.onnx")
    assert code == 0, err
    assert "3 images labelled as 'train'" in err
    # Bright: 32 x 32 of a.png's 64 x 64, 64 x 32 of b.png's 128 x 64, nothing of c.png's 64 x 64.
    assert "dark 81.2%, bright 18.8%, ignored 0.0%" in err
    loaded = load_segmentation("set", "train")
    assert loaded.classes == ("dark", "bright")
    assert loaded.colours == ((0, 0, 0), (255, 255, 0))
    for one in loaded.images:
        original = tmp_path / "photos" / one.image.name
        assert one.image.read_bytes() == original.read_bytes()
        _, labels = read_pair(loaded, one)
        expected = cv2.imread(str(original)).max(axis=2) >= 128
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x.json"], ["expected a folder as --out", "x.json"]),
        (["--out", "x", "--merge", "m.json"], ["--merge is for detectors"]),
        (["--out", "x", "--tiles"], ["--tiles is for detectors"]),
        (["--out", "x", "--classes", "bright"], ["--classes is for detectors"]),
        (["--out", "x", "--images-out", "frames"], ["--images-out is for detectors"]),
        (["--out", "x", "--flip", "--max-ignored", "1.5"], ["--max-ignored is 1.5", "0 to 1"]),
        (["--out", "x", "--split", "a/b"], ["--split is 'a/b'"]),
    ],
)
def test_what_a_segmenter_cannot_do_is_one_line_and_writes_nothing(call, tmp_path, arguments, words):
    write_photos(tmp_path / "photos")
    write_bright_segmenter(tmp_path / "bright.onnx")
    (tmp_path / "m.json").write_text('{"images": [], "annotations": [], "categories": []}')
    code, err = call("photos", *arguments, model="bright.onnx")
    assert code == 2
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err
    assert not Path("x").exists()


def annotations(path: str) -> list[dict]:
    return read(path)["annotations"]


def test_masks_poses_and_rotated_boxes_are_written_as_coco_has_them(call, tmp_path):
    write_photos(tmp_path / "photos")
    shapes = {}
    for task in ("instance-segmentation", "pose", "obb"):
        write_task_model(tmp_path / f"{task}.onnx", task)
        code, err = call("photos", "--out", f"{task}.json", model=f"{task}.onnx")
        assert code == 0, err
        found = [one for one in annotations(f"{task}.json") if not one["iscrowd"]]
        raw = read_coco(tmp_path / f"{task}.json", tmp_path / "photos", shapes=True)
        assert not raw.problems
        shapes[task] = found[0]
        assert f"  {UNITS[task]}: " in err
    mask = shapes["instance-segmentation"]
    assert mask["segmentation"]["size"] == [64, 64]
    assert mask["area"] == pytest.approx(32 * 32, rel=0.1)
    pose = shapes["pose"]
    assert pose["keypoints"][2::3] == [2, 0, 2]  # scores 0.9, 0.2 and 0.8
    assert pose["num_keypoints"] == 2
    assert pose["keypoints"][:2] == pytest.approx([8, 16], abs=1)
    (category,) = [one for one in read("pose.json")["categories"] if one["name"] == "red"]
    assert category["keypoints"] == list(SKELETON.names)
    assert category["skeleton"] == [[1, 3], [2, 3]]
    (polygon,) = shapes["obb"]["segmentation"]
    x1, y1, *_ = polygon
    assert len(polygon) == 8
    # The corner of a square of 32 around (24, 32), turned by 30 degrees.
    turned = (24 + 16 * (-np.cos(ANGLE) + np.sin(ANGLE)), 32 - 16 * (np.sin(ANGLE) + np.cos(ANGLE)))
    assert (x1, y1) == pytest.approx(turned, abs=1)


def test_a_classifier_labels_images(call, tmp_path):
    write_photos(tmp_path / "photos")
    write_task_model(tmp_path / "kind.onnx", "classification")
    code, err = call("photos", "--positive", "0.5", "--out", "labels.json", model="kind.onnx")
    assert code == 0, err
    assert "2 images labelled" in err
    assert "labels: red 1, green 1" in err or "labels: green 1, red 1" in err
    assert "1 images left out: no label of 0.5 or more" in err
    found = read_image_labels(tmp_path / "labels.json", tmp_path / "photos")
    named = zip([path.name for path in found.paths], found.labels.argmax(axis=1), strict=True)
    assert {name: found.classes[which] for name, which in named} == {"a.png": "red", "b.png": "green"}
    code, err = call("photos", "--positive", "0.5", "--out", "sorted", model="kind.onnx")
    assert code == 0, err
    assert read_class_folders(tmp_path / "sorted").classes == ("green", "red")
    assert (tmp_path / "sorted/red/a.png").read_bytes() == (tmp_path / "photos/a.png").read_bytes()


@pytest.mark.parametrize(
    ("task", "arguments", "words"),
    [
        ("pose", ["--out", "x.json", "--flip"], ["a pose model", "leave --flip out"]),
        ("obb", ["--out", "x.json", "--tiles"], ["leave --tiles out"]),
        ("classification", ["--out", "x", "--classes", "red"], ["--classes is for detectors"]),
        ("classification", ["--out", "x", "--flip"], ["--flip is for detectors"]),
        ("classification", ["--out", "x", "--images-out", "y"], ["--images-out belongs to a json"]),
        ("classification", ["--out", "x", "--positive", "0"], ["--positive 0 is not possible"]),
        ("several", ["--out", "x"], ["several labels", "choose a json as --out"]),
    ],
)
def test_what_other_tasks_cannot_do_is_one_line_and_writes_nothing(call, tmp_path, task, arguments, words):
    write_photos(tmp_path / "photos")
    if task == "several":
        write_task_model(tmp_path / "m.onnx", "classification", multi_label=True)
    else:
        write_task_model(tmp_path / "m.onnx", task)
    code, err = call("photos", *arguments, model="m.onnx")
    assert code == 2
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err
    assert not Path(arguments[1]).exists()


def test_an_interrupted_run_keeps_what_it_has(call, tmp_path):
    clip(tmp_path / "long.mp4", 4000)
    command = [sys.executable, "-m", "edgevision", "label", "long.mp4", "--model", "teacher.onnx"]
    command += ["--images-out", "frames", "--out", "labels.json"]
    root = str(ROOT)
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("frames/*_00001?.jpg")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "ended early by SIGINT" in err
    images = read("labels.json")["images"]
    assert 10 <= len(images) < 4000
    assert {e["file_name"] for e in images} == {path.name for path in tmp_path.glob("frames/*.jpg")}
