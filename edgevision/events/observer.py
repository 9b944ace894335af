"""Derives events of objects from the detections of each frame."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

import msgspec
import numpy as np

from edgevision.errors import printable
from edgevision.events.records import SCHEMA, AttributeRecord, BestFrame, Event, EventKind, ObjectState
from edgevision.tracking.sightings import Sighting
from edgevision.types import Frame, Image, ZoneReport

CONFIRM_SIGHTINGS = 3
"""Sightings that an object needs before it is reported, which most false detections do not reach."""

_BETTER = 0.05
"""How much higher the score of a sighting must be to replace the best one."""

_UPDATE_S = 1.0
"""Minimum time between updates for better sightings; changes of zones are reported at once."""

_CROP_MARGIN = 0.1
"""Of the box's size, on each side."""


@dataclass(slots=True)
class _Object:
    id: str
    source: str
    stream: str
    sighting: Sighting
    first_s: float
    last_s: float
    best: BestFrame
    best_is_whole: bool
    crop: Image
    crop_is_new: bool = True
    sightings: int = 1
    zones: list[str] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)
    reported: ObjectState | None = None
    reported_s: float = 0.0

    def state(self) -> ObjectState:
        return ObjectState(
            track_id=self.sighting.track_id,
            class_name=self.sighting.class_name,
            score=round(self.sighting.score, 4),
            box=_rounded(self.sighting.box),
            first_s=round(self.first_s, 6),
            last_s=round(self.last_s, 6),
            sightings=self.sightings,
            zones=list(self.zones),
            visited=list(self.visited),
            best=self.best,
            attributes=_attributes(self.sighting) or msgspec.UNSET,
        )


class EventObserver:
    """Follows the objects of one stream and gives their events.

    ``new`` comes with an object's third sighting, ``update`` when its zones change or it is seen better than
    before, ``end`` when it was not seen for ``vanish_s``, its source is lost or the run ends. Each has the
    state before (as last reported) and after. The best sighting is the one with the highest score among those
    that the image does not cut off, or among all as long as it was always cut off.

    Args:
        keep_image: takes an object's id and the best sighting's crop, uint8 ``[H, W, 3]``, whenever an
            event is due and there is a new one; returns the path to name in events, or None where it
            could not be kept. None to keep none.
        vanish_s: see above, in seconds of the source.
        run_id: begins every object's id, so that ids of different runs differ; random by default.
        now: wall clock, for tests.
    """

    def __init__(
        self,
        keep_image: Callable[[str, Image], str | None] | None = None,
        *,
        vanish_s: float = 2.0,
        run_id: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._keep_image = keep_image
        self._vanish_s = vanish_s
        self._run_id = secrets.token_hex(4) if run_id is None else run_id
        self._now = now
        self._objects: dict[int, _Object] = {}
        self._now_s = 0.0

    def update(
        self, frame: Frame, seen: Sequence[Sighting], zones: ZoneReport | None = None, stream: str = ""
    ) -> list[Event]:
        """Takes one frame; call it for every frame in order, including those without objects.

        Args:
            frame: the frame, without anything drawn on it.
            seen: its tracked objects.
            zones: zones and lines after it; None where there are none.
            stream: name of the stream, which is named beside the source where it is another.
        """
        self._now_s = max(frame.time_s, self._now_s)
        events: list[Event] = []
        for sighting in seen:
            one = self._objects.get(sighting.track_id)
            if one is None:
                one = self._objects[sighting.track_id] = self._new_object(frame, sighting, stream)
            else:
                self._update_object(one, frame, sighting)
            inside = [] if zones is None else list(zones.dwell_s.get(sighting.track_id, ()))
            one.visited += [name for name in inside if name not in one.visited]
            one.zones = inside
            kind = self._due(one)
            if kind is not None:
                events.append(self._event(one, kind))
        return events + self._end(lambda one: self._now_s - one.last_s > self._vanish_s, "vanished")

    def finish(self, reason: str = "run ended") -> list[Event]:
        """The end events of all objects that are still there when the run ends, or the source is lost."""
        return self._end(lambda one: True, reason)

    def _new_object(self, frame: Frame, sighting: Sighting, stream: str) -> _Object:
        return _Object(
            id=f"{self._run_id}-{sighting.track_id}",
            source=printable(frame.source),
            stream=printable(stream) if stream != frame.source else "",
            sighting=sighting,
            first_s=self._now_s,
            last_s=self._now_s,
            best=_best(frame, sighting),
            best_is_whole=_is_whole(frame, sighting),
            crop=self._crop(frame, sighting),
        )

    def _update_object(self, one: _Object, frame: Frame, sighting: Sighting) -> None:
        one.sighting = sighting
        one.last_s = self._now_s
        one.sightings += 1
        whole = _is_whole(frame, sighting)
        gain = sighting.score - one.best.score
        if (whole and not one.best_is_whole) or (whole == one.best_is_whole and gain >= _BETTER):
            one.best, one.best_is_whole = _best(frame, sighting), whole
            one.crop, one.crop_is_new = self._crop(frame, sighting), True

    def _due(self, one: _Object) -> EventKind | None:
        if one.reported is None:
            return EventKind.NEW if one.sightings >= CONFIRM_SIGHTINGS else None
        if one.zones != one.reported.zones:
            return EventKind.UPDATE
        is_better = one.best.frame != one.reported.best.frame
        return EventKind.UPDATE if is_better and self._now_s - one.reported_s >= _UPDATE_S else None

    def _end(self, is_over: Callable[[_Object], bool], reason: str) -> list[Event]:
        over = [track_id for track_id, one in self._objects.items() if is_over(one)]
        gone = [self._objects.pop(track_id) for track_id in over]
        return [self._event(one, EventKind.END, reason) for one in gone if one.reported is not None]

    def _event(self, one: _Object, kind: EventKind, reason: str | None = None) -> Event:
        if self._keep_image is not None and one.crop_is_new:
            image = self._keep_image(one.id, one.crop)
            one.best = msgspec.structs.replace(one.best, image=image or msgspec.UNSET)
            one.crop_is_new = False
        before, one.reported, one.reported_s = one.reported, one.state(), self._now_s
        return Event(
            schema=SCHEMA,
            kind=kind,
            id=one.id,
            source=one.source,
            at=self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            before=before,
            after=one.reported,
            reason=msgspec.UNSET if reason is None else reason,
            stream=one.stream or msgspec.UNSET,
        )

    def _crop(self, frame: Frame, sighting: Sighting) -> Image:
        """A copy, because sources reuse their buffers; empty where no images are kept."""
        if self._keep_image is None:
            return np.zeros((0, 0, 3), np.uint8)
        x1, y1, x2, y2 = sighting.box
        wide, high = (x2 - x1) * _CROP_MARGIN, (y2 - y1) * _CROP_MARGIN
        left, top = max(int(x1 - wide), 0), max(int(y1 - high), 0)
        bottom, right = max(int(y2 + high), top) + 1, max(int(x2 + wide), left) + 1
        crop: Image = frame.image[top:bottom, left:right].copy()
        return crop


def _best(frame: Frame, sighting: Sighting) -> BestFrame:
    return BestFrame(
        frame=frame.index,
        time_s=round(frame.time_s, 6),
        score=round(sighting.score, 4),
        box=_rounded(sighting.box),
    )


def _is_whole(frame: Frame, sighting: Sighting) -> bool:
    x1, y1, x2, y2 = sighting.box
    return x1 > 1 and y1 > 1 and x2 < frame.width - 1 and y2 < frame.height - 1


def _attributes(sighting: Sighting) -> list[AttributeRecord]:
    return [
        AttributeRecord(class_name=one.name, score=round(one.score, 4), model=one.model or msgspec.UNSET)
        for one in sighting.attributes
    ]


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(value, 2) for value in box)
    return x1, y1, x2, y2
