import cv2
import numpy as np
import pytest

from edgevision.boxes import iou
from edgevision.rotated import canonical, corners, rotated_intersection, rotated_iou, upright

PI = np.pi


def one(*values):
    return np.array([values], np.float32)


def test_corners_go_clockwise_on_the_screen_from_the_start_of_both_sides():
    assert corners(one(10, 20, 8, 4, 0))[0].tolist() == [[6, 18], [14, 18], [14, 22], [6, 22]]
    # A quarter turn clockwise: the long side points down, its start is above.
    turned = corners(one(10, 20, 8, 4, PI / 2))[0]
    assert turned == pytest.approx(np.array([[12, 16], [12, 24], [8, 24], [8, 16]]), abs=1e-5)


def test_the_angle_is_that_of_opencv_in_radians():
    boxes = np.array([[50, 40, 30, 12, angle] for angle in (0, 0.3, -0.7, 1.5)], np.float32)
    for box, found in zip(boxes, corners(boxes), strict=True):
        cx, cy, width, height, angle = map(float, box)
        expected = cv2.boxPoints(((cx, cy), (width, height), np.degrees(angle)))
        key = sorted(found.round(2).tolist())
        assert np.array(key) == pytest.approx(np.array(sorted(expected.round(2).tolist())), abs=0.011)


def test_the_upright_box_around_a_turned_square():
    assert upright(one(0, 0, 2, 2, PI / 4))[0] == pytest.approx([-(2**0.5), -(2**0.5), 2**0.5, 2**0.5])


@pytest.mark.parametrize(
    ("angle", "expected"),
    [(0, 0), (1.57, 1.57), (-1.57, -1.57), (PI, 0), (3, 3 - PI), (-2, PI - 2), (7.4 * PI, 0.4 * PI)],
)
def test_the_canonical_angle_is_the_same_rectangle(angle, expected):
    found = canonical(one(5, 6, 7, 3, angle))
    assert found[0, 4] == pytest.approx(expected, abs=2e-5)
    assert rotated_iou(found, one(5, 6, 7, 3, angle))[0, 0] == pytest.approx(1, abs=1e-4)


# Worked by hand: two boxes, the area that they share, and their areas.
TABLE = [
    # the same
    ((0, 0, 4, 2, 0), (0, 0, 4, 2, 0), 8, 8, 8),
    # a quarter turn: a cross of 4x2 and 2x4 shares 2x2
    ((0, 0, 4, 2, 0), (0, 0, 4, 2, PI / 2), 4, 8, 8),
    # a unit square and itself turned by 45 degrees share a regular octagon of area 2 (sqrt 2 - 1)
    ((0, 0, 1, 1, 0), (0, 0, 1, 1, PI / 4), 2 * (2**0.5 - 1), 1, 1),
    # a diamond of diagonal 4 wholly in a square of side 6
    ((1, 1, 6, 6, 0), (1, 1, 8**0.5, 8**0.5, PI / 4), 8, 36, 8),
    # half a diamond: a square that begins at its centre line
    ((2, 0, 4, 8, 0), (0, 0, 8**0.5, 8**0.5, PI / 4), 4, 32, 8),
    # a strip of 1 across a strip of 2 at 30 degrees: a parallelogram of 1 * 2 / sin 30
    ((0, 0, 40, 1, 0), (0, 0, 40, 2, PI / 6), 4, 40, 80),
    # side by side, touching, and far apart
    ((0, 0, 2, 2, 0), (2, 0, 2, 2, 0), 0, 4, 4),
    ((0, 0, 2, 2, 0.4), (9, 9, 2, 2, 1), 0, 4, 4),
    # corners meet in their upright boxes only
    ((0, 0, 8, 1, PI / 4), (3, -2.5, 1, 1, 0), 0, 8, 1),
]


@pytest.mark.parametrize(("first", "second", "shared", "area", "other"), TABLE)
def test_areas_worked_by_hand(first, second, shared, area, other):
    for a, b in ((first, second), (second, first)):
        assert rotated_intersection(one(*a), one(*b))[0, 0] == pytest.approx(shared, abs=1e-4)
        expected = shared / (area + other - shared)
        assert rotated_iou(one(*a), one(*b))[0, 0] == pytest.approx(expected, abs=1e-5)


def test_upright_boxes_have_their_ordinary_iou():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (12, 2))
    sides = rng.uniform(1, 40, (12, 2))
    plain = np.concatenate([low, low + sides], axis=1).astype(np.float32)
    turned = np.concatenate([low + sides / 2, sides, np.zeros((12, 1))], axis=1)
    swapped = np.concatenate([low + sides / 2, sides[:, ::-1], np.full((12, 1), PI / 2)], axis=1)
    assert rotated_iou(turned, swapped) == pytest.approx(iou(plain, plain), abs=1e-5)


def test_random_pairs_agree_with_opencv():
    rng = np.random.default_rng(1)
    boxes = np.column_stack(
        [rng.uniform(0, 40, (30, 2)), rng.uniform(5, 40, (30, 2)), rng.uniform(-4, 4, 30)]
    ).astype(np.float32)
    found = rotated_intersection(boxes[:15], boxes[15:])
    for i in range(15):
        for j in range(15):
            first, second = (
                ((float(b[0]), float(b[1])), (float(b[2]), float(b[3])), float(np.degrees(b[4])))
                for b in (boxes[i], boxes[15 + j])
            )
            _, points = cv2.rotatedRectangleIntersection(first, second)
            expected = 0.0 if points is None else cv2.contourArea(cv2.convexHull(points))
            assert found[i, j] == pytest.approx(expected, rel=2e-3, abs=0.05)


def test_no_boxes_and_boxes_without_area():
    none = np.zeros((0, 5), np.float32)
    assert rotated_iou(none, one(0, 0, 1, 1, 0)).shape == (0, 1)
    assert rotated_iou(one(0, 0, 0, 0, 0), one(0, 0, 0, 0, 0))[0, 0] == 0
