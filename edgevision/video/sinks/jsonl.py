"""Results as JSON lines, one for each frame; docs/reference/jsonl.md has the schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgevision.errors import printable
from edgevision.files import LineFile, read_records
from edgevision.types import Classification, Detection, Detections, FrameResult, Image, Result, ZoneReport
from edgevision.video.base import Sink

SCHEMAS = (1, 2)
"""A line has the oldest that can say what it says: 2 where a model gives masks, poses, angles or labels."""


class MaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A mask in COCO's compressed run lengths; see docs/reference/jsonl.md."""

    size: tuple[int, int]
    counts: str


class LabelRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """A class that the image as a whole was given; see docs/reference/jsonl.md."""

    class_name: str
    score: float
    model: str | msgspec.UnsetType = msgspec.UNSET


class AttributeRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """What a second model said of a detection; see docs/reference/jsonl.md."""

    class_name: str
    score: float
    model: str | msgspec.UnsetType = msgspec.UNSET
    box: tuple[float, float, float, float] | msgspec.UnsetType = msgspec.UNSET


class DetectionRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """One detection of a line; see docs/reference/jsonl.md."""

    class_name: str
    score: float
    box: tuple[float, float, float, float]
    track_id: int | msgspec.UnsetType = msgspec.UNSET
    zones: list[str] | msgspec.UnsetType = msgspec.UNSET
    dwell_s: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    mask: MaskRecord | msgspec.UnsetType = msgspec.UNSET
    keypoints: dict[str, tuple[float, float, float]] | msgspec.UnsetType = msgspec.UNSET
    rotated_box: tuple[float, float, float, float, float] | msgspec.UnsetType = msgspec.UNSET
    attributes: list[AttributeRecord] | msgspec.UnsetType = msgspec.UNSET


class ZoneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a zone by class; see docs/reference/jsonl.md."""

    inside: dict[str, int]
    entries: dict[str, int]
    exits: dict[str, int]
    attributes: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class LineRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"inward": "in", "outward": "out"}):
    """Counts of a line by class; see docs/reference/jsonl.md."""

    inward: dict[str, int]
    outward: dict[str, int]


class ZoneEventRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """An event at a zone or line; see docs/reference/jsonl.md."""

    event: str
    place: str
    track_id: int
    class_name: str
    time_s: float
    dwell_s: float | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    attributes: list[str] | msgspec.UnsetType = msgspec.UNSET


class FrameRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line; see docs/reference/jsonl.md."""

    schema: int
    frame: int
    time_s: float
    source: str
    stream: str | msgspec.UnsetType = msgspec.UNSET
    size: tuple[int, int]
    detections: list[DetectionRecord]
    segmentation: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    classification: list[LabelRecord] | msgspec.UnsetType = msgspec.UNSET
    objects: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    zones: dict[str, ZoneRecord] | msgspec.UnsetType = msgspec.UNSET
    lines: dict[str, LineRecord] | msgspec.UnsetType = msgspec.UNSET
    zone_events: list[ZoneEventRecord] | msgspec.UnsetType = msgspec.UNSET


def frame_record(result: FrameResult) -> FrameRecord:
    """The record of one frame. Detections and labels name their model where more than one ran."""
    frame = result.frame
    detections: list[DetectionRecord] = []
    segmentation: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    labels: list[LabelRecord] = []
    for one in result.results:
        model = one.model if len(result.results) > 1 and one.model else msgspec.UNSET
        if isinstance(one, Detections):
            detections += _detections(one, result.zones, model)
        elif isinstance(one, Classification):
            labels += _labels(one, model)
        else:
            shares = zip(one.names, one.shares(), strict=True)
            segmentation = {} if isinstance(segmentation, msgspec.UnsetType) else segmentation
            segmentation |= {name: round(float(share), 4) for name, share in shares if share > 0}
    return FrameRecord(
        schema=2 if any(map(_is_second, result.results)) else 1,
        frame=frame.index,
        time_s=round(frame.time_s, 6),
        source=printable(frame.source),
        size=(frame.width, frame.height),
        detections=detections,
        segmentation=segmentation,
        classification=labels if result.classifications else msgspec.UNSET,
        stream=printable(result.stream) if result.stream not in ("", frame.source) else msgspec.UNSET,
        objects=msgspec.UNSET if result.objects is None else dict(result.objects),
        **({} if result.zones is None else _zones(result.zones)),
    )


def _zones(report: ZoneReport) -> dict[str, Any]:
    """The fields of zones and lines."""
    return {
        "zones": {
            zone.name: ZoneRecord(
                inside=dict(zone.inside),
                entries=dict(zone.entries),
                exits=dict(zone.exits),
                attributes=dict(zone.attributes) or msgspec.UNSET,
            )
            for zone in report.zones
        },
        "lines": {
            line.name: LineRecord(inward=dict(line.inward), outward=dict(line.outward))
            for line in report.lines
        },
        "zone_events": [
            ZoneEventRecord(
                event=event.kind.value,
                place=event.place,
                track_id=event.track_id,
                class_name=event.class_name,
                time_s=round(event.time_s, 6),
                dwell_s=msgspec.UNSET if event.dwell_s is None else round(event.dwell_s, 3),
                reason=msgspec.UNSET if event.reason is None else event.reason,
                attributes=list(event.attributes) or msgspec.UNSET,
            )
            for event in report.events
        ],
    }


def _detections(
    found: Detections, zones: ZoneReport | None, model: str | msgspec.UnsetType
) -> Iterator[DetectionRecord]:
    for row, one in enumerate(found):
        dwell_s: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
        if zones is not None:
            stays = {} if one.track_id is None else zones.dwell_s.get(one.track_id, {})
            dwell_s = {name: round(seconds, 3) for name, seconds in stays.items()}
        yield DetectionRecord(
            class_name=one.name,
            score=round(one.score, 4),
            box=_rounded(one.box),
            track_id=msgspec.UNSET if one.track_id is None else one.track_id,
            zones=msgspec.UNSET if isinstance(dwell_s, msgspec.UnsetType) else list(dwell_s),
            dwell_s=dwell_s or msgspec.UNSET,
            model=model,
            **_further(found, row, one),
        )


def _is_second(result: Result) -> bool:
    """Whether a line needs schema 2 for it."""
    if isinstance(result, Detections):
        further = (result.masks, result.keypoints, result.rotated_boxes, result.attributes)
        return any(part is not None for part in further)
    return isinstance(result, Classification)


def _labels(shown: Classification, model: str | msgspec.UnsetType) -> list[LabelRecord]:
    return [
        LabelRecord(class_name=one.name, score=round(one.score, 4), model=model) for one in shown.labels()
    ]


def _further(found: Detections, row: int, one: Detection) -> dict[str, Any]:
    """The fields of a mask, a pose and a rotated box, where there are some."""
    fields: dict[str, Any] = {}
    if found.masks is not None:
        fields["mask"] = MaskRecord(size=found.masks.size, counts=found.masks.rle(row))
    if one.keypoints is not None:
        fields["keypoints"] = {
            point.name: (round(point.x, 2), round(point.y, 2), round(point.score, 4))
            for point in one.keypoints
        }
    if one.rotated_box is not None:
        *place, angle = one.rotated_box
        fields["rotated_box"] = (*(round(value, 2) for value in place), round(angle, 4))
    if one.attributes:
        fields["attributes"] = [
            AttributeRecord(
                class_name=said.name,
                score=round(said.score, 4),
                model=said.model or msgspec.UNSET,
                box=msgspec.UNSET if said.box is None else _rounded(said.box),
            )
            for said in one.attributes
        ]
    return fields


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(value, 2) for value in box)
    return x1, y1, x2, y2


class JsonlSink(Sink):
    """Writes each frame's results as one line, completely and at once: a kill leaves no partial line.

    Args:
        path: the file.
        append: continue an existing file after its last complete line; otherwise it is overwritten.

    Raises:
        SinkError: it cannot be created, or (from ``write``) the disk is full; the lines before remain.
    """

    def __init__(self, path: Path, append: bool = False) -> None:
        super().__init__(str(path))
        self._encoder = msgspec.json.Encoder()
        self._file = LineFile(path, append)

    def write(self, result: FrameResult, image: Image) -> None:
        self._file.write(self._encoder.encode(frame_record(result)))

    def close(self) -> None:
        self._file.close()


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[FrameRecord]:
    """Reads a file that :class:`JsonlSink` wrote, a frame at a time.

    Raises:
        DataError: a line is not of this schema; the message says which.
    """
    return read_records(path, FrameRecord, SCHEMAS)
