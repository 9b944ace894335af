import numpy as np
import pytest

from edgevision.contract.manifest import TensorSpec
from edgevision.types import Detections, Frame, SegmentationMap, ZoneReport


def three() -> Detections:
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3], [2, 2, 4, 4]]
    return Detections(boxes, [0.9, 0.5, 0.1], [2, 0, 2], [7, 8, 9])


def test_detections_take_lists_and_keep_exact_types():
    found = three()
    assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
    assert found.track_ids is not None
    assert found.track_ids.dtype == np.int32
    assert found.boxes.shape == (3, 4)


def test_empty_detections():
    nothing = Detections.empty()
    assert len(nothing) == 0
    assert nothing.boxes.shape == (0, 4)
    assert list(nothing) == []
    assert len(nothing[nothing.scores > 0.5]) == 0


def test_indexing_keeps_columns_together():
    found = three()
    chosen = found[found.class_ids == 2]
    assert chosen.scores.tolist() == pytest.approx([0.9, 0.1])
    assert chosen.track_ids.tolist() == [7, 9]
    assert found[np.array([2, 0])].boxes.tolist() == [[2, 2, 4, 4], [0, 0, 2, 2]]
    assert len(found[:1]) == 1


def test_iteration_gives_plain_values():
    box, score, class_id, track = list(three())[1]
    assert box.tolist() == [1, 1, 3, 3]
    assert score == pytest.approx(0.5)
    assert (class_id, track) == (0, 8)


def test_what_is_not_tracked_has_no_number():
    boxes = np.array([[0, 0, 1, 1], [1, 1, 3, 3]])
    found = Detections(boxes, np.array([0.9, 0.8]), np.array([0, 0]), np.array([-1, 4]))
    assert [track for *_, track in found] == [None, 4]


def test_what_zones_say_of_the_frame_stays_with_every_choice_of_rows():
    report = ZoneReport()
    found = Detections(np.array([[0, 0, 1, 1]]), np.array([0.9]), np.array([0]), zones=report)
    assert found[found.scores > 1].zones is report


@pytest.mark.parametrize(
    ("boxes", "scores", "ids", "message"),
    [
        ([[0, 0, 1, 1]], [0.5, 0.5], [0], r"scores has shape \[2\]; expected \[1\]"),
        ([[0, 0, 1, 1]], [0.5], [0, 1], r"class_ids has shape \[2\]"),
        ([[2, 0, 1, 1]], [0.5], [0], "x1 <= x2"),
        ([[0, 2, 1, 1]], [0.5], [0], "y1 <= y2"),
        ([[0, 0, np.nan, 1]], [0.5], [0], "finite"),
        ([[0, 0, 1, 1]], [np.inf], [0], "finite"),
    ],
)
def test_detections_refuse_nonsense(boxes, scores, ids, message):
    with pytest.raises(ValueError, match=message):
        Detections(np.array(boxes), np.array(scores), np.array(ids))


def test_a_frame_knows_its_size_and_time():
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 3, 1_500_000_000, "clip")
    assert (frame.width, frame.height, frame.time_s) == (64, 48, 1.5)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_a_frame_refuses_what_is_no_picture(image):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        Frame(image, 0, 0)


def test_shares_of_a_class_map():
    found = SegmentationMap(np.array([[0, 0, 1, 255]], np.uint8))
    assert found.shares(3).tolist() == [0.5, 0.25, 0.0]
    with pytest.raises(ValueError, match="class map"):
        SegmentationMap(np.zeros((2, 2), np.int32))


def test_a_tensor_spec_reads_well():
    assert str(TensorSpec("boxes", np.dtype(np.float32), (None, 300, 4))) == "boxes float32 [N, 300, 4]"
