"""PASCAL VOC folders, YOLO text, class masks, and images of every depth.

Also tests ``edgevision.data.detection.sources``, ``edgevision.data.images``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgevision.config import build_config
from edgevision.contract.manifest import Resize
from edgevision.data.classes import VOC_CLASSES
from edgevision.data.detection.loading import DetectionData
from edgevision.data.detection.sources import CocoSource, DetectionSource, VocSource, YoloSource, load_source
from edgevision.data.formats.coco import read_coco
from edgevision.data.formats.raw import LabelProblem
from edgevision.data.formats.text import read_xml
from edgevision.data.formats.voc import read_voc
from edgevision.data.formats.yolo import find_splits, parse_line, read_data_yaml, read_names, read_yolo
from edgevision.data.images import decode_image, image_size
from edgevision.errors import ConfigError, DataError
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.anchors import AnchorConfig
from edgevision.models.detection_losses import DetectionLoss
from edgevision.models.retinanet import HeadMaps
from edgevision.models.settings import DetectionLossConfig
from edgevision.training.config import DataConfig
from tests.support.paths import SHARED

VEHICLES = SHARED / "data" / "detection"


def image(path: Path, width: int = 100, height: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 120, np.uint8))
    return path


def voc_object(name: str, box: tuple[int, int, int, int], difficult: int = 0) -> str:
    corners = "".join(
        f"<{key}>{v}</{key}>" for key, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        image(tmp_path / "JPEGImages" / f"{name}.jpg")
    annotations, lists = tmp_path / "Annotations", tmp_path / "ImageSets" / "Main"
    annotations.mkdir()
    lists.mkdir(parents=True)
    size = "<size><width>100</width><height>60</height><depth>3</depth></size>"
    objects = voc_object("car", (11, 21, 50, 40)) + voc_object("dog", (1, 1, 100, 60), difficult=1)
    (annotations / "a.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (annotations / "b.xml").write_text(f"<annotation>{size}</annotation>")
    (lists / "train.txt").write_text("a\n")
    (lists / "car_trainval.txt").write_text("a  1\nb -1\n")
    return tmp_path


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    image(tmp_path / "images" / "train" / "a.jpg")
    image(tmp_path / "images" / "train" / "b.png", 40, 80)
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("1 0.3 0.5 0.4 0.5\n0 0.1 0.1 0.5 0.1 0.5 0.9\n")
    (tmp_path / "data.yaml").write_text("names: {0: dog, 1: car}\ntrain: images/train\n")
    return tmp_path


def test_voc_counts_pixels_from_one_and_difficult_is_ignored(voc: Path) -> None:
    first, second = read_voc(voc).images
    np.testing.assert_array_equal(first.boxes, [[10, 20, 50, 40], [0, 0, 100, 60]])
    assert (first.names, first.ignore.tolist()) == (("car", "dog"), [False, True])
    assert (first.width, first.height, second.names) == (100, 60, ())


def test_voc_lists_choose_images(voc: Path) -> None:
    assert [image.path.stem for image in read_voc(voc, "train").images] == ["a"]
    assert [image.path.stem for image in read_voc(voc, "car_trainval").images] == ["a", "b"]
    with pytest.raises(DataError, match=r"did you mean 'train'"):
        read_voc(voc, "trian")
    with pytest.raises(DataError, match="no Annotations folder"):
        read_voc(voc / "JPEGImages")


def test_broken_voc_files_are_named(voc: Path) -> None:
    (voc / "Annotations" / "b.xml").write_text("<annotation><object></annotation>")
    (voc / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nc\n")
    found = read_voc(voc, "train")
    assert [problem.text.split(":")[0] for problem in found.problems] == ["b.xml", "c.xml"]
    assert len(found.images) == 3


def test_yolo_shares_become_pixels_and_polygons_boxes(yolo: Path) -> None:
    first, second = read_yolo(yolo, "train").images
    np.testing.assert_allclose(first.boxes, [[10, 15, 50, 45], [10, 6, 50, 54]], rtol=1e-6)
    assert first.names == ("car", "dog")
    assert (second.names, second.width, second.height) == ((), 40, 80)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2 0.5 0.5 0.1 0.1", LabelProblem("class", "a.txt:1: undefined class 2 (of 2 names)")),
        ("0 0.5 0.5 0.1", LabelProblem("malformed", "a.txt:1: 3 numbers after the class")),
        ("x 0.5 0.5 0.1 0.1", LabelProblem("malformed", "a.txt:1: invalid literal")),
        ("0 0.5 nan 0.1 0.1", LabelProblem("malformed", "a.txt:1: a negative class, or a value")),
    ],
)
def test_broken_yolo_lines_are_named(yolo: Path, line: str, problem: LabelProblem) -> None:
    (yolo / "labels" / "train" / "a.txt").write_text(line)
    (found,) = read_yolo(yolo, "train").problems
    assert found.kind == problem.kind
    assert found.text.startswith(problem.text)


def test_yolo_names_come_from_texts_and_yamls(tmp_path: Path) -> None:
    text, listed = tmp_path / "classes.txt", tmp_path / "data.yaml"
    text.write_text("dog\ncar\n\n")
    listed.write_text("names: [dog, car]")
    assert read_names(text) == read_names(listed) == ("dog", "car")
    listed.write_text("names: {0: dog, 2: car}")
    with pytest.raises(DataError, match="expected 0, 1, 2"):
        read_names(listed)
    with pytest.raises(DataError, match="cannot read class names"):
        read_names(tmp_path / "none.txt")


def test_labels_without_a_image_are_orphans(yolo: Path) -> None:
    (yolo / "labels" / "train" / "z.txt").write_text("")
    assert read_yolo(yolo, "train").problems == (LabelProblem("orphan", "z.txt: no image of that name"),)


def test_the_kind_of_a_source_decides_its_reader(voc: Path, yolo: Path) -> None:
    """Both fixtures share one folder: VOC and YOLO files do not collide."""
    classes = ("car", "dog")
    one = load_source(VocSource(str(voc)), classes)
    other = load_source(YoloSource(str(yolo), "train"), classes)
    assert one.images[0].labels.tolist() == other.images[0].labels.tolist() == [0, 1]
    document = {
        "train": [{"kind": "voc", "folder": "y"}],
        "val": {"kind": "voc", "folder": "x"},
        "description": "",
        "licence": "",
    }
    assert build_config(document, DataConfig[DetectionSource], "x").val == VocSource("x")
    document["val"] = {"kind": "voc", "foldr": "x"}
    with pytest.raises(ConfigError, match=r"unknown key 'val.foldr'; did you mean 'folder'"):
        build_config(document, DataConfig[DetectionSource], "x")


def test_only_labelled_classes_are_known(voc: Path) -> None:
    classes = ("person", "car", "dog")
    assert load_source(VocSource(str(voc)), classes).known.tolist() == [False, True, True]
    declared = VocSource(str(voc), labelled=("car", "person"))
    assert load_source(declared, classes).known.tolist() == [True, True, False]
    with pytest.raises(DataError, match=r"labelled class 'cra' is not wanted; did you mean 'car'"):
        load_source(VocSource(str(voc), labelled=("cra",)), classes)


def test_a_class_that_a_set_does_not_label_teaches_nothing(voc: Path) -> None:
    """The gradient of the logits of unknown classes is 0 everywhere, and of known ones nowhere."""
    one = load_source(VocSource(str(voc), "train", labelled=("car",)), ("person", "car"))
    sample = DetectionData([one], 64, Resize(), None)[0, 0]
    anchors = AnchorConfig(strides=(32, 64), base_size=2.0, scales=(1.0,), ratios=(1.0,))
    loss = DetectionLoss(DetectionLossConfig(), anchors, 64, 2)
    logits = [torch.zeros(1, 2, side, side, requires_grad=True) for side in (2, 1)]
    deltas = [torch.zeros(1, 4, side, side) for side in (2, 1)]
    targets = DetectionTargets(sample.boxes, sample.labels, sample.ignore, sample.known)
    loss(HeadMaps(logits, deltas), [targets])["class"].backward()
    for level in logits:
        assert level.grad is not None
        assert (level.grad[:, 0] == 0).all()
    assert any((level.grad[:, 1] != 0).any() for level in logits if level.grad is not None)


@pytest.mark.skipif(not VEHICLES.is_dir(), reason="needs ../shared/data/detection")
def test_the_vehicles_set_knows_vehicles_only() -> None:
    source = CocoSource(
        str(VEHICLES / "instances_vehicles_valid.json"), str(VEHICLES / "images" / "vehicles_valid")
    )
    one = load_source(source, VOC_CLASSES)
    known = [name for name, yes in zip(VOC_CLASSES, one.known, strict=True) if yes]
    assert known == ["bus", "car", "motorbike"]
    assert len(one.images) == 125


@pytest.mark.parametrize("kind", ["grey", "alpha", "deep", "deep_grey"])
def test_images_of_every_depth_become_bgr(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[:, :3] = (10, 20, 200)
    stored = {
        "grey": colour[..., 2],
        "alpha": np.dstack([colour, np.full((4, 6), 7, np.uint8)]),
        "deep": colour.astype(np.uint16) * 257,
        "deep_grey": colour[..., 2].astype(np.uint16) * 257,
    }[kind]
    cv2.imwrite(str(path), stored)
    expected = np.repeat(colour[..., 2:], 3, axis=2) if "grey" in kind else colour
    np.testing.assert_array_equal(decode_image(path), expected)
    assert image_size(path) == (6, 4)


def test_a_turned_photo_has_the_size_that_is_read(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "x.jpg", exif=exif)
    assert decode_image(tmp_path / "x.jpg").shape == (60, 40, 3)
    assert image_size(tmp_path / "x.jpg") == (40, 60)


def test_a_cut_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cut off: .*x\.jpg"):
        decode_image(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_image(path)
    assert image_size(path) is None


def coco(
    folder: Path, images: list[dict[str, Any]], annotations: list[Any], classes: str = "car cat"
) -> Path:
    categories = [{"id": i, "name": name} for i, name in enumerate(classes.split(), start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(document))
    return folder / "set.json"


def box(number: int, bbox: Any, image_id: int = 1) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": 1, "bbox": bbox}


def test_two_images_of_one_coco_id_are_named(tmp_path: Path) -> None:
    both = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    with pytest.raises(DataError, match=r"'a\.jpg' and 'b\.jpg' both have id 1"):
        read_coco(coco(tmp_path, both, []), tmp_path)


def test_two_coco_entries_of_one_file_are_one_image(tmp_path: Path) -> None:
    both = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    (one,) = read_coco(
        coco(tmp_path, both, [box(1, [0, 0, 5, 5]), box(2, [9, 9, 5, 5], 2), box(3, [0, 0, 5, 5], 2)]),
        tmp_path,
    ).images
    assert one.boxes.tolist() == [[0, 0, 5, 5], [9, 9, 14, 14]]
    assert one.repeated == 1


@pytest.mark.parametrize("bad", [[], None, [1, 2, 3], [1, 2, 3, "x"], "box", [1, 2, 3, float("inf")], 7])
def test_one_bad_coco_annotation_leaves_the_rest(tmp_path: Path, bad: Any) -> None:
    entry = [{"id": 1, "file_name": "a.jpg", "width": None, "height": None}]
    found = read_coco(coco(tmp_path, entry, [box(1, [0, 0, 5, 5]), box(7, bad), "x"]), tmp_path)
    assert [(one.kind, one.text.startswith("annotation 7: ")) for one in found.problems] == [
        ("malformed", True),
        ("malformed", False),
    ]
    assert (found.images[0].names, found.images[0].width) == (("car",), None)


def test_two_coco_categories_of_one_name_are_found(tmp_path: Path) -> None:
    found = read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}], [], "car cat car"), tmp_path)
    assert found.problems == (LabelProblem("ambiguous", "categories 1 and 3 are both 'car'", 0),)
    assert found.classes == ("car", "cat")


def test_deep_json_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not COCO instances json"):
        read_coco(tmp_path / "deep.json", tmp_path)


@pytest.mark.parametrize("keypoints", [5, True, 1.5])
def test_key_points_of_a_category_that_are_no_names_are_one_line(tmp_path: Path, keypoints: object) -> None:
    path = coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}], [])
    document = json.loads(path.read_text())
    document["categories"][0]["keypoints"] = keypoints
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="is not COCO instances json"):
        read_coco(path, tmp_path)


def test_a_category_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}], [])
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = "c\ud800t"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"category 1 is named 'c\\ud800t', which is no text; rename it"):
        read_coco(path, tmp_path)


@pytest.mark.parametrize("name", [None, "", " "])
def test_a_category_without_a_name_is_one_line(tmp_path: Path, name: str | None) -> None:
    path = coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}], [])
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = name
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="category 1 has no name; expected one"):
        read_coco(path, tmp_path)


def test_an_id_that_is_no_whole_number_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"have ids such as '1\.5'; expected whole numbers"):
        read_coco(coco(tmp_path, [{"id": 1.5, "file_name": "a.jpg"}], []), tmp_path)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_any_image_are_malformed(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    far = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1e300, 1, 1e300, 1]}
    found = read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}], [far]), tmp_path)
    assert [problem.kind for problem in found.problems] == ["malformed"]
    with pytest.raises(ValueError, match="a value that is not finite"):
        parse_line("0 1e300 0.5 0.3 0.3")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252", "iso-8859-1"])
def test_xml_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xml"
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    path.write_bytes(f'<?xml version="1.0" encoding="{name}"?><a>straße</a>'.encode(encoding))
    assert read_xml(path).text == "straße"


def test_xml_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    for content in (b"", b"<a>", b"<a>\xdf</a>", b"<a/><b/>"):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_xml(path)
    path.write_bytes(b'<?xml version="1.0" encoding="klingon"?><a>b</a>')  # read as UTF-8
    assert read_xml(path).text == "b"


def test_categories_that_are_no_objects_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"images": ["a"], "annotations": [], "categories": [["id", "name"]]}))
    with pytest.raises(DataError, match="is not COCO instances json"):
        read_coco(path, tmp_path)


def test_folders_in_file_names_are_found(tmp_path: Path) -> None:
    names = ("im/a.jpg", "sub\\b.jpg", "/x/c.jpg", "one/d.jpg", "two/d.jpg", "gone/e.jpg")
    for name in ("a", "sub/b", "c", "d"):
        image(tmp_path / "im" / f"{name}.jpg")
    entries = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    paths = [one.path for one in read_coco(coco(tmp_path, entries, []), tmp_path / "im").images]
    folder = tmp_path / "im"
    assert paths[:3] == [folder / "a.jpg", folder / "sub" / "b.jpg", folder / "c.jpg"]
    # Two entries cannot be one file, so neither is guessed.
    assert paths[3:] == [folder / "one" / "d.jpg", folder / "two" / "d.jpg", folder / "gone" / "e.jpg"]


def test_voc_images_of_cameras_and_names_with_blanks(voc: Path) -> None:
    xml = "<annotation><filename>{}</filename>" + voc_object("car", (1, 1, 9, 9)) + "</annotation>"
    for name, file in (("IMG_1", "IMG_1.JPG"), ("my photo 1", "my photo 1.JPG"), ("x", "other.png")):
        image(voc / "JPEGImages" / file)
        (voc / "Annotations" / f"{name}.xml").write_text(xml.format(f"C:\\photos\\{file}"))
    (voc / "ImageSets" / "Main" / "train.txt").write_text("IMG_1\nmy photo 1\nx  1\na -1\n")
    found = read_voc(voc, "train")
    assert [one.path.name for one in found.images] == ["IMG_1.JPG", "my photo 1.JPG", "other.png", "a.jpg"]
    assert not found.problems


def test_a_voc_name_of_two_images_is_found(voc: Path) -> None:
    image(voc / "JPEGImages" / "a.png")
    assert [one.kind for one in read_voc(voc, "train").problems] == ["ambiguous"]


def test_one_bad_voc_object_leaves_the_rest(voc: Path) -> None:
    good = voc_object("car", (1, 1, 9, 9))
    bad = good.replace("<ymax>9", "<ymax>1e999")
    size = "<size><width>1e999</width><height>1</height></size>"
    (voc / "Annotations" / "a.xml").write_text(f"<annotation>{size}{bad}{good}</annotation>")
    found = read_voc(voc, "train")
    assert [one.kind for one in found.problems] == ["malformed", "malformed"]
    assert "<ymax> is 1e999" in found.problems[0].text
    assert (found.images[0].names, found.images[0].width) == (("car",), None)


def test_a_voc_list_that_is_no_text_is_one_line(voc: Path) -> None:
    (voc / "ImageSets" / "Main" / "train.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_voc(voc, "train")


def test_yolo_names_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(b"\xef\xbb\xbfnames: [yes, no, 010, null, 2020-13-40]\n")
    assert read_names(path) == ("yes", "no", "010", "null", "2020-13-40")
    path.write_text("names:\n  1: off\n  0: on\n")
    assert read_names(path) == ("on", "off")
    for text, words in (
        ("names: [cat, , dog]", "cannot read|class 1 has no name"),
        ("names: [cat, '', dog]", "class 1 has no name"),
        ("names: [cat, dog, cat]", "classes 0 and 2 are both 'cat'"),
        ("names: cat", "holds no class names"),
        ("names: [[cat]]", "holds no class names"),
        ("[" * 5000, "cannot read"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=words):
            read_names(path)
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match="class 1 has no name"):
        read_names(tmp_path / "classes.txt")


@pytest.mark.parametrize("text", ["1.0", "1.000000000000000000e+00", "1."])
def test_whole_floats_are_yolo_classes(yolo: Path, text: str) -> None:
    (yolo / "labels" / "train" / "a.txt").write_text(f"{text} 0.3 0.5 0.4 0.5\n0.5 0.3 0.5 0.4 0.5\n")
    found = read_yolo(yolo, "train")
    assert found.images[0].names == ("car",)
    assert [one.text.split(":")[1] for one in found.problems] == ["2"]


def test_a_label_that_is_written_twice_counts_once(yolo: Path) -> None:
    (yolo / "labels" / "train" / "a.txt").write_text("1 0.3 0.5 0.4 0.5\n" * 3)
    first = read_yolo(yolo, "train").images[0]
    assert (first.names, first.repeated) == (("car",), 2)


def test_two_yolo_images_of_one_label_file_are_found(yolo: Path) -> None:
    image(yolo / "images" / "train" / "a.png")
    assert read_yolo(yolo, "train").problems == (LabelProblem("ambiguous", "a.jpg and a.png share a.txt"),)


def test_folders_as_other_tools_lay_them_out(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image(tmp_path / split / "images" / "a.jpg")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n")
    config = tmp_path / "data.yaml"
    config.write_text("train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cat']\n")
    assert find_splits(tmp_path) == ("train", "valid")
    sets = read_data_yaml(config)
    assert sets is not None
    assert [[one.names for one in each.images] for each in sets] == [[("cat",)]] * 2
    assert read_yolo(tmp_path, "valid").images[0].path == tmp_path / "valid" / "images" / "a.jpg"
    config.write_text("train: gone/images\nnames: ['cat']\n")
    with pytest.raises(DataError, match="train is 'gone/images', and there is no folder"):
        read_data_yaml(config)
    config.write_text("task: detection\nnames: 1\n")
    assert read_data_yaml(config) is None
    (tmp_path / "train" / "labels" / "classes.txt").write_text("dog\n")
    config.unlink()
    assert read_yolo(tmp_path / "train").classes == ("dog",)


def test_label_files_in_capitals_are_read(voc: Path) -> None:
    (voc / "Annotations" / "a.xml").rename(voc / "Annotations" / "a.XML")
    for split in ("", "train"):
        assert read_voc(voc, split).images[0].names == ("car", "dog")


def test_yolo_labels_in_capitals_are_read_and_pairs_are_told(yolo: Path) -> None:
    labels = yolo / "labels" / "train"
    (labels / "a.txt").rename(labels / "a.TXT")
    found = read_yolo(yolo, "train")
    assert (found.images[0].names, found.problems) == (("car", "dog"), ())
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (labels / "c.Txt").write_text("0 0.5 0.5 0.2 0.2\n")
    found = read_yolo(yolo, "train")
    assert found.images[0].names == ("dog",)
    assert [problem.text for problem in found.problems] == [
        "a.txt and a.TXT: the first one is used", "c.Txt: no image of that name",
    ]  # fmt: skip
