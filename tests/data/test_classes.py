from __future__ import annotations

import pytest

from edgevision.data.classes import (
    COCO_CLASSES,
    NO_GROUPS,
    VOC_CLASSES,
    canonical,
    map_classes,
    parse_classes,
    parse_groups,
)
from edgevision.errors import DataError, UsageError


def test_every_voc_class_is_among_cocos():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert len(VOC_CLASSES) == len(set(VOC_CLASSES)) == 20
    assert set(VOC_CLASSES) <= {canonical(name) for name in COCO_CLASSES}
    # No two of COCO's names mean the same.
    assert len(map_classes(COCO_CLASSES, COCO_CLASSES)) == 80


def test_classes_as_users_name_them(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("traffic light\n\n  person \n", encoding="utf-8")
    assert parse_classes("voc") == VOC_CLASSES
    assert parse_classes(" COCO ") == COCO_CLASSES
    assert parse_classes(str(names)) == ("traffic light", "person")
    assert parse_classes("person, traffic light,") == ("person", "traffic light")
    assert parse_classes("dog") == ("dog",)


def test_class_lists_that_cannot_be_used(tmp_path):
    (tmp_path / "image.txt").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty.txt").write_text("\n\n")
    for text, error, word in (
        ("nowhere.txt", DataError, "not found"),
        (str(tmp_path / "image.txt"), DataError, "not a text file"),
        (str(tmp_path / "empty.txt"), UsageError, "no class name"),
        (" , ", UsageError, "no class name"),
        ("dog,cat,dog", UsageError, "'dog' is given twice"),
    ):
        with pytest.raises(error, match=word):
            parse_classes(text)


def test_groups_of_classes():
    groups = parse_groups(["road = road, lane mark", "background=*"])
    names = ("sky", "Road", "lane_mark", "car")
    assert list(groups.mapping(names).values()) == ["background", "road", "road", "background"]
    assert groups.names(names) == ("background", "road")
    some = parse_groups(["wheels=car,bicycle"])
    assert some.names(("sky", "bike", "car")) == ("sky", "wheels")
    assert NO_GROUPS.names(names) == names


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["road"], "'road' is not a group"),
        (["=road"], "not a group"),
        (["road="], "not a group"),
        (["road=a,,b"], "not a group"),
        (["road=a,*"], "stands alone: road="),
        (["road=road", "Road=*"], "'road' and 'Road' differ in spelling only"),
        (["a=*", "b=*"], "'a' and 'b' both take every other class"),
        (["a=person", "b=car,person"], "'person' is in two groups, 'a' and 'b'"),
    ],
)
def test_groups_that_cannot_be_used(texts, words):
    with pytest.raises(UsageError, match=words):
        parse_groups(texts)


def test_groups_never_merge_what_a_set_tells_apart():
    streets = ("person", "people", "pedestrian", "car")
    walkers = parse_groups(["walker=pedestrian"])
    assert walkers.mapping(streets) == {
        "person": "person", "people": "people", "pedestrian": "walker", "car": "car",
    }  # fmt: skip
    assert walkers.names(("person", "car")) == ("walker", "car")  # by its alias, for there is no pedestrian
    apart = parse_groups(["a=pedestrian", "b=people"])
    assert apart.names(streets) == ("person", "b", "a", "car")
    with pytest.raises(DataError, match="'person' and 'people' could both be 'pedestrian'"):
        walkers.names(("person", "people"))


def test_names_in_groups_that_mean_no_class_are_refused():
    groups = parse_groups(["road=road,makr", "walker=person", "rest=*"])
    with pytest.raises(DataError, match="'makr' in the group 'road' is no class here; did you mean 'mark'"):
        groups.require_known(("road", "mark"), ("pedestrian",))
    with pytest.raises(DataError, match="'person' in the group 'walker' is no class here; expected some of"):
        groups.require_known(("Road", "sky"), ("makr", "sky"))
    groups.require_known(("Road", "makr"), ("pedestrian",))
    parse_groups(["rest=*"]).require_known(("road",))


@pytest.mark.parametrize(
    "texts", [["road=mark,pavement", "rest=*"], ["Road=mark,pavement", "rest=*"], ["road=mark,pavement"]]
)
def test_a_group_is_not_called_like_a_class_outside(texts):
    groups = parse_groups(texts)
    with pytest.raises(DataError, match="has the name of the class 'road', which is not in it"):
        groups.mapping(("road", "mark", "pavement"))
    assert groups.mapping(("mark",))["mark"] in {"road", "Road"}


def test_a_group_may_be_called_like_a_class_in_it():
    assert parse_groups(["background=*"]).names(("background", "sky")) == ("background",)
    assert parse_groups(["road=road,mark"]).names(("road", "mark", "sky")) == ("road", "sky")


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (["pedestrian", "people", "car"], ["pedestrian", "people", "car"], [0, 1, 2]),
        (["people", "pedestrian"], ["pedestrian", "people"], [1, 0]),
        (["table", "dining table"], ["dining table", "table"], [1, 0]),
        (["tv", "monitor"], ["tv"], [0, None]),
        (["bike", "bicycle"], ["bicycle"], [None, 0]),
        (["Car", "car"], ["car"], [None, 0]),
        (["traffic-light", "traffic_light"], ["traffic_light"], [None, 0]),
        (["Traffic_Light"], ["traffic light"], [0]),
        (["pedestrian"], ["person"], [0]),
    ],
)
def test_aliases_only_bridge_names_that_are_absent(found, wanted, expected):
    index = map_classes(found, wanted)
    assert [index.get(name) for name in found] == expected


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (["pedestrian", "people"], ["person"]),
        (["person"], ["pedestrian", "people"]),
        (["CAR", "Car"], ["car"]),
    ],
)
def test_names_that_would_meet_are_refused(found, wanted):
    with pytest.raises(DataError, match=r"could both be '(person|car)'"):
        map_classes(found, wanted)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
    assert parse_classes(str(tmp_path / "names.txt")) == ("cat", "dog")
