"""COCO's panoptic format, by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.panoptic.coco import (
    LARGEST_ID,
    PanopticAnnotation,
    PanopticCategory,
    PanopticDocument,
    PanopticSegment,
    categories_of,
    coloured,
    describe,
    panoptic_colours,
    panoptic_ids,
    read_map,
)
from edgevision.panoptic.join import PanopticMap, Segment


def test_colours_hold_the_numbers() -> None:
    ids = np.array([[0, 1, 256 + 2, 65536 * 3, LARGEST_ID]], np.int32)
    colours = panoptic_colours(ids)
    assert colours[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 0, 0], [255, 255, 255]]
    assert panoptic_ids(colours).tolist() == ids.tolist()


def test_a_map_is_described_by_category_area_and_box() -> None:
    ids = np.array([[0, 0, 5, 5], [9, 0, 0, 5]], np.int32)
    segments = (
        Segment(5, "car", True, 3, 0.87654),
        Segment(9, "sky", False, 1),
    )
    categories = {
        "car": PanopticCategory(id=2, name="car", isthing=1),
        "sky": PanopticCategory(id=7, name="sky", isthing=0),
    }
    said = describe(PanopticMap(ids, segments), 4, "000004.png", categories)
    assert msgspec.to_builtins(said) == {
        "image_id": 4,
        "file_name": "000004.png",
        "segments_info": [
            {"id": 5, "category_id": 2, "area": 3, "bbox": [2, 0, 2, 2], "iscrowd": 0, "score": 0.8765},
            {"id": 9, "category_id": 7, "area": 1, "bbox": [0, 1, 1, 1], "iscrowd": 0, "score": 1.0},
        ],
    }
    many = PanopticMap(np.full((1, 1), LARGEST_ID + 1, np.int32), (Segment(LARGEST_ID + 1, "car", True, 1),))
    with pytest.raises(ValueError, match="number is 1 to"):
        describe(many, 1, "000001.png", categories)


def test_a_map_is_read_back(tmp_path: Path) -> None:
    ids = np.array([[0, 0, 5, 5], [300, 0, 0, 5]], np.int32)
    joined = PanopticMap(ids, (Segment(5, "car", True, 3, 0.75), Segment(300, "sky", False, 1)))
    categories = {one.id: one for one in categories_of(("car",), ("sky",))}
    said = describe(joined, 1, "000001.png", {one.name: one for one in categories.values()})
    cv2.imwrite(str(tmp_path / "000001.png"), panoptic_colours(ids))
    found = read_map(tmp_path / "000001.png", said, categories)
    assert found.ids.tolist() == ids.tolist()
    assert found.segments == joined.segments


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((5,), "segment 9 is in the PNG, and not in the json"),
        ((5, 9, 7), "segment 7 is in the json, and not in the PNG"),
        ((5, 9, 9), "segment 9 is in the json twice"),
    ],
)
def test_a_json_that_says_something_else_is_refused(
    tmp_path: Path, numbers: tuple[int, ...], message: str
) -> None:
    segments = [PanopticSegment(id=number, category_id=1) for number in numbers]
    said = PanopticAnnotation(image_id=1, file_name="a.png", segments_info=segments)
    cv2.imwrite(str(tmp_path / "a.png"), panoptic_colours(np.array([[0, 5, 9]], np.int32)))
    categories = {one.id: one for one in categories_of(("car",), ())}
    with pytest.raises(DataError, match=message):
        read_map(tmp_path / "a.png", said, categories)
    with pytest.raises(DataError, match="of category 1, which"):
        read_map(tmp_path / "a.png", msgspec.structs.replace(said, segments_info=segments[:1]), {})


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    said = PanopticAnnotation(image_id=1, file_name="a.png", segments_info=[])
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((4, 4), np.uint8))
    cv2.imwrite(str(tmp_path / "cut.png"), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    for name, message in (("grey", "no panoptic map"), ("cut", "damaged"), ("absent", "cannot read")):
        with pytest.raises(DataError, match=message):
            read_map(tmp_path / f"{name}.png", said, {})


def test_numbers_are_colours_near_those_of_the_class() -> None:
    categories = {one.name: one for one in categories_of(("car",), ("sky",))}
    ids = np.arange(100, dtype=np.int32).reshape(10, 10)
    cars = tuple(Segment(number, "car", True, 1) for number in range(1, 99))
    joined = PanopticMap(ids, (*cars, Segment(99, "sky", False, 1)))
    found = coloured(joined, categories)
    assert [one.name for one in found.segments] == [one.name for one in joined.segments]
    assert len({one.number for one in found.segments}) == 99
    assert found.ids[0, 0] == 0
    assert [found.ids.flat[one.number] for one in joined.segments] == [one.number for one in found.segments]
    pixels = panoptic_colours(found.ids)[..., ::-1].reshape(-1, 3).astype(int)
    assert pixels[99].tolist() == categories["sky"].color
    assert np.abs(pixels[1:99] - categories["car"].color).max() <= 30


def test_things_come_before_stuff_and_have_a_colour_each() -> None:
    found = categories_of(("person", "car", "person"), ("road", "car", "sky"))
    assert [(one.id, one.name, one.isthing, one.supercategory) for one in found] == [
        (1, "person", 1, "thing"),
        (2, "car", 1, "thing"),
        (3, "road", 0, "stuff"),
        (4, "sky", 0, "stuff"),
    ]
    assert len({tuple(one.color) for one in found}) == 4


def test_jsons_of_others_are_read() -> None:
    text = b"""{"info": {"year": 2018}, "licenses": [],
        "annotations": [{"image_id": "frankfurt_000000", "file_name": "a.png", "segments_info":
            [{"id": 3, "category_id": 1, "area": 4, "bbox": [0, 0, 2.5, 2], "iscrowd": 1}]}],
        "categories": [{"id": 1, "name": "person", "supercategory": "human", "isthing": 1,
            "color": [220, 20, 60]}]}"""
    document = msgspec.json.decode(text, type=PanopticDocument)
    assert document.annotations[0].image_id == "frankfurt_000000"
    assert document.annotations[0].segments_info[0].iscrowd == 1
    assert document.images == []
