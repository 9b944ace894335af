"""Results of every task: what they keep, and what they refuse.

Also tests ``edgevision.types``, ``edgevision.types.arrays``, ``edgevision.types.classification``,
``edgevision.types.frame``, ``edgevision.types.result``, ``edgevision.types.segmentation``,
``edgevision.types.zones``.
"""

import msgspec
import numpy as np
import pytest

from edgevision.contract.manifest import TensorSpec
from edgevision.masks import InstanceMasks
from edgevision.types import (
    Attribute,
    Classification,
    Detection,
    Detections,
    Frame,
    FrameResult,
    KeyPoint,
    SegmentationMap,
    Skeleton,
)


def three() -> Detections:
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3], [2, 2, 4, 4]]
    return Detections(boxes, [0.9, 0.5, 0.1], [2, 0, 2], ("person", "car", "dog"), "voc", [7, 8, 9])


def trees() -> Detections:
    return Detections([[0, 0, 1, 1]], [0.25], [0], ("tree",), "garden")


def frame() -> Frame:
    return Frame(np.zeros((2, 4, 3), np.uint8), 0, 0)


def test_detections_take_lists_and_keep_exact_types():
    found = three()
    assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
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


def test_rows_are_read_one_by_one_in_plain_values():
    expected = [
        Detection("dog", 0.9, (0, 0, 2, 2), 2, 7, "voc"),
        Detection("person", 0.5, (1, 1, 3, 3), 0, 8, "voc"),
        Detection("dog", 0.1, (2, 2, 4, 4), 2, 9, "voc"),
    ]
    rows = list(three())
    assert [is_same(*pair) for pair in zip(rows, expected, strict=True)] == [True] * 3
    assert [type(value) for value in (rows[0].score, rows[0].class_id, rows[0].track_id)] == [float, int, int]
    assert three()[1] == three()[np.int64(1)] == rows[1]
    assert three()[-1] == rows[2]
    with pytest.raises(IndexError):
        three()[3]
    assert three().row_names == ["dog", "person", "dog"]


def is_same(found: Detection, expected: Detection) -> bool:
    return msgspec.structs.replace(found, score=round(found.score, 6)) == expected


def test_what_is_not_tracked_has_no_number():
    boxes = [[0, 0, 1, 1], [1, 1, 3, 3]]
    found = Detections(boxes, [0.9, 0.8], [0, 0], track_ids=[None, 4])
    assert [one.track_id for one in found] == found.track_ids.tolist() == [None, 4]
    assert [one.track_id for one in Detections(boxes, [0.9, 0.8], [0, 0])] == [None, None]
    with pytest.raises(ValueError, match="track id -1; expected 0 or more, or None"):
        Detections(boxes, [0.9, 0.8], [0, 0], track_ids=np.array([-1, 4]))


def test_without_names_a_row_is_called_by_its_class_id():
    assert Detections([[0, 0, 1, 1]], [0.9], [5])[0].name == "5"


def test_rows_of_one_model_are_joined_as_they_are():
    first, second = three()[:1], three()[1:]
    joined = Detections.join([first, second])
    assert list(joined) == list(three())
    assert (joined.model, joined.models) == ("voc", ())
    assert Detections.join([first]) is first
    assert len(Detections.join([])) == 0


def test_rows_of_several_models_know_their_model():
    joined = Detections.join([three(), trees(), Detections.empty(("leaf",), "leaves")])
    assert [(one.name, one.model, one.track_id) for one in joined] == [
        ("dog", "voc", 7),
        ("person", "voc", 8),
        ("dog", "voc", 9),
        ("tree", "garden", None),
    ]
    assert joined.names == ("person", "car", "dog", "tree", "leaf")
    assert [joined.names[class_id] for class_id in joined.class_ids] == joined.row_names
    assert joined[joined.scores < 0.3][-1].model == "garden"
    again = Detections.join([trees(), joined])
    assert [one.model for one in again] == ["garden", "voc", "voc", "voc", "garden"]
    with pytest.raises(ValueError, match="only if all have class names"):
        Detections.join([three(), Detections([[0, 0, 1, 1]], [0.9], [0])])


def test_a_frame_gives_the_detections_of_its_one_model_or_of_all():
    found, class_map = three(), SegmentationMap(np.zeros((2, 4), np.uint8), ("road",), "streets")
    result = FrameResult(frame(), (class_map, found))
    assert result.detections is found
    assert result.class_maps == (class_map,)
    several = FrameResult(frame(), [found, trees()]).detections
    assert [one.model for one in several] == ["voc", "voc", "voc", "garden"]
    assert len(FrameResult(frame(), (class_map,)).detections) == 0
    assert FrameResult(frame(), ()).class_maps == ()


def test_a_class_map_of_another_size_than_its_frame_is_refused():
    with pytest.raises(ValueError, match=r"shape \[4, 2\]; expected \[2, 4\]"):
        FrameResult(frame(), (SegmentationMap(np.zeros((4, 2), np.uint8)),))


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


@pytest.mark.parametrize("ids", [[0, 2], [-1, 0]])
def test_every_class_id_has_a_name(ids):
    boxes = [[0, 0, 1, 1]] * 2
    with pytest.raises(ValueError, match=r"class id (2|-1) has no name; expected 0 to 1"):
        Detections(boxes, [0.5, 0.5], ids, ("person", "car"))
    with pytest.raises(ValueError, match="models has 1 entries; expected 2"):
        Detections(boxes, [0.5, 0.5], [0, 1], ("person", "car"), models=("voc",))


def test_a_frame_knows_its_size_and_time():
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 3, 1_500_000_000, "clip")
    assert (frame.width, frame.height, frame.time_s) == (64, 48, 1.5)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_a_frame_refuses_what_is_no_image(image):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        Frame(image, 0, 0)


def test_shares_of_a_class_map():
    found = SegmentationMap(np.array([[0, 0, 1, 255]], np.uint8), ("road", "car", "sky"))
    assert found.shares().tolist() == [0.5, 0.25, 0.0]
    with pytest.raises(ValueError, match="class map"):
        SegmentationMap(np.zeros((2, 2), np.int32))


def test_a_tensor_spec_reads_well():
    assert str(TensorSpec("boxes", np.dtype(np.float32), (None, 300, 4))) == "boxes float32 [N, 300, 4]"


NOSE = Skeleton(("nose", "tail"), ((0, 1),))


def rich(**changes) -> Detections:
    """Two rows with everything that a model can give."""
    attributes = np.empty(2, object)
    attributes[:] = [(Attribute("wet", 0.5),), ()]
    fields = {
        "masks": InstanceMasks((np.ones((1, 1), bool), np.ones((2, 2), bool)), [[0, 0], [1, 0]], (2, 4)),
        "keypoints": [[[1, 2, 0.5], [3, 4, 0.25]]] * 2,
        "skeleton": NOSE,
        "rotated_boxes": [[1, 1, 2, 1, 0.5], [2, 1, 1, 1, 0]],
        "attributes": attributes,
    }
    boxes = [[0, 0, 2, 2], [1, 0, 3, 2]]
    return Detections(boxes, [0.9, 0.5], [0, 0], ("dog",), "dogs", **{**fields, **changes})


def test_masks_points_angles_and_attributes_stay_with_their_rows():
    chosen = rich()[[1]]
    assert chosen.masks.areas().tolist() == [4]
    assert chosen.rotated_boxes.tolist() == [[2, 1, 1, 1, 0]]
    (row,) = chosen
    assert row.keypoints == (KeyPoint("nose", 1, 2, 0.5), KeyPoint("tail", 3, 4, 0.25))
    assert row.rotated_box == (2, 1, 1, 1, 0)
    assert row.attributes == ()
    assert rich()[0].attributes == (Attribute("wet", 0.5),)
    assert rich(skeleton=None)[0].keypoints[1].name == "1"


def test_what_only_some_parts_have_is_kept_when_they_are_joined():
    joined = Detections.join([rich(), trees()])
    assert joined.masks.areas().tolist() == [1, 4, 0]
    assert joined.keypoints[2].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert joined.skeleton == NOSE
    assert joined.rotated_boxes[2].tolist() == [0.5, 0.5, 1, 1, 0]
    assert [len(row) for row in joined.attributes] == [1, 0, 0]
    other = rich(keypoints=[[[5, 6, 1]]] * 2, skeleton=Skeleton(("beak",)))
    both = Detections.join([rich(), other])
    assert both.skeleton is None
    assert both.keypoints[2].tolist() == [[5, 6, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": InstanceMasks.absent(3, (2, 4))}, "3 masks for 2 boxes"),
        ({"keypoints": [[1, 2, 3]]}, "keypoints are"),
        ({"keypoints": np.full((2, 2, 3), np.nan)}, "finite"),
        ({"keypoints": np.zeros((2, 3, 3))}, "3 key points for 2 names"),
        ({"rotated_boxes": [[1, 1, 2, 1, 0]]}, "rotated_boxes are"),
        ({"rotated_boxes": [[1, 1, -2, 1, 0]] * 2}, "sides of 0 or more"),
        ({"attributes": np.empty(3, object)}, "attributes has shape"),
    ],
)
def test_what_does_not_fit_the_rows_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        rich(**changes)


def test_masks_of_another_size_than_their_frame_are_refused():
    assert len(FrameResult(frame(), (rich(),)).detections) == 2
    with pytest.raises(ValueError, match="masks are of an image"):
        FrameResult(frame(), (rich(masks=InstanceMasks.absent(2, (4, 2))),))


def test_labels_of_one_kind_and_of_several():
    one = Classification([0.2, 0.5, 0.3], ("a", "b", "c"), "m", threshold=0.25)
    assert [label.name for label in one.labels()] == ["b"]
    assert [(label.name, label.class_id) for label in one.top(2)] == [("b", 1), ("c", 2)]
    several = Classification([0.2, 0.5, 0.5], ("a", "b", "c"), "m", True, 0.25)
    assert [label.name for label in several.labels()] == ["b", "c"]  # equal ones in the order of the names
    assert repr(several) == "<Classification: b 0.50, c 0.50>"
    assert FrameResult(frame(), (one, several)).classifications == (one, several)
    for wrong, message in (([0.5], "shape"), ([0.5, 2, 0], "from 0 to 1"), ([0.5, np.nan, 0], "from 0 to 1")):
        with pytest.raises(ValueError, match=message):
            Classification(wrong, ("a", "b", "c"))


def test_labels_by_thresholds_of_their_classes():
    shown = Classification([0.2, 0.5, 0.5], ("a", "b", "c"), "m", True, 0.9, (0.2, 0.6, 0.5))
    assert [label.name for label in shown.labels()] == ["c", "a"]
    with pytest.raises(ValueError, match="2 thresholds for 3 classes"):
        Classification([0.2, 0.5, 0.5], ("a", "b", "c"), class_thresholds=(0.1, 0.2))
