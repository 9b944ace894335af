"""Tracked objects of a frame by name, whichever model found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgevision.types import Detections, Result


@dataclass(frozen=True, slots=True)
class Sighting:
    """One tracked object in one frame.

    Attributes:
        track_id: its number, the same in every frame.
        class_name: what it is.
        score: of this frame's detection, 0..1.
        box: ``(x1, y1, x2, y2)`` in source pixels.
    """

    track_id: int
    class_name: str
    score: float
    box: tuple[float, float, float, float]


def sightings(results: Sequence[Result], classes: Sequence[Sequence[str]]) -> list[Sighting]:
    """The tracked objects of a frame; what has no track id is left out.

    Args:
        results: one for each model.
        classes: each model's class names.
    """
    seen = []
    for result, names in zip(results, classes, strict=True):
        if isinstance(result, Detections):
            for box, score, class_id, track_id in result:
                if track_id is not None:
                    x1, y1, x2, y2 = box.tolist()
                    seen.append(Sighting(track_id, names[class_id], score, (x1, y1, x2, y2)))
    return seen
