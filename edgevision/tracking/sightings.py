"""The tracked objects of a frame, from all models."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.types import Attribute, Detections, FrameResult


@dataclass(frozen=True, slots=True)
class Sighting:
    """One tracked object in one frame.

    Attributes:
        track_id: the same in every frame.
        class_name: what it is.
        score: of this frame's detection, 0..1.
        box: ``(x1, y1, x2, y2)`` in source pixels.
        attributes: what a second model said of it, best first.
    """

    track_id: int
    class_name: str
    score: float
    box: tuple[float, float, float, float]
    attributes: tuple[Attribute, ...] = ()


def sightings(result: FrameResult) -> list[Sighting]:
    """The tracked objects of a frame; what has no track id is left out."""
    return [
        Sighting(one.track_id, one.name, one.score, one.box, one.attributes)
        for found in result.results
        if isinstance(found, Detections) and found.track_ids is not None
        for one in found
        if one.track_id is not None
    ]
