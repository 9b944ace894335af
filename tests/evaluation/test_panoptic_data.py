"""Panoptic maps in files against a truth in COCO's form, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError, UsageError
from edgevision.evaluation.panoptic_data import measure_panoptic, read_panoptic
from edgevision.panoptic.coco import PanopticImage, categories_of, panoptic_colours
from edgevision.panoptic.folder import PanopticFolder
from edgevision.panoptic.join import PanopticMap, Segment

Row = list[tuple[int, int]]
"""Number of a segment, and how many pixels it has in a row."""


def pixels(row: Row) -> np.ndarray:
    return np.array([[number for number, count in row for _ in range(count)]], np.int32)


def write_found(folder: Path, rows: dict[str, Row], names: dict[int, str]) -> Path:
    """Maps as ``edgevision panoptic`` writes them."""
    things = ("person", "dog")
    with PanopticFolder(folder, {}, categories_of(things, ("road", "sky"))) as maps:
        for number, (file_name, row) in enumerate(rows.items(), start=1):
            ids = pixels(row)
            segments = tuple(
                Segment(one, names[one], names[one] in things, int((ids == one).sum()))
                for one in np.unique(ids[ids > 0]).tolist()
            )
            image = PanopticImage(id=number, file_name=file_name, width=ids.shape[1], height=1)
            maps.add(PanopticMap(ids, segments), image)
        maps.finish()
    return folder


def write_truth(
    folder: Path, rows: dict[str, Row], categories: dict[int, int], crowds: tuple[int, ...] = ()
) -> Path:
    """A json and maps as COCO lays them out, with its own numbers."""
    path = folder / "panoptic_val.json"
    (folder / "panoptic_val").mkdir(parents=True)
    annotations = []
    for file_name, row in rows.items():
        ids = pixels(row)
        cv2.imwrite(str(folder / "panoptic_val" / f"{Path(file_name).stem}.png"), panoptic_colours(ids))
        segments = [
            {"id": one, "category_id": categories[one], "area": 0, "bbox": [], "iscrowd": int(one in crowds)}
            for one in np.unique(ids[ids > 0]).tolist()
        ]
        name = f"{Path(file_name).stem}.png"
        annotations.append({"image_id": 70 + len(annotations), "file_name": name, "segments_info": segments})
    images = [{"id": 70 + number, "file_name": name} for number, name in enumerate(rows)]
    kinds = [
        {"id": 11, "name": "pedestrian", "isthing": 1},
        {"id": 12, "name": "Road", "isthing": 0},
        {"id": 13, "name": "lamp", "isthing": 1},
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": kinds}))
    return path


FOUND = {"b.jpg": [(1, 3), (2, 7)], "a.jpg": [(1, 4), (0, 2), (2, 4)]}
FOUND_NAMES = {1: "person", 2: "road"}
TRUTH = {"a.png": [(300, 5), (500, 5)], "b.png": [(300, 4), (500, 4), (700, 2)]}
TRUTH_CLASSES = {300: 11, 500: 12, 700: 13}


def test_quality_of_files_by_hand(tmp_path: Path) -> None:
    found = read_panoptic(write_found(tmp_path / "out", FOUND, FOUND_NAMES))
    truth = read_panoptic(write_truth(tmp_path / "truth", TRUTH, TRUTH_CLASSES))
    said: list[str] = []
    report = measure_panoptic(found, truth, note=said.append, command="by hand")
    # a: persons 4 of 5, road 4 of 5. b: persons 3 of 4; road 4 of 5, since the lamp's two pixels are open.
    person, road = report.per_class["person"], report.per_class["road"]
    assert person.sq == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert road.sq == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert (person.rq, road.rq, person.segments, report.images) == (1, 1, 2, 2)
    assert report.all is not None
    assert report.all.pq == pytest.approx((person.pq + road.pq) / 2)
    assert report.things is not None
    assert report.things.pq == person.pq
    assert said == ["not evaluated, missing in the data or in a model: dog, sky"]
    report.write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["task"], written["command"], written["per_class"]["road"]["rq"]) == (
        "panoptic",
        "by hand",
        1,
    )
    assert len(written["data_hash"]) == 64


def test_some_classes_alone(tmp_path: Path) -> None:
    found = read_panoptic(write_found(tmp_path / "out", FOUND, FOUND_NAMES))
    truth = read_panoptic(write_truth(tmp_path / "truth", TRUTH, TRUTH_CLASSES))
    assert measure_panoptic(found, truth, classes="road").per_class.keys() == {"road"}
    with pytest.raises(UsageError, match="no class 'lamp'"):
        measure_panoptic(found, truth, classes="lamp")
    with pytest.raises(DataError, match="no class 'sky'"):
        measure_panoptic(found, truth, classes="sky")


def test_a_crowd_counts_neither_way(tmp_path: Path) -> None:
    rows = {"a.png": [(300, 6), (500, 4)]}
    truth = read_panoptic(write_truth(tmp_path / "truth", rows, TRUTH_CLASSES, crowds=(300,)))
    found = read_panoptic(
        write_found(tmp_path / "out", {"a.jpg": [(1, 3), (3, 3), (2, 4)]}, {1: "person", 2: "road", 3: "dog"})
    )
    report = measure_panoptic(found, truth)
    assert report.per_class.keys() == {"road"}
    assert report.per_class["road"].pq == 1


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    truth = read_panoptic(write_truth(tmp_path / "truth", TRUTH, TRUTH_CLASSES))
    one = write_found(tmp_path / "one", {"a.jpg": [(1, 4), (2, 6)]}, FOUND_NAMES)
    with pytest.raises(DataError, match=r"no map of 1 of the 2 images of .*the first: b"):
        measure_panoptic(read_panoptic(one), truth)
    other = write_found(tmp_path / "other", {"a.jpg": [(1, 4), (2, 6)], "b.jpg": [(1, 4)]}, FOUND_NAMES)
    with pytest.raises(DataError, match=r"000002\.png is 4x1, the truth 10x1"):
        measure_panoptic(read_panoptic(other), truth)
    more = {"a.jpg": FOUND["a.jpg"], "b.jpg": FOUND["b.jpg"], "c.jpg": FOUND["b.jpg"]}
    said: list[str] = []
    measure_panoptic(
        read_panoptic(write_found(tmp_path / "more", more, FOUND_NAMES)), truth, note=said.append
    )
    assert "maps of images that the truth does not have are left out: 1" in said


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        read_panoptic(tmp_path / "absent.json")
    path = tmp_path / "x.json"
    cases = {
        "no json": "is not a COCO panoptic json",
        '{"annotations": [], "categories": []}': "there is no map",
        json.dumps(
            {"annotations": [], "categories": [{"id": 1, "name": one, "isthing": 1} for one in "ab"]}
        ): ("two categories have the id 1"),
        '{"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": []}], "categories": []}': (
            "1 of 1 maps"
        ),
    }
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_panoptic(path)
    with PanopticFolder(tmp_path / "out", {}, categories_of(("person",), ())) as maps:
        image = PanopticImage(id=1, file_name="a.jpg", width=1, height=1)
        maps.add(PanopticMap(np.zeros((1, 1), np.int32), ()), image)
    with pytest.raises(DataError, match="are not finished"):
        read_panoptic(tmp_path / "out")
