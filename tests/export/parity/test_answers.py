"""How far answers of each task are apart, by hand."""

import numpy as np
import pytest

from edgevision.export.parity.answers import AnswerError, rotated_overlap

BOX = [10, 10, 30, 20]


def answers(**further):
    """One detection, in outputs that have room for two."""
    rows = {"boxes": [[BOX]], "scores": [[0.9]], "labels": [[1]], **further}
    padded = {}
    for name, values in rows.items():
        array = np.array(values, np.int32 if name == "labels" else np.float32)
        padded[name] = array if name == "prototypes" else np.concatenate([array, 0 * array], axis=1)
    return {**padded, "count": np.array([1], np.int32)}


def measures(reference, found):
    error = AnswerError()
    error.add(reference, found)
    return error.measures()


def test_key_points_are_apart_in_sides_of_the_box():
    """The box of 20 by 10 has a side of 14.14; one of two points is off by 3 and 4, which is 5 pixels."""
    first = answers(keypoints=[[[[10, 10, 1], [20, 15, 1]]]])
    second = answers(keypoints=[[[[13, 14, 1], [20, 15, 1]]]])
    assert measures(first, first)["points"] == 0
    assert measures(first, second)["points"] == pytest.approx(5 / 200**0.5 / 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"masks": [[[[1, -1], [1, 1]]]]}, {"masks": [[[[1, -1], [1, 3]]]]}),
        (
            {"coefficients": [[[1, 0]]], "prototypes": [[[[1, -1], [1, 1]], [[9, 9], [9, 9]]]]},
            {"coefficients": [[[1, 0]]], "prototypes": [[[[1, -1], [1, 3]], [[0, 0], [0, 0]]]]},
        ),
    ],
)
def test_masks_are_compared_by_their_values(first, second):
    """One of four values of 1 is off by 2: the root of 4 / 4."""
    assert measures(answers(**first), answers(**first))["masks"] == 0
    assert measures(answers(**first), answers(**second))["masks"] == pytest.approx(1)


def rotated(*box):
    given = answers(rotated_boxes=[[box]])
    del given["boxes"]
    return given


def test_rotated_boxes_are_paired_by_their_own_overlap():
    flat = rotated(20, 20, 20, 10, 0)
    same, cross = rotated(20, 20, 10, 20, np.pi / 2), rotated(20, 20, 20, 10, np.pi / 2)
    assert measures(flat, same)["overlap"] == pytest.approx(0, abs=1e-5)
    assert measures(flat, cross)["unmatched"] == 1  # 100 of 300 square pixels
    near = measures(flat, rotated(20, 20, 20, 10, 0.1))
    assert near["unmatched"] == 0
    assert 0.02 < near["overlap"] < 0.2


def test_rotated_boxes_without_area_lie_in_one_place():
    box = np.array([[5, 5, 0, 0, 0.3]], np.float32)
    assert rotated_overlap(box, box)[0, 0] == 1


def test_labels_are_compared_image_by_image():
    first = {"probabilities": np.array([[0.7, 0.3], [0.6, 0.4]], np.float32)}
    second = {"probabilities": np.array([[0.6, 0.4], [0.45, 0.55]], np.float32)}
    assert measures(first, first) == {"labels": 0, "score": 0}
    assert measures(first, second) == pytest.approx({"labels": 0.5, "score": (0.1 + 0.15) / 2})
    with pytest.raises(ValueError, match="shape"):
        measures(first, {"probabilities": np.zeros((2, 3), np.float32)})
