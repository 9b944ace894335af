import dataclasses
import json

import numpy as np
import pytest

from edgevision.adapters import to_dict, to_supervision
from edgevision.errors import UsageError
from edgevision.masks import InstanceMasks
from edgevision.types import Classification, Detections, Frame, FrameResult, SegmentationMap, Skeleton

FRAME = Frame(np.zeros((48, 64, 3), np.uint8), 7, 280_000_000, "street.mp4")


def found(track_ids=None):
    boxes, scores, class_ids = [[0, 0, 9, 9], [5, 5, 20, 30]], [0.5, 0.25], [1, 0]
    return Detections(boxes, scores, class_ids, ("person", "car"), "light", track_ids)


def test_a_frame_is_a_line_of_json_lines():
    record = to_dict(FrameResult(FRAME, (found([3, None]),)))
    assert json.loads(json.dumps(record)) == record | {
        "size": [64, 48],
        "detections": [
            {"class": "car", "score": 0.5, "box": [0, 0, 9, 9], "track_id": 3},
            {"class": "person", "score": 0.25, "box": [5, 5, 20, 30]},
        ],
    }
    assert (record["frame"], record["time_s"], record["source"]) == (7, 0.28, "street.mp4")


def test_detections_are_rows_and_a_class_map_is_shares():
    rows = to_dict(found([3, None]))["detections"]
    assert rows[0] == {
        "name": "car",
        "score": 0.5,
        "box": (0.0, 0.0, 9.0, 9.0),
        "class_id": 1,
        "track_id": 3,
        "model": "light",
    }
    assert rows[1]["track_id"] is None
    class_map = np.zeros((4, 4), np.uint8)
    class_map[0] = 2
    assert to_dict(SegmentationMap(class_map, ("sky", "road", "car"))) == {
        "segmentation": {"sky": 0.75, "car": 0.25}
    }


def test_masks_poses_and_labels_are_plain_values():
    masks = InstanceMasks((np.ones((2, 2), bool), np.ones((1, 1), bool)), [[1, 1], [0, 0]], (48, 64))
    given = dataclasses.replace(
        found(),
        masks=masks,
        keypoints=np.ones((2, 1, 3)),
        skeleton=Skeleton(("nose",)),
        rotated_boxes=np.ones((2, 5)),
    )
    row = json.loads(json.dumps(to_dict(given)))["detections"][1]
    assert row["mask"] == {"size": [48, 64], "counts": masks.rle(1)}
    assert row["keypoints"] == [{"name": "nose", "x": 1.0, "y": 1.0, "score": 1.0}]
    assert row["rotated_box"] == [1.0] * 5
    shown = Classification([0.75, 0.25], ("cat", "dog"), "animals")
    assert to_dict(shown) == {
        "classification": [{"name": "cat", "score": 0.75, "class_id": 0, "model": "animals"}]
    }


def test_supervision_gets_boxes_names_and_numbers():
    pytest.importorskip("supervision", reason="comes with the extra 'track'")
    given = to_supervision(found([3, 8]))
    assert given.xyxy.tolist() == [[0, 0, 9, 9], [5, 5, 20, 30]]
    assert given.confidence.tolist() == [0.5, 0.25]
    assert given.class_id.tolist() == [1, 0]
    assert given["class_name"].tolist() == ["car", "person"]
    assert given.tracker_id.tolist() == [3, 8]
    assert to_supervision(found()).tracker_id is None
    masks = InstanceMasks((np.ones((2, 2), bool), np.ones((1, 1), bool)), [[1, 1], [0, 0]], (48, 64))
    assert to_supervision(dataclasses.replace(found(), masks=masks)).mask.sum(axis=(1, 2)).tolist() == [4, 1]
    assert to_supervision(found([3, None])).tracker_id is None
    assert len(to_supervision(Detections.empty(("person",)))) == 0


def test_a_frame_is_not_its_detections():
    with pytest.raises(UsageError, match=r"expected Detections, .*; found FrameResult"):
        to_supervision(FrameResult(FRAME, ()))
