"""Every fault of a data set is found, counted and named; a training stops at it.

Also tests ``edgevision.cli.data``, ``edgevision.data.formats.coco``, ``edgevision.data.formats.raw``,
``edgevision.training.check``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edgevision.cli import main
from edgevision.contract.manifest import Resize
from edgevision.data.copies import find_copies, find_shared
from edgevision.data.detection.check import (
    DataFinding,
    DataReport,
    Fault,
    SetReport,
    check_set,
    check_sets,
    require_sound,
)
from edgevision.data.detection.dataset import select_classes
from edgevision.data.detection.loading import DetectionData
from edgevision.data.formats.coco import read_coco
from edgevision.data.formats.yolo import read_yolo
from edgevision.errors import DataError
from tests.support.layouts import boxes_of, image, put, yolo
from tests.support.training import small_run


def write_broken(folder: Path) -> tuple[Path, Path]:
    """One COCO set with every fault that a set can have by itself."""
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name in ("good", "bare", "wrong_size"):
        cv2.imwrite(str(images / f"{name}.png"), rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    shutil.copy(images / "good.png", images / "twin.png")
    cv2.imwrite(str(images / "cut.jpg"), rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    (images / "cut.jpg").write_bytes((images / "cut.jpg").read_bytes()[:900])
    files = ["good.png", "bare.png", "wrong_size.png", "twin.png", "cut.jpg", "gone.png"]
    sizes = [(50, 40)] * 2 + [(40, 50)] + [(50, 40)] * 3
    boxes: list[tuple[int, int, list[float]]] = [
        (1, 1, [10, 10, 20, 20]),
        (1, 1, [40, 10, 10.9, 5]),  # rounding: not outside
        (1, 1, [40, 10, 12, 5]),
        (1, 2, [5, 5, 0, 5]),
        (1, 9, [5, 5, 5, 5]),
        (77, 1, [5, 5, 5, 5]),
        (3, 2, [1, 1, 5, 5]),
        (4, 1, [1, 1, 5, 5]),
        (5, 1, [1, 1, 5, 5]),
        (6, 1, [1, 1, 5, 5]),
    ]
    document = {
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "zebra"}],
        "images": [
            {"id": i, "file_name": file, "width": w, "height": h}
            for i, (file, (w, h)) in enumerate(zip(files, sizes, strict=True), start=1)
        ],
        "annotations": [
            {"id": i, "image_id": image, "category_id": label, "bbox": box}
            for i, (image, label, box) in enumerate(boxes, start=1)
        ],
    }
    (folder / "set.json").write_text(json.dumps(document))
    return folder / "set.json", images


def counts(report: SetReport) -> dict[Fault, int]:
    return {finding.fault: finding.count for finding in report.findings}


def test_every_fault_of_a_set_is_counted(tmp_path: Path) -> None:
    report = check_set(read_coco(*write_broken(tmp_path)), ("car", "dog"))
    assert counts(report) == {
        Fault.MISSING: 1,
        Fault.UNREADABLE: 1,
        Fault.SIZE: 1,
        Fault.OUTSIDE: 1,
        Fault.EMPTY: 1,
        Fault.UNKNOWN_CLASS: 1,
        Fault.ORPHAN: 1,
        Fault.DUPLICATE: 1,
        Fault.BARE: 1,
        Fault.UNWANTED: 2,
    }
    assert report.counts == {"car": 6}
    examples = {finding.fault: finding.examples for finding in report.findings}
    assert examples[Fault.MISSING] == (str(tmp_path / "images" / "gone.png"),)
    assert examples[Fault.SIZE] == ("wrong_size.png is 50x40, labelled 40x50",)
    assert examples[Fault.DUPLICATE] == ("twin.png is good.png",)
    assert examples[Fault.OUTSIDE] == ("good.png: car at 40, 10, 52, 15",)


def test_the_fast_form_reads_headers_alone(tmp_path: Path) -> None:
    found = counts(check_set(read_coco(*write_broken(tmp_path)), read_images=False))
    assert found[Fault.MISSING] == found[Fault.SIZE] == 1
    assert {Fault.OUTSIDE, Fault.EMPTY, Fault.UNKNOWN_CLASS} < set(found)
    assert not {Fault.UNREADABLE, Fault.DUPLICATE} & set(found)  # its header says nothing of the cut


def test_images_in_two_splits_and_classes_without_labels_are_found(tmp_path: Path) -> None:
    first, shared, copy = (tmp_path / f"{name}.png" for name in "abc")
    for path, content in ((first, b"1111"), (shared, b"2222"), (copy, b"2222")):
        path.write_bytes(content)
    one = SetReport("train", 2, {"Motorcycle": 3, "dog": 0}, (), (first, shared))
    other = SetReport("val", 1, {"dog": 1}, (), (copy,))
    report = check_sets([one], [other], ("motorbike", "dog"))
    assert [(f.fault, f.count, f.examples) for f in report.between] == [
        (Fault.LEAK, 1, (f"{copy} is {shared}",)),
        (Fault.BOXLESS, 1, ("dog",)),
    ]
    assert [finding.fault for finding in report.broken] == [Fault.LEAK]
    require_sound(report)  # it is said, but somebody may want it
    assert report.notes == (
        f"images in two splits: 1 ({copy} is {shared})",
        "classes without a label: 1 (dog)",
    )


def test_images_that_are_known_to_show_nothing_are_sound_beside_others() -> None:
    """They teach what is no object; a set whose label files are missing is none of them."""
    nothing = DataFinding(Fault.NOTHING, 1, ("2 images, 0 boxes to ignore",))
    bare = SetReport("blank", 2, {"dog": 0}, (DataFinding(Fault.BARE, 2, ("a", "b")), nothing))
    unlabelled = SetReport("lost", 2, {"dog": 0}, (DataFinding(Fault.UNLABELLED, 2, ("a", "b")), nothing))
    taught = SetReport("train", 1, {"dog": 3}, ())
    require_sound(check_sets([taught, bare], [taught], ("dog",)))
    for train, val in (([bare], [taught]), ([taught, unlabelled], [taught]), ([taught], [bare])):
        with pytest.raises(DataError, match=r"no box to learn from: 1 \(2 images, 0 boxes to ignore\)"):
            require_sound(check_sets(train, val, ("dog",)))


def test_copies_have_equal_content_and_not_only_equal_size(tmp_path: Path) -> None:
    contents = {"a": b"same", "b": b"else", "c": b"same", "d": b"longer", "e": b"same"}
    paths = {name: tmp_path / name for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    assert find_copies([*paths.values()]) == [(paths["c"], paths["a"]), (paths["e"], paths["a"])]
    assert find_shared([paths["b"], paths["d"], paths["e"]], [paths["a"], paths["c"]]) == [
        (paths["e"], paths["a"])
    ]
    assert find_shared([], [paths["a"]]) == []


def test_a_training_stops_with_one_line(tmp_path: Path) -> None:
    report = DataReport((check_set(read_coco(*write_broken(tmp_path)), read_images=False),))
    with pytest.raises(
        DataError, match=r"missing images: 1 \(.*gone\.png\).*edgevision data check"
    ) as raised:
        require_sound(report)
    assert "\n" not in str(raised.value)
    require_sound(DataReport(()))


def test_a_training_goes_on_with_single_bad_boxes(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(
        json.dumps(
            {
                "categories": [{"id": 1, "name": "car"}],
                "images": [{"id": 1, "file_name": "a.png"}],
                "annotations": [
                    {"id": i, "image_id": 1, "category_id": 1, "bbox": bbox}
                    for i, bbox in enumerate(([5, 5, 10, 10], [5, 5, 8, 0], [40, 10, 12, 5], None))
                ],
            }
        )
    )
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 50, 3), np.uint8))
    raw = read_coco(tmp_path / "set.json", tmp_path)
    report = DataReport((check_set(raw, ["car"], read_images=False),))
    require_sound(report)
    assert [line.rpartition("; ")[2] for line in report.notes] == ["cut at the edge", "left out", "left out"]
    with pytest.raises(DataError, match="boxes outside the image: 1"):
        require_sound(report, strict=True)
    data = DetectionData([select_classes(raw, ["car"])], 50, Resize("stretch"), None)
    boxes = data[0, 0].boxes.numpy()
    np.testing.assert_allclose(boxes, [[5, 6.25, 15, 18.75], [40, 12.5, 50, 18.75]])


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(done.value.code or 0), captured.out, captured.err


def test_the_command_prints_one_table_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, images = write_broken(tmp_path)
    code, out, err = run(capsys, "data", "check", annotations, "--images", images)
    assert code == 1
    assert "missing images" in out
    assert "gone.png" in out
    assert err.count("\n") == 1
    assert "is broken" in err
    code, out, _ = run(capsys, "data", "check", annotations, "--images", images, "--json")
    document: dict[str, Any] = json.loads(out)
    assert code == 1
    assert document["broken"]
    assert document["sets"][0]["classes"] == {"car": 6, "zebra": 2}
    gone = {"fault": "missing images", "breaks": True, "count": 1, "examples": [str(images / "gone.png")]}
    assert gone in document["sets"][0]["findings"]


def test_the_command_takes_a_training_and_its_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(small_run(tmp_path)))
    code, out, err = run(capsys, "data", "check", config)
    assert code == 1  # training and validation are the same set
    assert "images in two splits" in out
    assert "images in two splits" in err
    (tmp_path / "images" / "3.png").unlink()
    code, _, err = run(capsys, "train", config, "--out", tmp_path / "run")
    assert code == 1
    assert f"missing images: 1 ({tmp_path / 'images' / '3.png'})" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("x" * 300 + ".png", "x" * 40), ("a\0b.png", "b.png"), ("\ud800.png", "\\ud800.png"), ("/", "/")],
)
def test_a_name_that_no_file_can_have_is_one_missing_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, shown: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    files = ["a.png", name]
    document = {
        "images": [{"id": number, "file_name": file} for number, file in enumerate(files)],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [4, 4, 20, 20]} for number in (0, 1)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path = tmp_path / "set.json"
    path.write_text(json.dumps(document))
    code, out, err = run(capsys, "data", "check", path, "--images", tmp_path, "--json")
    assert (code, err) == (1, f"error: {path} is broken: missing images\n")
    (finding,) = json.loads(out)["sets"][0]["findings"]
    assert (finding["fault"], finding["count"]) == ("missing images", 1)
    assert shown in finding["examples"][0]


def test_the_command_tells_folders_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    code, out, _ = run(capsys, "data", "check", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["sets"][0]["classes"] == {"cat": 1}
    code, out, _ = run(capsys, "data", "check", tmp_path / "labels", "--json")
    assert code == 0  # a part of the data set stands for it
    assert json.loads(out)["sets"][0]["classes"] == {"cat": 1}
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    for argument, message in (
        (tmp_path / "none", "not found"),
        (tmp_path / "empty", "no image; it holds nothing; expected YOLO"),
        (tmp_path / "x.json", "an object with no keys; expected COCO"),
    ):
        code, _, err = run(capsys, "data", "check", argument)
        assert code == 1
        assert message in err


def test_an_archive_is_checked_and_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, seeds in (("train", (1, 2, 3)), ("test", (4,))):
        for seed in seeds:
            put(tmp_path / "d" / split / "labels" / f"p{seed}.txt", yolo(boxes_of(seed)))
            image(tmp_path / "d" / split / "images" / f"p{seed}.jpg", seed)
    folders = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    put(tmp_path / "d" / "data.yaml", f"{folders}names: [cat, dog]\n")
    shutil.make_archive(str(tmp_path / "d"), "zip", tmp_path, "d")
    code, out, _ = run(capsys, "data", "check", tmp_path / "d.zip")
    assert code == 0
    first, *rest = out.splitlines()
    assert first.endswith(
        "train 3 images (cat 3, dog 2), test 1 image (cat 1, dog 0); names from d/data.yaml"
    )
    assert "images: 4 on disk = 4 used + 0 left out" in rest
    assert any(line.startswith("note: no validation split (data.yaml names a folder") for line in rest)
    code, out, _ = run(capsys, "data", "check", tmp_path / "d.zip", "--split", "val")
    assert code == 0
    assert "1 of 3 training images are taken for it" in out
    code, out, _ = run(capsys, "data", "convert", tmp_path / "d.zip", "--out", tmp_path / "o.json")
    assert code == 0
    raw = read_coco(tmp_path / "o.json", tmp_path / "o" / "d")
    assert sum(len(one.names) for one in raw.images) == 6
    assert all(one.path.is_file() for one in raw.images)


def test_converted_labels_are_the_same_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "val.json"
    tmp_path = tmp_path / "set"
    for folder in ("images/val", "labels/val"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / "val" / f"{name}.png"), np.zeros((40, 80, 3), np.uint8))
    (tmp_path / "labels" / "val" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    code, text, _ = run(capsys, "data", "convert", tmp_path, "--split", "val", "--out", out)
    assert code == 0
    assert "2 images, 2 classes" in text
    converted, original = read_coco(out, tmp_path / "images" / "val"), read_yolo(tmp_path, "val")
    assert converted.classes == original.classes == ("cat", "dog")
    for new, old in zip(converted.images, original.images, strict=True):
        assert (new.path, new.names, new.width, new.height) == (old.path, old.names, 80, 40)
        np.testing.assert_allclose(new.boxes, old.boxes)
    (tmp_path / "labels" / "val" / "a.txt").write_text("5 0.5 0.5 0.25 0.5\n")
    code, _, err = run(capsys, "data", "convert", tmp_path, "--split", "val", "--out", tmp_path / "x.json")
    assert code == 1
    assert "undefined class 5" in err
