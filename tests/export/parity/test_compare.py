"""Differences made by hand: the right stage is named, with its size."""

import numpy as np
import pytest

from edgevision.export.parity.answers import match
from edgevision.export.parity.compare import Comparing, StageOutputs, tolerances_for

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)


def detections(*rows):
    """Answers for one image; each row is x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    padded = np.zeros((1, 5, 6), np.float32)
    padded[0, : len(table)] = table
    return {
        "boxes": padded[..., :4],
        "scores": padded[..., 4],
        "labels": padded[..., 5].astype(np.int32),
        "count": np.array([len(table)], np.int32),
    }


BOXES = ((10, 10, 50, 50, 0.9, 1), (60, 20, 90, 70, 0.6, 2), (5, 60, 25, 95, 0.31, 1))


def stages(pixels, mean=MEAN, shift=0, answers=None):
    """A made-up network: maps that are sums of its normalised input, and whatever answers are given."""
    images = (pixels.astype(np.float32) / 255 - mean) / STD
    logits = images.sum(axis=1, keepdims=True)
    heads = {"logits": np.roll(logits, shift, axis=3), "deltas": images * 0.1}
    return StageOutputs(images, heads, answers or detections(*BOXES))


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(0, 256, (1, 3, 24, 32), dtype=np.uint8)


def compare(reference, found, precision="fp32", same_file=False):
    comparing = Comparing(tolerances_for(precision, same_file))
    comparing.add(reference, found)
    return comparing.result("found", "reference")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8+fp16"])
def test_the_same_agrees_in_every_precision(pixels, precision):
    comparison = compare(stages(pixels), stages(pixels), precision)
    assert comparison.agrees
    assert [one.stage for one in comparison.differences] == ["preprocessing", "heads"] + ["answers"] * 4
    assert all(one.size == 0 for one in comparison.differences)


def test_a_wrong_mean_parts_at_preprocessing(pixels):
    wrong = stages(pixels, mean=MEAN + np.float32(0.01))
    first = compare(stages(pixels), wrong).first_divergent
    assert first.stage == "preprocessing"
    assert first.size == pytest.approx(0.01 / 0.224, rel=1e-3)
    assert str(first) == "preprocessing: 0.0446, beyond 0.0001"


def test_swapped_colours_part_at_preprocessing_even_for_int8(pixels):
    first = compare(stages(pixels), stages(pixels[:, ::-1]), "int8").first_divergent
    assert first.stage == "preprocessing"
    assert first.size > 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_one_shifted_head_map_parts_at_that_map(pixels, precision):
    first = compare(stages(pixels), stages(pixels, shift=1), precision).first_divergent
    assert (first.stage, first.tensor) == ("heads", "logits")
    assert first.size > 1  # as far apart as two unrelated maps


def test_a_head_error_is_measured_in_deviations_of_the_map():
    reference, found = np.array([[0.0, 2.0, 4.0, 6.0]]), np.array([[0.5, 2.5, 4.5, 6.5]])
    comparing = Comparing(tolerances_for("fp32", False))
    for sign in (1, -1):  # two batches: the sums run over both
        comparing.add(
            StageOutputs(None, {"h": reference * sign}, detections()),
            StageOutputs(None, {"h": found * sign}, detections()),
        )
    differences = {one.measure: one.size for one in comparing.result("a", "b").differences}
    # Error 0.5 everywhere; 0, +-2, +-4, +-6 have a deviation of sqrt(14).
    assert differences["heads"] == pytest.approx(0.5 / np.sqrt(14))
    assert "preprocessing" not in differences


def test_what_follows_a_stage_that_parts_is_not_blamed(pixels):
    answers = detections((70, 70, 80, 80, 0.9, 1))
    found = stages(pixels, shift=3, answers=answers)
    comparison = compare(stages(pixels), found)
    assert not comparison.differences[-1].agrees or not comparison.differences[2].agrees
    assert comparison.first_divergent.stage == "heads"


@pytest.mark.parametrize(
    ("rows", "measure", "size"),
    [
        (BOXES[:2], "unmatched", 1 / 5),  # 3 shown in the one, 2 in the other
        ((*BOXES, (100, 100, 120, 120, 0.5, 0)), "unmatched", 1 / 7),
        ((BOXES[0], (60, 20, 90, 70, 0.5, 2), BOXES[2]), "score", 0.1 / 3),
        ((BOXES[0], (60, 20, 90, 70, 0.6, 3), BOXES[2]), "labels", 1 / 3),
        (((10, 10, 50, 40, 0.9, 1), *BOXES[1:]), "overlap", 0.25 / 3),
    ],
)
def test_answers_that_differ_are_measured(pixels, rows, measure, size):
    comparison = compare(stages(pixels), stages(pixels, answers=detections(*rows)))
    found = {one.measure: one for one in comparison.differences}
    assert found[measure].size == pytest.approx(size, abs=1e-6)
    assert comparison.first_divergent == found[measure]


def test_weak_detections_may_come_and_go(pixels):
    weak = (100, 100, 120, 120, 0.1, 0)
    assert compare(stages(pixels), stages(pixels, answers=detections(*BOXES, weak))).agrees
    # A score that falls below what is shown still has its partner.
    rows = (*BOXES[:2], (5, 60, 25, 95, 0.2995, 1))
    near = detections(*BOXES[:2], (5, 60, 25, 95, 0.3005, 1))
    assert compare(stages(pixels, answers=near), stages(pixels, answers=detections(*rows)), "fp32").agrees


def test_a_full_output_leaves_out_what_comes_last(pixels):
    """Six objects for five places: which of two equal ones is left out decides nothing."""
    rows = [(20 * i, 0, 20 * i + 10, 10, 0.9 - i / 10, 1) for i in range(4)]
    ones = [detections(*rows, (200, 0, 210, 10, score, 1)) for score in (0.5001, 0.5)]
    others = [detections(*rows, (300, 0, 310, 10, score, 1)) for score in (0.5, 0.7)]
    assert compare(stages(pixels, answers=ones[0]), stages(pixels, answers=others[0])).agrees
    first = compare(stages(pixels, answers=ones[1]), stages(pixels, answers=others[1])).first_divergent
    assert first.measure == "unmatched"


def test_boxes_without_area_match_where_they_coincide(pixels):
    """Clipping at the image's edge makes such boxes, and their IoU with themselves is 0."""
    edge = (0, 128, 128, 128, 0.9, 1)
    reference = stages(pixels, answers=detections(edge))
    assert compare(reference, stages(pixels, answers=detections((0, 127.999, 128, 128, 0.9, 1)))).agrees
    first = compare(reference, stages(pixels, answers=detections((0, 0, 128, 0, 0.9, 1)))).first_divergent
    assert (first.measure, first.size) == ("unmatched", 1)


def test_pixels_of_class_maps():
    reference = np.zeros((1, 10, 20), np.uint8)
    found = reference.copy()
    found[0, 0, :3] = 2
    first = compare(
        StageOutputs(None, {}, {"class_map": reference}), StageOutputs(None, {}, {"class_map": found})
    ).first_divergent
    assert (first.measure, first.size) == ("pixels", 3 / 200)


def test_numbers_that_are_none_part(pixels):
    for stage in ("preprocessing", "heads"):
        broken = stages(pixels)
        array = broken.preprocessing if stage == "preprocessing" else broken.heads["deltas"]
        array[0, 0, 0, 0] = np.nan
        assert compare(stages(pixels), broken, "int8").first_divergent.stage == stage


def test_two_engines_on_one_int8_file_are_held_closer_than_int8_to_fp32():
    for measure in ("heads", "unmatched", "score", "overlap", "labels", "pixels"):
        limits = [
            getattr(tolerances_for(precision, same), measure)
            for precision, same in (("fp32", True), ("fp16", True), ("int8", True), ("int8", False))
        ]
        assert limits == sorted(limits)


def test_boxes_match_one_to_one_and_their_own_class_first():
    overlaps = np.array([[0.9, 0.8], [0.7, 0.2]], np.float32)
    assert match(overlaps, np.array([1, 1]), np.array([2, 1])) == [(0, 1), (1, 0)]
    assert match(overlaps, np.array([1, 1]), np.array([1, 1])) == [(0, 0)]
    assert match(np.zeros((0, 2), np.float32), np.zeros(0), np.zeros(2)) == []


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"expected shape \[1, 4\], found \[1, 5\]"):
        compare(
            StageOutputs(None, {"h": np.zeros((1, 4))}, detections()),
            StageOutputs(None, {"h": np.zeros((1, 5))}, detections()),
        )
