"""zones.yaml: what is read, and one clear line for everything that cannot be."""

from __future__ import annotations

import pytest

from edgevision.errors import ConfigError
from edgevision.tracking import BoxPoint, load_zones
from edgevision.tracking.zones import segments_intersect, side_of
from tests.support.zones import CLASSES, DOOR, YARD, layout_of

TRIANGLE = "zones: [{name: a, polygon: [[0, 0], [1, 0], [0, 1]]}]"


def test_relative_points_follow_the_image(tmp_path):
    layout = layout_of(tmp_path, f"units: relative\n{TRIANGLE}")
    points = layout.zones[0].polygon
    assert layout.pixels(points, 200, 100).tolist() == [[0, 0], [200, 0], [0, 100]]
    assert layout.pixels(points, 50, 40).tolist() == [[0, 0], [50, 0], [0, 40]]


def test_pixels_stay(tmp_path):
    layout = layout_of(tmp_path, YARD)
    assert layout.pixels(layout.zones[0].polygon, 999, 999)[2].tolist() == [80, 80]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("units: relative", 0.5),
        ("units: pixels", 0.5),
        ("units: relative\nmargin: 0.1", 10.0),
        ("units: pixels\nmargin: 3", 3.0),
    ],
)
def test_margin_of_a_image_of_200_by_100(tmp_path, head, expected):
    assert layout_of(tmp_path, f"{head}\n{TRIANGLE}").margin_px(200, 100) == pytest.approx(expected)


def test_defaults_and_choices(tmp_path):
    layout = layout_of(tmp_path, DOOR + "    classes: [car]\n    anchor: centre\nvanish_s: 5\n")
    (line,) = layout.lines
    assert (line.start, line.end, line.classes, line.anchor) == ((20, 50), (80, 50), ["car"], BoxPoint.CENTRE)
    assert (layout.vanish_s, layout.zones) == (5, [])
    assert layout_of(tmp_path, YARD).zones[0].anchor is BoxPoint.BOTTOM_CENTRE


def test_a_polygon_may_end_where_it_began(tmp_path):
    closed = "units: pixels\nzones: [{name: a, polygon: [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]}]"
    assert len(layout_of(tmp_path, closed).zones[0].polygon) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zones: []", "units"),
        ("units: relative", "no zones and no lines"),
        ("units: metres\n" + TRIANGLE, "expected one of: relative, pixels"),
        ("units: pixels\nzoness: []", "did you mean 'zones'"),
        ("units: pixels\nzones: [{name: a, poligon: []}]", "did you mean 'polygon'"),
        ("units: pixels\nzones: [{name: a}]", "polygon"),
        ("units: relative\nzones: [{name: a, polygon: [[0, 0], [10, 0], [0, 1]]}]", "units: pixels"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [-10, 0], [0, 1]]}]", "is outside the image"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [.nan, 0], [0, 1]]}]", "[1][0]` is nan"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [1, 0]]}]", "3 or more"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [1, 0], [0, 0]]}]", "3 or more"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [1, 1], [2, 2]]}]", "no area"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [9, 9], [5, 0], [0, 9]]}]", "crosses itself"),
        ("units: pixels\nzones: [{name: '', polygon: [[0, 0], [1, 0], [0, 1]]}]", "the name is empty"),
        ("units: pixels\nzones: [{name: a, polygon: [[0, 0], [1, 0, 3], [0, 1]]}]", "a list of 3"),
        ("units: pixels\nlines: [{name: a, from: [1, 1], to: [1, 1]}]", "starts and ends at"),
        ("units: pixels\nlines: [{name: a, from: [1, 1]}]", "to"),
        ("units: pixels\nlines: [{name: a, from: [1, 1], to: [2, 1], classes: [persn]}]", "'person'"),
        ("units: pixels\nlines: [{name: a, from: [1, 1], to: [2, 1], classes: []}]", "classes is empty"),
        ("units: pixels\nlines: [{name: a, from: [1, 1], to: [2, 1], anchor: top}]", "bottom-centre, centre"),
        ("units: pixels\nmargin: -1\n" + TRIANGLE, "`margin` is -1; expected a number of at least 0"),
        ("units: pixels\nvanish_s: .inf\n" + TRIANGLE, "`vanish_s` is inf; expected a finite number"),
        ("units: pixels\n" + TRIANGLE + "\nlines: [{name: a, from: [1, 1], to: [2, 1]}]", "is used twice"),
        ("units: [", "not valid YAML"),
        ("- units", "expected keys and values"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        layout_of(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "zones.yaml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="not found"):
        load_zones(tmp_path / "none.yaml", CLASSES)


@pytest.mark.parametrize(("point", "expected"), [((5, 3), 3), ((5, -3), -3), ((5, 0), 0), ((-7, 2), 2)])
def test_side_is_the_distance_to_the_right_of_an_eastward_line(point, expected):
    """Looking along +x with y pointing down, the right hand points to +y."""
    assert side_of((0, 0), (10, 0), point) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("c", "d", "expected"),
    [((5, -1), (5, 1), True), ((11, -1), (11, 1), False), ((5, 1), (6, 2), False), ((1, 0), (2, 0), False)],
)
def test_segments_intersect(c, d, expected):
    assert segments_intersect((0, 0), (10, 0), c, d) is expected
