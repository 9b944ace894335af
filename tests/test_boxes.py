import numpy as np
import pytest

from edgevision.boxes import area, clip, intersection, iou, xywh_to_xyxy, xyxy_to_xywh

SQUARE = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SQUARE, 1.0),
        ([5, 0, 15, 10], 50 / 150),
        ([0, 0, 5, 5], 0.25),
        ([10, 0, 20, 10], 0.0),  # they touch
        ([20, 20, 30, 30], 0.0),
        ([5, 5, 5, 5], 0.0),  # no area
        ([-5, -5, 5, 5], 25 / 175),
    ],
)
def test_iou_by_hand(other, expected):
    found = iou(np.array([SQUARE], np.float32), np.array([other], np.float32))
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(expected)


def test_iou_of_two_boxes_without_area_is_zero_and_not_nan():
    point = np.array([[3, 3, 3, 3]], np.float32)
    assert iou(point, point)[0, 0] == 0


def test_pairs_are_rows_by_columns():
    first = np.array([SQUARE, [0, 0, 2, 2], [50, 50, 60, 60]], np.float32)
    second = np.array([[0, 0, 4, 4], [8, 8, 12, 12]], np.float32)
    expected = [[16, 4], [4, 0], [0, 0]]
    assert intersection(first, second).tolist() == expected
    assert iou(first, second).shape == (3, 2)
    assert iou(first[:0], second).shape == (0, 2)


def test_area_and_conversions():
    boxes = np.array([[1, 2, 4, 6], [0, 0, 0, 5]], np.float32)
    assert area(boxes).tolist() == [12, 0]
    assert xyxy_to_xywh(boxes).tolist() == [[1, 2, 3, 4], [0, 0, 0, 5]]
    assert xywh_to_xyxy(xyxy_to_xywh(boxes)).tolist() == boxes.tolist()
    assert xywh_to_xyxy(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_clip_cuts_to_the_image():
    boxes = np.array([[-5, -5, 700, 500], [10, 20, 30, 40]], np.float32)
    assert clip(boxes, 640, 480).tolist() == [[0, 0, 640, 480], [10, 20, 30, 40]]
