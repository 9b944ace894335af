"""Data sets in the layouts of many tools: recognised, counted, and nothing left out in silence.

Also tests ``edgevision.data.layouts.coco``, ``edgevision.data.layouts.corners``,
``edgevision.data.layouts.cvat``,
``edgevision.data.layouts.documents``, ``edgevision.data.layouts.ledger``, ``edgevision.data.layouts.names``,
``edgevision.data.layouts.one_file_for_all``, ``edgevision.data.layouts.one_json_each``,
``edgevision.data.layouts.reading``, ``edgevision.data.layouts.refused``, ``edgevision.data.layouts.voc``,
``edgevision.data.layouts.yolo``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.data.detection.check import Fault
from edgevision.data.layouts.ledger import account_boxes, account_images, check_found
from edgevision.data.layouts.reading import Choices
from edgevision.data.layouts.recognise import FoundData, recognise
from edgevision.errors import DataError
from tests.support.layouts import NAMES, boxes_of, coco, image, put, voc, yolo

FOUR = {"train": {"cat": 4, "dog": 2}}
SPLIT = {"train": {"cat": 4, "dog": 2}, "val": {"cat": 2, "dog": 1}}
SEEDS = (("train", (1, 2, 3, 4)), ("valid", (5, 6)))


def counts(found: FoundData) -> dict[str, dict[str, int]]:
    return {
        one.role: dict(sorted(Counter(name for each in one.raw.images for name in each.names).items()))
        for one in found.splits
    }


def boxes_are_right(found: FoundData) -> None:
    """Every image is called p and its seed, and has its boxes in pixels."""
    for one in (each for split in found.splits for each in split.raw.images):
        seed = int("".join(letter for letter in one.path.stem.split("_")[0] if letter.isdigit()))
        expected = sorted([x, y, x + w, y + h] for _, x, y, w, h in boxes_of(seed))
        np.testing.assert_allclose(sorted(one.boxes.tolist()), expected, atol=0.02)


def roboflow_yolo(d: Path) -> None:
    for split, seeds in SEEDS:
        for i in seeds:
            put(d / split / "labels" / f"p{i}.txt", yolo(image(d / split / "images" / f"p{i}.jpg", i)))
    put(d / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")


def ultralytics_yolo(d: Path) -> None:
    for split, seeds in (("train", (1, 2, 3, 4)), ("val", (5, 6))):
        for i in seeds:
            put(d / "labels" / split / f"p{i}.txt", yolo(image(d / "images" / split / f"p{i}.jpg", i)))
    put(d / "data.yaml", "path: /elsewhere\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")


def capitals(d: Path) -> None:
    for split, seeds in (("Train", (1, 2, 3, 4)), ("Val", (5, 6))):
        for i in seeds:
            put(d / "Labels" / split / f"p{i}.txt", yolo(image(d / "Images" / split / f"p{i}.jpg", i)))
    put(d / "data.yaml", "train: Train/Images\nval: Val/Images\nnames: [cat, dog]\n")


def darknet(d: Path) -> None:
    for split, seeds in SEEDS:
        put(d / split / "_darknet.labels", "cat\ndog\n")
        for i in seeds:
            put(d / split / f"p{i}.txt", yolo(image(d / split / f"p{i}.jpg", i)))


def cvat_yolo(d: Path) -> None:
    for i in range(1, 5):
        put(d / "obj_train_data" / f"p{i}.txt", yolo(image(d / "obj_train_data" / f"p{i}.jpg", i)))
    put(d / "obj.names", "cat\ndog\n")
    put(d / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    put(d / "train.txt", "".join(f"data/obj_train_data/p{i}.jpg\n" for i in range(1, 5)))


def deep_labels(d: Path) -> None:
    for i in range(1, 5):
        text = yolo(image(d / "images" / "train" / f"p{i}.jpg", i))
        put(d / "labels" / "Train" / "set1" / "images" / "train" / f"p{i}.txt", text)
    put(d / "data.yaml", "names: [cat, dog]\n")


def prefixed_labels(d: Path) -> None:
    for i in range(1, 5):
        put(d / "labels" / f"0000000{i}-p{i}.txt", yolo(image(d / "images" / f"p{i}.jpg", i)))
    put(d / "classes.txt", "cat\ndog\n")


def linked_folders(d: Path) -> None:
    for i in range(1, 5):
        root = d if i < 3 else d.parent / "disk2"
        put(root / "labels" / "cam" / f"p{i}.txt", yolo(image(root / "images" / "cam" / f"p{i}.jpg", i)))
    for kind in ("images", "labels"):
        (d / kind / "cam2").symlink_to(d.parent / "disk2" / kind / "cam")
        (d / kind / "round").symlink_to(d)
    put(d / "data.yaml", "names: [cat, dog]\n")


def utf16(d: Path) -> None:
    for i in range(1, 5):
        text = yolo(image(d / "images" / f"p{i}.jpg", i))
        put(d / "labels" / f"p{i}.txt", text.replace("\n", "\r\n").encode("utf-16"))
    put(d / "classes.txt", "cat\r\ndog\r\n".encode("utf-16"))


def key_points(d: Path) -> None:
    for i in range(1, 5):
        lines = yolo(image(d / "images" / f"p{i}.jpg", i)).splitlines()
        put(d / "labels" / f"p{i}.txt", "".join(f"{line} 0.1 0.1 2 0.9 0.9 2\n" for line in lines))
    put(d / "data.yaml", "kpt_shape: [2, 3]\nnames: [cat, dog]\n")


def roboflow_coco(d: Path) -> None:
    for split, seeds in SEEDS:
        items = [
            (f"p{i}_jpg.rf.{i:032x}.jpg", image(d / split / f"p{i}_jpg.rf.{i:032x}.jpg", i)) for i in seeds
        ]
        put(d / split / "_annotations.coco.json", coco(items, ("animals", *NAMES), 0))


def published_coco(d: Path) -> None:
    for split, seeds in (("train2017", (1, 2, 3, 4)), ("val2017", (5, 6))):
        items = [(f"{i:012d}.jpg", image(d / split / f"{i:012d}.jpg", i)) for i in seeds]
        put(d / "annotations" / f"instances_{split}.json", coco(items))
        put(d / "annotations" / f"person_keypoints_{split}.json", coco(items))
    put(
        d / "annotations" / "captions_train2017.json", '{"images": [], "annotations": [{"caption": "a cat"}]}'
    )


def equal_names(d: Path) -> None:
    for split, seeds in (("train", (1, 2, 3, 4)), ("val", (5, 6))):
        items = [(f"p{i % 4}.jpg", image(d / split / f"p{i % 4}.jpg", i)) for i in seeds]
        put(d / "annotations" / f"instances_{split}.json", coco(items))


def cvat_coco(d: Path) -> None:
    items = [(f"p{i}.jpg", image(d / "images" / "default" / f"p{i}.jpg", i)) for i in range(1, 5)]
    put(d / "annotations" / "instances_default.json", coco(items))


def roboflow_voc(d: Path) -> None:
    for split, seeds in SEEDS:
        for i in seeds:
            put(d / split / f"p{i}.xml", voc(f"p{i}.jpg", image(d / split / f"p{i}.jpg", i)))


def fiftyone_voc(d: Path) -> None:
    for i in range(1, 5):
        put(d / "labels" / f"p{i}.xml", voc(f"p{i}.jpg", image(d / "data" / f"p{i}.jpg", i)))


def listed_voc(d: Path) -> None:
    for i in range(1, 7):
        put(
            d / "VOC" / "Annotations" / f"p{i}.xml", voc("", image(d / "VOC" / "JPEGImages" / f"p{i}.jpg", i))
        )
    lists = d / "VOC" / "ImageSets" / "Main"
    put(lists / "train.txt", "p1\np2\np3\np4\n")
    put(lists / "val.txt", "p5\np6\n")
    put(lists / "trainval.txt", "p1\np2\np3\np4\np5\np6\n")


def cvat_xml(d: Path) -> None:
    entries = ""
    for i in range(1, 5):
        shapes = "".join(
            f'<box label="{NAMES[c]}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>'
            if c
            else f'<polygon label="{NAMES[c]}" points="{x},{y};{x + w},{y};{x + w},{y + h};{x},{y + h}"/>'
            for c, x, y, w, h in image(d / "images" / f"p{i}.jpg", i)
        )
        entries += f'<image id="{i}" name="p{i}.jpg" width="160" height="120">{shapes}</image>'
    put(d / "annotations.xml", f"<annotations><version>1.1</version>{entries}</annotations>")


def cvat_video(d: Path) -> None:
    tracks = ""
    for i in range(1, 5):
        for c, x, y, w, h in image(d / "images" / f"p{i:06d}.png", i):
            box = f'<box frame="{i}" outside="0" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>'
            gone = f'<box frame="{i + 1}" outside="1" xtl="0" ytl="0" xbr="9" ybr="9"/>'
            tracks += f'<track label="{NAMES[c]}">{box}{gone}</track>'
    put(d / "annotations.xml", f"<annotations>{tracks}</annotations>")


def labelme(d: Path) -> None:
    for i in range(1, 5):
        shapes = [
            {"label": NAMES[c], "points": [[x + w, y + h], [x, y]], "shape_type": "rectangle"}
            for c, x, y, w, h in image(d / f"p{i}.jpg", i)
        ]
        document = {"shapes": shapes, "imagePath": f"..\\pictures\\p{i}.jpg", "imageData": None}
        put(d / f"p{i}.json", json.dumps(document | {"imageHeight": 120, "imageWidth": 160}))


def supervisely(d: Path) -> None:
    put(d / "meta.json", json.dumps({"classes": [{"title": name} for name in NAMES]}))
    for i in range(1, 5):
        objects = [
            {
                "classTitle": NAMES[c],
                "geometryType": "rectangle",
                "points": {"exterior": [[x + w, y + h], [x, y]], "interior": []},
            }
            for c, x, y, w, h in image(d / "ds0" / "img" / f"p{i}.jpg", i)
        ]
        document = {"size": {"height": 120, "width": 160}, "objects": objects}
        put(d / "ds0" / "ann" / f"p{i}.jpg.json", json.dumps(document))


def createml(d: Path) -> None:
    for split, seeds in SEEDS:
        entries = [
            {
                "image": f"p{i}.jpg",
                "annotations": [
                    {
                        "label": NAMES[c],
                        "coordinates": {"x": x + w / 2, "y": y + h / 2, "width": w, "height": h},
                    }
                    for c, x, y, w, h in image(d / split / f"p{i}.jpg", i)
                ],
            }
            for i in seeds
        ]
        put(d / split / "_annotations.createml.json", json.dumps(entries))


def via(d: Path) -> None:
    document = {
        f"p{i}.jpg1": {
            "filename": f"p{i}.jpg",
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": x, "y": y, "width": w, "height": h},
                    "region_attributes": {"colour": "red", "class": NAMES[c]},
                }
                for c, x, y, w, h in image(d / f"p{i}.jpg", i)
            ],
        }
        for i in range(1, 5)
    }
    put(d / "via_region_data.json", json.dumps(document))


def table(d: Path) -> None:
    for split, seeds in SEEDS:
        rows = "".join(
            f"p{i}.jpg,160,120,{NAMES[c]},{x},{y},{x + w},{y + h}\n"
            for i in seeds
            for c, x, y, w, h in image(d / split / f"p{i}.jpg", i)
        )
        put(d / split / "_annotations.csv", f"filename,width,height,class,xmin,ymin,xmax,ymax\n{rows}")


def retinanet_table(d: Path) -> None:
    rows = "".join(
        f"images/p{i}.jpg,{x},{y},{x + w},{y + h},{NAMES[c]}\n"
        for i in range(1, 5)
        for c, x, y, w, h in image(d / "images" / f"p{i}.jpg", i)
    )
    put(d / "annotations.csv", rows)


def other_separators(d: Path) -> None:
    for (split, seeds), separator in zip(SEEDS, (";", "\t"), strict=True):
        rows = [["\ufefffilename", "xmin", "ymin", "xmax", "ymax", "class"]]
        for i in seeds:
            boxes = image(d / split / f"p{i}.jpg", i)
            rows += [[f"p{i}.jpg", *map(str, (x, y, x + w, y + h)), NAMES[c]] for c, x, y, w, h in boxes]
        put(d / split / "labels.csv", "".join(separator.join(row) + "\n" for row in rows))


def keras(d: Path) -> None:
    for split, seeds in SEEDS:
        put(d / split / "_classes.txt", "cat\ndog\n")
        lines = (
            f"p{i}.jpg "
            + " ".join(f"{x},{y},{x + w},{y + h},{c}" for c, x, y, w, h in image(d / split / f"p{i}.jpg", i))
            for i in seeds
        )
        put(d / split / "_annotations.txt", "\n".join(lines) + "\n")


def label_txt(d: Path) -> None:
    for split, seeds in SEEDS:
        for i in seeds:
            text = "".join(
                f"{x}.0 {y}.0 {x + w}.0 {y}.0 {x + w}.0 {y + h}.0 {x}.0 {y + h}.0 {NAMES[c]} 0\n"
                for c, x, y, w, h in image(d / split / "images" / f"p{i}.jpg", i)
            )
            put(d / split / "labelTxt" / f"p{i}.txt", text)


TABLE: tuple[tuple[Callable[[Path], None], str, dict[str, dict[str, int]]], ...] = (
    (roboflow_yolo, "YOLO text", SPLIT),
    (ultralytics_yolo, "YOLO text", SPLIT),
    (capitals, "YOLO text", SPLIT),
    (darknet, "YOLO text", SPLIT),
    (cvat_yolo, "YOLO text with lists", FOUR),
    (deep_labels, "YOLO text", FOUR),
    (prefixed_labels, "YOLO text", FOUR),
    (linked_folders, "YOLO text", FOUR),
    (utf16, "YOLO text", FOUR),
    (key_points, "YOLO text", FOUR),
    (roboflow_coco, "COCO instances", SPLIT),
    (published_coco, "COCO instances", SPLIT),
    (cvat_coco, "COCO instances", FOUR),
    (roboflow_voc, "PASCAL VOC", SPLIT),
    (fiftyone_voc, "PASCAL VOC", FOUR),
    (listed_voc, "PASCAL VOC with lists", SPLIT),
    (cvat_xml, "CVAT XML", FOUR),
    (cvat_video, "CVAT XML", FOUR),
    (labelme, "labelme", FOUR),
    (supervisely, "Supervisely", FOUR),
    (createml, "CreateML", SPLIT),
    (via, "VGG Image Annotator (VIA)", FOUR),
    (table, "CSV table", SPLIT),
    (other_separators, "CSV table", SPLIT),
    (retinanet_table, "CSV table", FOUR),
    (keras, "YOLO Keras text", SPLIT),
    (label_txt, "oriented boxes (labelTxt)", SPLIT),
)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0].__name__)
@pytest.mark.parametrize("deeper", [False, True], ids=["root", "above"])
def test_a_layout_is_recognised_and_counted(
    tmp_path: Path, row: tuple[Callable[[Path], None], str, dict[str, dict[str, int]]], deeper: bool
) -> None:
    make, layout, expected = row
    make(tmp_path / "d" / "set")
    found = recognise(tmp_path / "d" if deeper else tmp_path / "d" / "set")
    assert (found.layout, found.classes, counts(found)) == (layout, NAMES, expected)
    boxes_are_right(found)
    images = account_images(found)
    assert images.used == sum(len(one.raw.images) for one in found.splits)
    assert account_boxes([one.raw for one in found.splits]).left_out == {}
    assert check_found(found).broken == ()


def test_lists_are_obeyed_and_the_rest_is_counted(tmp_path: Path) -> None:
    for i in range(1, 9):
        text = yolo(image(tmp_path / "images" / f"p{i}.jpg", i))
        if i < 6:
            put(tmp_path / "labels" / f"p{i}.txt", text)
    put(tmp_path / "train.txt", "images/p1.jpg\nimages/p2.jpg\nimages/p3.jpg\n")
    put(tmp_path / "val.txt", "./images/p4.jpg\n./images/p5.jpg\n")
    put(tmp_path / "data.yaml", "path: ./\ntrain: train.txt\nval: val.txt\nnames:\n  0: cat\n  1: dog\n")
    found = recognise(tmp_path)
    assert [(one.role, len(one.raw.images)) for one in found.splits] == [("train", 3), ("val", 2)]
    assert str(account_images(found)) == (
        "images: 8 on disk = 5 used + 3 left out (3 in no list, such as images/p6.jpg)"
    )


@pytest.mark.parametrize(
    "entry",
    [
        "../%s/images",
        "%s/images",
        "./%s/images/",
        "x-3/%s/images",
        "/content/x/%s/images",
        "C:\\x\\%s\\images",
    ],
)
def test_the_folder_beside_the_yaml_is_found(tmp_path: Path, entry: str) -> None:
    roboflow_yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    put(tmp_path / "my.yaml", f"train: {entry % 'train'}\nval: {entry % 'valid'}\nnames: [cat, dog]\n")
    found = recognise(tmp_path / "my.yaml")
    assert counts(found) == SPLIT
    assert any("taken from train/images" in note for note in found.notes) == (
        entry[0] in "./xC" and entry[1] != "/"
    )


def test_a_train_folder_that_is_nowhere_names_every_place(tmp_path: Path) -> None:
    put(tmp_path / "labels" / "p1.txt", yolo(image(tmp_path / "images" / "p1.jpg", 1)))
    put(tmp_path / "data.yaml", "train: gone/train/pictures\nnames: [cat, dog]\n")
    with pytest.raises(
        DataError, match=r"train is 'gone/train/pictures'.*looked for .*gone/train/pictures.*train/pictu"
    ):
        recognise(tmp_path)


def test_one_folder_for_both_splits_is_a_leak(tmp_path: Path) -> None:
    ultralytics_yolo(tmp_path)
    put(tmp_path / "data.yaml", "train: images/train\nval: images/train\nnames: [cat, dog]\n")
    found = recognise(tmp_path)
    assert [len(one.raw.images) for one in found.splits] == [4, 4]
    assert [finding.fault for finding in check_found(found).broken] == [Fault.LEAK]


def test_no_label_file_is_told_from_an_empty_one(tmp_path: Path) -> None:
    for i in range(1, 7):
        image(tmp_path / "images" / f"p{i}.jpg", i)
    put(tmp_path / "labels" / "p1.txt", yolo(boxes_of(1)))
    put(tmp_path / "labels" / "p2.txt", "")
    put(tmp_path / "data.yaml", "names: [cat, dog]\n")
    found = recognise(tmp_path)
    findings = {one.fault: one.count for one in check_found(found).sets[0].findings}
    assert (findings[Fault.BARE], findings[Fault.UNLABELLED]) == (1, 4)
    assert any(note.startswith("4 of 6 images have no label file") for note in found.notes)
    without = recognise(tmp_path, Choices(unlabelled="leave-out"))
    assert len(without.splits[0].raw.images) == 2
    assert account_images(without).left_out == {"no label file": 4}


def test_voc_images_without_xml_are_left_out_and_told(tmp_path: Path) -> None:
    for i in range(1, 6):
        boxes = image(tmp_path / "JPEGImages" / f"p{i}.jpg", i)
        if i < 4:
            put(tmp_path / "Annotations" / f"p{i}.xml", voc(f"p{i}.jpg", boxes))
    found = recognise(tmp_path)
    assert account_images(found).left_out == {"no XML": 2}
    assert any("`unlabelled` empty takes them" in note for note in found.notes)
    assert len(recognise(tmp_path, Choices(unlabelled="empty")).splits[0].raw.images) == 5


def test_crowds_are_counted_apart(tmp_path: Path) -> None:
    items = [(f"p{i}.jpg", image(tmp_path / f"p{i}.jpg", i)) for i in (2, 4, 6)]
    document = json.loads(coco(items))
    for annotation in document["annotations"]:
        annotation["iscrowd"] = 1
    put(tmp_path / "a.json", json.dumps(document))
    found = recognise(tmp_path / "a.json")
    hint = "`crowds_are_objects` takes them as objects"
    assert f"a.json: 3 of 3 boxes are marked as crowds and teach nothing; {hint}" in found.notes
    report = check_found(found)
    findings = {one.fault: one for one in report.sets[0].findings}
    assert str(findings[Fault.CROWD]) == "boxes marked as crowd or difficult: 3 (cat: 3 of 3)"
    assert Fault.NOTHING in {one.fault for one in report.broken}
    taken = recognise(tmp_path / "a.json", Choices(crowds_are_objects=True))
    assert account_boxes([one.raw for one in taken.splits]).used == 3


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_boxes_in_shares_of_the_image_are_refused(tmp_path: Path, kind: str) -> None:
    items = [(f"p{i}.jpg", image(tmp_path / "images" / f"p{i}.jpg", i)) for i in range(1, 5)]
    document = json.loads(coco(items))
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x / 160, y / 120, w / 160, h / 120]
    if kind == "coco":
        put(tmp_path / "a.json", json.dumps(document))
    for name, _ in items if kind == "voc" else ():
        box = "<bndbox><xmin>0.2</xmin><ymin>0.3</ymin><xmax>0.5</xmax><ymax>0.6</ymax></bndbox>"
        put(
            tmp_path / "annotations" / f"{name[:-4]}.xml",
            f"<annotation><object><name>cat</name>{box}</object></annotation>",
        )
    report = check_found(recognise(tmp_path))
    tiny = next(one for one in report.broken if one.fault is Fault.TINY)
    assert tiny.examples[0] == "every box is smaller than 1 pixel: shares instead of pixels?"


def test_corners_where_sides_belong_are_told(tmp_path: Path) -> None:
    items = [(f"p{i}.jpg", image(tmp_path / f"p{i}.jpg", i)) for i in range(1, 5)]
    document = json.loads(coco(items))
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x // 3, y // 3, x // 3 + w, y // 3 + h]
    put(tmp_path / "a.json", json.dumps(document))
    assert Fault.CORNERS in {one.fault for one in check_found(recognise(tmp_path)).sets[0].findings}
    put(tmp_path / "a.json", coco(items))
    assert Fault.CORNERS not in {one.fault for one in check_found(recognise(tmp_path)).sets[0].findings}


def test_names_that_disagree_and_count_from_one_are_told(tmp_path: Path) -> None:
    for i in range(1, 5):
        boxes = [(c + 1, *rest) for c, *rest in image(tmp_path / "images" / f"p{i}.jpg", i)]
        put(tmp_path / "labels" / f"p{i}.txt", yolo(boxes))  # type: ignore[arg-type]
    put(tmp_path / "data.yaml", "names: [cat, dog]\n")
    put(tmp_path / "classes.txt", "dog\ncat\n")
    found = recognise(tmp_path)
    assert (
        "two files of names differ: data.yaml (cat, dog) is used, and classes.txt says dog, cat"
        in found.notes
    )
    assert any("they seem to count from 1" in note for note in found.notes)
    assert account_boxes([found.splits[0].raw]).left_out == {"of undefined classes": 2}
    put(tmp_path / "data.yaml", "names: [background, cat, dog]\n")
    (tmp_path / "classes.txt").unlink()
    found = recognise(tmp_path)
    assert found.classes == NAMES
    assert "the class 'background' has no box and is left out: a detector needs none" in found.notes


def test_names_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    for i in (2, 4, 6):
        text = voc(f"p{i}.jpg", image(tmp_path / "JPEGImages" / f"p{i}.jpg", i))
        put(tmp_path / "Annotations" / f"p{i}.xml", text.replace("cat", "Cat") if i == 2 else text)
    found = recognise(tmp_path)
    assert set(found.classes) == {"Cat", "cat"}
    assert [note for note in found.notes if "differ in case only and are learnt as 2 classes" in note]


@pytest.mark.parametrize(("count", "said"), [(1, "1 text file holds"), (2, "2 text files hold")])
def test_text_files_that_hold_no_labels_are_counted(tmp_path: Path, count: int, said: str) -> None:
    for i in range(1, 3):
        put(tmp_path / "Annotations" / f"p{i}.xml", voc(f"p{i}.jpg", image(tmp_path / f"p{i}.jpg", i)))
    for i in range(count):
        put(tmp_path / f"remarks{i}.txt", "of the day\n")
    are = "is" if count == 1 else "are"
    assert any(
        note.startswith(f"{said} no labels of this layout and {are} not read: remarks0.txt")
        for note in recognise(tmp_path).notes
    )


def test_what_programs_leave_is_no_part_of_a_set(tmp_path: Path) -> None:
    for i in range(1, 5):
        put(tmp_path / "labels" / f"p{i}.txt", yolo(image(tmp_path / "images" / f"p{i}.jpg", i)))
        put(tmp_path / "images" / f"._p{i}.jpg", b"\0\5\26\7 Mac OS X")
    image(tmp_path / "images" / ".ipynb_checkpoints" / "p1-checkpoint.jpg", 1)
    put(tmp_path / "images" / "Thumbs.db", b"0")
    put(tmp_path / "data.yaml", "names: [cat, dog]\n")
    found = recognise(tmp_path)
    assert counts(found) == FOUR
    assert account_images(found).left_out == {"hidden, or left by a program": 5}


def test_a_suffix_that_is_not_read_is_named(tmp_path: Path) -> None:
    for name, i in (("q7.jfif", 7), ("q8.avif", 8)):
        image(tmp_path / "x.jpg", i)
        put(tmp_path / "images" / name, (tmp_path / "x.jpg").read_bytes())
        put(tmp_path / "labels" / f"{name[:2]}.txt", yolo(boxes_of(i)))
    (tmp_path / "x.jpg").unlink()
    put(tmp_path / "data.yaml", "names: [cat, dog]\n")
    found = recognise(tmp_path)
    assert [one.path.name for one in found.splits[0].raw.images] == ["q7.jfif"]
    assert [one.text for one in found.splits[0].raw.problems] == [
        "labels/q8.txt: q8.avif is there, and .avif is not read; convert it to PNG or JPEG"
    ]
    assert account_boxes([found.splits[0].raw]).left_out == {"of no image": 1}


def test_dark_images_of_16_bits_are_told(tmp_path: Path) -> None:
    grey = np.full((120, 160), 2500, np.uint16)
    put(tmp_path / "images" / "p1.png", cv2.imencode(".png", grey)[1].tobytes())
    put(tmp_path / "labels" / "p1.txt", yolo(boxes_of(1)))
    put(tmp_path / "data.yaml", "names: [cat, dog]\n")
    findings = {one.fault: one for one in check_found(recognise(tmp_path)).sets[0].findings}
    assert findings[Fault.DARK].examples == (
        "p1.png: brightest value 2,500 of 65,535, 9 of 255 once it is read",
    )


COCO_BY_NAME = json.dumps(
    {
        "images": [{"id": "abc", "file_name": "p1.jpg"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
)


def test_equal_names_in_two_splits_stay_apart(tmp_path: Path) -> None:
    equal_names(tmp_path)
    found = recognise(tmp_path)
    assert counts(found) == SPLIT
    for split, seeds in zip(found.splits, ((1, 2, 3, 4), (5, 6)), strict=True):
        expected = sorted([x, y, x + w, y + h] for i in seeds for _, x, y, w, h in boxes_of(i))
        np.testing.assert_allclose(
            sorted(box for one in split.raw.images for box in one.boxes.tolist()), expected
        )


def test_a_test_split_without_labels_is_no_fault(tmp_path: Path) -> None:
    equal_names(tmp_path)
    document = json.loads((tmp_path / "annotations" / "instances_val.json").read_text())
    put(tmp_path / "annotations" / "test.json", json.dumps(document | {"annotations": []}))
    (tmp_path / "annotations" / "instances_val.json").unlink()
    (tmp_path / "val").rename(tmp_path / "test")
    found = recognise(tmp_path)
    assert [one.role for one in found.splits] == ["train", "test"]
    assert check_found(found).broken == ()


def test_pixels_where_shares_belong_are_told(tmp_path: Path) -> None:
    boxes = image(tmp_path / "images" / "p1.jpg", 1)
    put(tmp_path / "labels" / "p1.txt", "".join(f"{c} {x} {y} {w} {h}\n" for c, x, y, w, h in boxes))
    put(tmp_path / "classes.txt", "cat\ndog\n")
    assert any("pixels instead of shares?" in note for note in recognise(tmp_path).notes)
    with pytest.raises(DataError, match=r"p1\.jpg is an image; give the folder"):
        recognise(tmp_path / "images" / "p1.jpg")


def write_texts(d: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        if name.endswith((".jpg", ".png")):
            image(d / name, 1)
        else:
            put(d / name, text)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/p1.jpg": "", "train/metadata.jsonl": '{"file_name": "p1.jpg"}\n'}, "Hugging Face"),
        ({"image_2/1.png": "", "label_2/1.txt": "Car 0 0 0 1.0 2.0 3.0 4.0 0 0 0 0 0 0 0\n"}, "KITTI"),
        ({"a/p1.jpg": "", "b.csv": "ImageID,Source,LabelName,Confidence,XMin\n"}, "Open Images"),
        ({"train/a.tfrecord": "x"}, "TFRecord"),
        ({"images/p1.jpg": "", "project.json": '[{"data": {}, "annotations": []}]'}, "Label Studio"),
        ({"annotations/default.json": '{"items": [], "categories": {}}', "images/p1.jpg": ""}, "Datumaro"),
        ({"img1/p1.jpg": "", "gt/gt.txt": "1,1,1,1,1,1,1,1,1\n"}, "MOT Challenge"),
        (
            {"data/p1.jpg": "", "samples.json": '{"samples": []}', "metadata.json": "{}"},
            "FiftyOne's own dataset",
        ),
        ({"train/Car/p1.jpg": "", "train/Car/Label/p1.txt": "Car 10.5 20.0 80.0 90.0\n"}, "OIDv4"),
        (
            {
                **{f"{name}/train/images/p1.jpg": "" for name in ("cars", "pets")},
                **{f"{name}/train/labels/p1.txt": "0 .5 .5 .2 .2\n" for name in ("cars", "pets")},
                **{
                    f"{name}/data.yaml": f"train: train/images\nnames: [{name}]\n"
                    for name in ("cars", "pets")
                },
            },
            r"2 data sets side by side \(cars/data.yaml, pets/data.yaml\); name one of them",
        ),
        (
            {"train/cat/p1.jpg": "", "train/dog/p2.jpg": ""},
            r"boxes; label them .*folders: name \S*train in configs/models/classifier",
        ),
        ({"p1.jpg": ""}, "1 images and no label file"),
        ({"labels/p1.txt": "0 .5 .5 .2 .2\n", "classes.txt": "cat\n"}, "1 label files and no image"),
        ({"images/p1.avif": "x"}, r"no image that can be read \(1 .avif\): convert"),
        (
            {"images/p1.jpg": "", "labels/p1.txt": "0 .5 .5 .2 .2\n"},
            r"no file names its classes; its labels use 0",
        ),
        (
            {"images/p1.jpg": "", "labels/p1.txt": "cat .5 .5 .2 .2\n"},
            "p1.txt begins with 'cat .5 .5 .2 .2'; exp",
        ),
        (
            {"images/p1.jpg": "", "labels/p1.txt": "0,.5,.5,.2,.2\n"},
            "p1.txt begins with '0,.5,.5,.2,.2'; expected",
        ),
        (
            {"images/p1.jpg": "", "a.json": COCO_BY_NAME},
            "the images have ids such as 'abc'; expected whole numbers",
        ),
        ({"images/p1.jpg": "", "notes.xml": "<x/>"}, "is not a known dataset; it holds 1 .xml, 1 .jpg"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(tmp_path: Path, files: dict[str, str], message: str) -> None:
    write_texts(tmp_path, files)
    with pytest.raises(DataError, match=message):
        recognise(tmp_path)


def test_a_table_with_one_column_for_the_box_and_none_for_the_class(tmp_path: Path) -> None:
    rows = ["image_id,width,height,bbox,source"]
    for i in (1, 2, 3, 4):
        boxes = image(tmp_path / "train" / f"p{i}.jpg", i)
        rows += [f'p{i},160,120,"[{x}.0, {y}.0, {w}.0, {h}.0]",usask_1' for _, x, y, w, h in boxes]
    put(tmp_path / "train.csv", "\n".join([*rows, 'p1,160,120,"[1.0, 2.0]",usask_1\n']))
    found = recognise(tmp_path)
    assert (found.layout, found.classes) == ("CSV table", ("object",))
    assert counts(found) == {"train": {"object": 6}}
    boxes_are_right(found)
    assert any("names no class" in note for note in found.notes)
    (problem,) = found.splits[0].raw.problems
    assert "no four numbers where the box belongs" in problem.text


def test_outlines_without_boxes_get_the_box_around_them(tmp_path: Path) -> None:
    seeds = (1, 2, 3, 4)
    document = json.loads(coco([(f"p{i}.jpg", image(tmp_path / "images" / f"p{i}.jpg", i)) for i in seeds]))
    for one in document["annotations"]:
        x, y, w, h = one.pop("bbox")
        one["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    put(tmp_path / "annotations.json", json.dumps(document))
    found = recognise(tmp_path)
    assert counts(found) == FOUR
    boxes_are_right(found)
    assert any("6 annotations have an outline and no box" in note for note in found.notes)


def test_a_models_answers_are_told_from_labels(tmp_path: Path) -> None:
    put(tmp_path / "classes.txt", "cat\n")
    right = yolo(image(tmp_path / "images" / "p2.jpg", 2))
    put(tmp_path / "labels" / "p2.txt", f"{right}0 .5 .5 .2 .2 .87\n")
    (problem,) = recognise(tmp_path).splits[0].raw.problems
    assert "is the fifth a model's confidence?" in problem.text
