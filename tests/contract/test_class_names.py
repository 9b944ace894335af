"""What names of classes mean."""

import pytest

from edgevision.contract.class_names import canonical, plain, same_classes


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Motorcycle", "motorbike"),
        ("dining_table", "diningtable"),
        ("PEDESTRIAN", "person"),
        ("Zebra", "zebra"),
    ],
)
def test_a_name_has_one_meaning(name, meaning):
    assert canonical(name) == meaning


def test_spelling_is_no_meaning():
    assert plain(" Traffic-Light_red ") == "traffic light red"


def test_several_names_may_mean_the_same_class():
    assert same_classes(["road", "pedestrian", "people", "Car"], ["person", "automobile"]) == (
        "pedestrian",
        "people",
        "Car",
    )
    assert same_classes(["road"], []) == ()
