"""Which objects are in which zone, for how long, and which have crossed which line."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from edgevision.tracking.naming import chooses, may_choose
from edgevision.tracking.sightings import Sighting
from edgevision.tracking.zones import BoxPoint, Line, Point, Zone, ZoneLayout, segments_intersect, side_of
from edgevision.types import FloatArray, LineCount, ZoneCount, ZoneEvent, ZoneEventKind, ZoneReport

_LOG = logging.getLogger(__name__)
VANISHED, SOURCE_LOST, ZONE_CHANGED = "vanished", "source lost", "zone changed"
"""Why an object left a zone other than across its border."""

_GRID, _REFINEMENTS = 33, 3  # to find the point of a zone that is deepest inside


@dataclass(slots=True)
class _Track:
    class_name: str
    last_s: float
    entered_s: dict[str, float] = field(default_factory=dict)
    """Zones that it is in, and the time of entry."""
    last_clear: dict[str, Point] = field(default_factory=dict)
    """For each line, its last position beyond the margin on either side."""
    attributes: tuple[str, ...] = ()
    """Names of what a second model last said of it."""


class _PlaceCounts:
    """Counts of one zone or line by class."""

    def __init__(self) -> None:
        self.gained: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    def inside(self) -> dict[str, int]:
        return dict(self.gained - self.lost)


class ZoneMonitor:
    """Follows one stream's tracked objects through zones and over lines.

    The position of an object is its box point. It enters a zone once that is inside by more than the margin
    (in its first frame: inside at all), and leaves it once outside by more than the margin, so a box that
    jitters on a border counts once. Times are the source's. Its class is that of its first frame. An object
    that is not seen for ``vanish_s`` has left its zones; its exit has the time when it was last seen. One in
    a zone that is changed or removed has left it, too.

    Where a place counts by what a second model says, an object enters a zone once it is inside and that was
    said of it, and then stays until it leaves; it crosses a line if that was said last.

    A zone or line that nothing can enter or cross, for its margin or because it lies outside the image, is
    logged as a warning once the size of the images is known.

    Args:
        layout: zones and lines.
        before: the monitor of the layout that this one replaces: places that did not change keep their
            counts, and objects that are in them stay there.

    Attributes:
        layout: as given.
    """

    def __init__(self, layout: ZoneLayout, before: ZoneMonitor | None = None) -> None:
        self.layout = layout
        self._tracks: dict[int, _Track] = {}
        places: list[Zone | Line] = [*layout.zones, *layout.lines]
        self._place_counts = {place.name: _PlaceCounts() for place in places}
        self._untold: list[ZoneEvent] = []  # for the next report
        if before is not None:
            self._take_over(before, places)
        self._counts = self._snapshot()
        self._size = (0, 0)
        self._polygons: list[FloatArray] = []
        self._ends: list[tuple[Point, Point]] = []
        self._margin_px = 0.0
        self._now_s: float = 0.0 if before is None else before._now_s
        self._warned: set[str] = set()

    def _take_over(self, before: ZoneMonitor, places: Sequence[Zone | Line]) -> None:
        earlier: list[Zone | Line] = [*before.layout.zones, *before.layout.lines]
        is_same_scale = before.layout.units is self.layout.units
        kept = {place.name for place in places if is_same_scale and place in earlier}
        for name in kept:
            self._place_counts[name] = before._place_counts[name]
        for track_id, track in before._tracks.items():
            entered = {name: since for name, since in track.entered_s.items() if name in kept}
            clear = {name: point for name, point in track.last_clear.items() if name in kept}
            self._tracks[track_id] = _Track(track.class_name, track.last_s, entered, clear)
            self._untold += [
                before._event(ZoneEventKind.EXIT, name, track_id, track, track.last_s - since, ZONE_CHANGED)
                for name, since in track.entered_s.items()
                if name not in kept
            ]
        self._untold = before._untold + self._untold

    def update(self, seen: Sequence[Sighting], time_s: float, size: tuple[int, int]) -> ZoneReport:
        """Takes one frame; call it for every frame in order, including those without objects.

        Args:
            seen: its tracked objects.
            time_s: on the source's clock, in seconds; a time before the previous one counts as equal to it.
            size: of the frame, ``(width, height)`` in pixels.
        """
        self._scale_to(size)
        self._now_s = max(time_s, self._now_s)
        events, self._untold = self._untold, []
        changed = False
        for one in seen:
            track = self._tracks.get(one.track_id)
            is_new = track is None
            if track is None:
                track = self._tracks[one.track_id] = _Track(one.class_name, self._now_s)
            track.last_s = self._now_s
            names = tuple(dict.fromkeys(said.name for said in one.attributes))
            changed = changed or (names != track.attributes and bool(track.entered_s))
            track.attributes = names
            for zone, polygon in zip(self.layout.zones, self._polygons, strict=True):
                # Who counted once stays until it leaves, whatever is said of it later: exits follow entries.
                if zone.name in track.entered_s or _counts(zone, track):
                    events += self._visit(zone, polygon, one, track, is_new)
            for line, ends in zip(self.layout.lines, self._ends, strict=True):
                if line.classes is None or may_choose(line.classes, track.class_name):
                    events += self._cross(line, ends, one, track)
        gone = [
            track_id
            for track_id, track in self._tracks.items()
            if self._now_s - track.last_s > self.layout.vanish_s
        ]
        events += self._remove(gone, VANISHED)
        if events or changed:
            self._counts = self._snapshot()
        return self._report(events)

    def lose(self) -> ZoneReport:
        """Nothing can be seen any more: every object has left its zones.

        The next report has these exits, too.
        """
        gone = self._remove(list(self._tracks), SOURCE_LOST)
        self._untold += gone
        self._counts = self._snapshot()
        return self._report(gone)

    def _report(self, events: Sequence[ZoneEvent]) -> ZoneReport:
        zones, lines = self._counts
        dwell = {
            track_id: {name: self._now_s - since for name, since in track.entered_s.items()}
            for track_id, track in self._tracks.items()
            if track.entered_s
        }
        return ZoneReport(zones, lines, tuple(events), dwell)

    def _scale_to(self, size: tuple[int, int]) -> None:
        if size == self._size:
            return
        self._size = size
        layout = self.layout
        self._polygons = [layout.pixels(zone.polygon, *size) for zone in layout.zones]
        ends = [layout.pixels((line.start, line.end), *size).tolist() for line in layout.lines]
        self._ends = [((a[0], a[1]), (b[0], b[1])) for a, b in ends]
        self._margin_px = layout.margin_px(*size)
        for track in self._tracks.values():  # positions in another size cannot be compared
            track.last_clear.clear()
        self._warn_of_dead_places()

    def _warn_of_dead_places(self) -> None:
        width, height = self._size
        margin = f"the margin of {self._margin_px:.3g} px at {width}x{height}"
        found: list[tuple[str, str, str]] = []
        for zone, polygon in zip(self.layout.zones, self._polygons, strict=True):
            depth = greatest_depth(polygon, self._size)
            if depth is None:
                found.append((zone.name, "zone", f"lies outside the image ({width}x{height})"))
            elif depth <= self._margin_px:
                reason = (
                    f"is too thin: no point of it is further inside than {margin}, so nothing can enter it"
                )
                found.append((zone.name, "zone", reason))
        for line, ends in zip(self.layout.lines, self._ends, strict=True):
            corners: list[Point] = [(0, 0), (width, 0), (0, height), (width, height)]
            sides = [side_of(*ends, corner) for corner in corners]
            if min(sides) >= -self._margin_px or max(sides) <= self._margin_px:
                reason = f"leaves no room on one of its sides beyond {margin}, so nothing can cross it"
                found.append((line.name, "line", reason))
            elif not cv2.clipLine((0, 0, width + 1, height + 1), *[(round(x), round(y)) for x, y in ends])[0]:
                found.append((line.name, "line", f"lies outside the image ({width}x{height})"))
        for name, kind, reason in found:
            if name not in self._warned:
                self._warned.add(name)
                _LOG.warning("%s '%s' %s; move it, or set another 'margin' or 'units'", kind, name, reason)

    def _visit(
        self, zone: Zone, polygon: FloatArray, one: Sighting, track: _Track, is_new: bool
    ) -> list[ZoneEvent]:
        depth = cv2.pointPolygonTest(polygon, _position(zone, one), measureDist=True)
        is_inside = zone.name in track.entered_s
        if not is_inside and (depth > self._margin_px or (is_new and depth >= 0)):
            track.entered_s[zone.name] = self._now_s
            self._place_counts[zone.name].gained[track.class_name] += 1
            return [self._event(ZoneEventKind.ENTER, zone.name, one.track_id, track)]
        if is_inside and depth < -self._margin_px:
            return [self._exit(zone.name, one.track_id, track)]
        return []

    def _cross(self, line: Line, ends: tuple[Point, Point], one: Sighting, track: _Track) -> list[ZoneEvent]:
        here = _position(line, one)
        side = side_of(*ends, here)
        if abs(side) <= self._margin_px:
            return []
        before = track.last_clear.get(line.name)
        track.last_clear[line.name] = here
        if before is None or side_of(*ends, before) * side > 0 or not segments_intersect(*ends, before, here):
            return []
        if not _counts(line, track):
            return []
        counts = self._place_counts[line.name]
        kind = ZoneEventKind.IN if side > 0 else ZoneEventKind.OUT
        (counts.gained if side > 0 else counts.lost)[track.class_name] += 1
        return [self._event(kind, line.name, one.track_id, track)]

    def _remove(self, track_ids: Sequence[int], reason: str) -> list[ZoneEvent]:
        events = []
        for track_id in track_ids:
            track = self._tracks.pop(track_id)
            events += [self._exit(name, track_id, track, reason) for name in list(track.entered_s)]
        return events

    def _exit(self, name: str, track_id: int, track: _Track, reason: str | None = None) -> ZoneEvent:
        self._place_counts[name].lost[track.class_name] += 1
        dwell_s = track.last_s - track.entered_s.pop(name)
        return self._event(ZoneEventKind.EXIT, name, track_id, track, dwell_s, reason)

    def _event(
        self,
        kind: ZoneEventKind,
        name: str,
        track_id: int,
        track: _Track,
        dwell_s: float | None = None,
        reason: str | None = None,
    ) -> ZoneEvent:
        return ZoneEvent(
            kind, name, track_id, track.class_name, track.last_s, dwell_s, track.attributes, reason
        )

    def _snapshot(self) -> tuple[tuple[ZoneCount, ...], tuple[LineCount, ...]]:
        def of(place: Zone | Line) -> _PlaceCounts:
            return self._place_counts[place.name]

        zones = tuple(
            ZoneCount(
                zone.name,
                of(zone).inside(),
                dict(of(zone).gained),
                dict(of(zone).lost),
                dict(Counter(said for one in self._in(zone) for said in one.attributes)),
            )
            for zone in self.layout.zones
        )
        lines = tuple(
            LineCount(line.name, dict(of(line).gained), dict(of(line).lost)) for line in self.layout.lines
        )
        return zones, lines

    def _in(self, zone: Zone) -> list[_Track]:
        return [track for track in self._tracks.values() if zone.name in track.entered_s]


def greatest_depth(polygon: FloatArray, size: tuple[int, int]) -> float | None:
    """How far inside a zone an object can be, in pixels, to about a thousandth of its size.

    A grid over the zone's part of the image, refined around its best point; negative for a sliver that the
    grid misses.

    Args:
        polygon: float32 ``[P, 2]``, in pixels.
        size: of the image, ``(width, height)``.

    Returns:
        The distance from the border of the zone, or None where all of it is outside the image.
    """
    low = np.maximum(polygon.min(axis=0), 0)
    high = np.minimum(polygon.max(axis=0), size)
    if (low > high).any():
        return None
    best = -np.inf
    bounds = low, high
    for _ in range(_REFINEMENTS):
        xs, ys = (np.linspace(low[axis], high[axis], _GRID) for axis in (0, 1))
        points = [(float(x), float(y)) for y in ys for x in xs]
        depths = [cv2.pointPolygonTest(polygon, point, measureDist=True) for point in points]
        place = int(np.argmax(depths))
        best = max(best, depths[place])
        step = 1.5 * (high - low) / (_GRID - 1)
        centre = np.array(points[place], np.float32)
        low, high = np.maximum(centre - step, bounds[0]), np.minimum(centre + step, bounds[1])
    return float(best)


def _counts(place: Zone | Line, track: _Track) -> bool:
    return place.classes is None or chooses(place.classes, track.class_name, track.attributes)


def _position(place: Zone | Line, one: Sighting) -> Point:
    x1, y1, x2, y2 = one.box
    return (x1 + x2) / 2, y2 if place.anchor is BoxPoint.BOTTOM_CENTRE else (y1 + y2) / 2
