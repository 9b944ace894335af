"""Results in the forms of others: plain Python values, and supervision's detections.

The adapters stand beside the types that they read, which know nothing of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.types import Classification, Detection, Detections, FrameResult, Result
from edgevision.video.sinks.jsonl import frame_record

if TYPE_CHECKING:
    import supervision


def to_dict(result: FrameResult | Result) -> dict[str, Any]:
    """A result as dicts, lists, texts and numbers, which ``json.dumps`` writes.

    Args:
        result: of a frame, which gives what a line of JSON lines has (docs/reference/jsonl.md); or
            detections, which give their rows (masks in COCO's compressed run lengths), a class map, which
            gives the share of the image that each class covers, or a classification, which gives its labels.

    Example:
        >>> found = Detections([[0, 0, 9, 9]], [0.5], [0], ("dog",))
        >>> [(row["name"], row["box"], row["track_id"]) for row in to_dict(found)["detections"]]
        [('dog', (0.0, 0.0, 9.0, 9.0), None)]
    """
    if isinstance(result, FrameResult):
        record: dict[str, Any] = msgspec.to_builtins(frame_record(result))
        return record
    if isinstance(result, Detections):
        rows = [_row(one) for one in result]
        if result.masks is not None:
            size = result.masks.size
            for i, row in enumerate(rows):
                row["mask"] = {"size": size, "counts": result.masks.rle(i)}
        return {"detections": rows}
    if isinstance(result, Classification):
        return {"classification": [msgspec.to_builtins(one) for one in result.labels()]}
    shares = zip(result.names, result.shares().tolist(), strict=True)
    return {"segmentation": {name: share for name, share in shares if share > 0}}


def _row(one: Detection) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(one)
    for key in ("keypoints", "rotated_box", "attributes"):  # only where a model gives them
        if not row[key]:
            del row[key]
    return row


def to_supervision(detections: Detections) -> supervision.Detections:
    """Detections for supervision's annotators, zones and metrics (https://supervision.roboflow.com).

    Class names stand in ``data["class_name"]``, where its label annotator looks for them. ``tracker_id`` is
    set only where every row has a track id, for supervision has no word for a row without one: choose them
    before, with ``detections[[one.track_id is not None for one in detections]]``.

    Raises:
        UsageError: supervision is not installed, or what is given are no detections.
    """
    if not isinstance(detections, Detections):
        raise UsageError(f"expected Detections, such as result.detections; found {type(detections).__name__}")
    with needs_extra("track"):
        import supervision
    track_ids = [one.track_id for one in detections]
    masks, mask = detections.masks, None
    if masks is not None:
        mask = np.array([masks.whole(i) for i in range(len(masks))], bool).reshape(-1, *masks.size)
    is_tracked = bool(track_ids) and None not in track_ids
    return supervision.Detections(
        xyxy=detections.boxes.copy(),
        confidence=detections.scores.copy(),
        class_id=detections.class_ids.astype(np.int64),
        mask=mask,
        tracker_id=np.array(track_ids, np.int64) if is_tracked else None,
        data={"class_name": np.array(detections.row_names, dtype=str)},
    )
