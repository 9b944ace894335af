"""What one stream has counted: objects by id, entries, exits and stays of zones, crossings of lines."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from edgevision.tracking.sightings import Sighting
from edgevision.tracking.zones import ZoneLayout
from edgevision.types import ZoneEvent, ZoneEventKind, ZoneReport

_REMEMBERED_S = 600.0
"""How long an id is remembered after its object was last seen; the tracker gives it up after a second."""


class ZoneTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What one zone has counted; by class name, a class without any is not in a mapping.

    Attributes:
        classes: those that count; None for all.
        inside: objects in it now.
        entries, exits: since the stream began. They do not fall where the zone's outline is changed.
        dwell_s: seconds that all those who left had spent in it.
        mean_dwell_s, longest_dwell_s: of a stay, those that go on included; 0 where there is none.
    """

    classes: tuple[str, ...] | None = None
    inside: dict[str, int] = {}
    entries: dict[str, int] = {}
    exits: dict[str, int] = {}
    dwell_s: float = 0.0
    mean_dwell_s: float = 0.0
    longest_dwell_s: float = 0.0


class LineTotals(msgspec.Struct, frozen=True, kw_only=True, rename={"inward": "in", "outward": "out"}):
    """Crossings of one line by class name, since the stream began.

    Attributes:
        classes: those that count; None for all.
        inward, outward: crossings in either direction.
    """

    classes: tuple[str, ...] | None = None
    inward: dict[str, int] = {}
    outward: dict[str, int] = {}


class SceneCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a tracked stream has counted, at one moment.

    Attributes:
        objects: track ids that were seen, by class: each object once, not once a frame.
        in_view: tracked objects in the last frame, by class.
        zones, lines: by name, in the order of the zones file.
    """

    objects: dict[str, int] = {}
    in_view: dict[str, int] = {}
    zones: dict[str, ZoneTotals] = {}
    lines: dict[str, LineTotals] = {}


class _Stays:
    """The stays in one zone that have ended."""

    def __init__(self) -> None:
        self.count = 0
        self.total_s = self.longest_s = 0.0

    def add(self, dwell_s: float) -> None:
        self.count += 1
        self.total_s += dwell_s
        self.longest_s = max(self.longest_s, dwell_s)


class SceneCounter:
    """Counts what the frames of one stream bring. Written by one thread, read by any.

    Counts only grow, also where zones are changed, removed and added again under their name. An id is
    remembered for ten minutes after its object was last seen, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_s: dict[int, float] = {}
        self._forget_at_s = _REMEMBERED_S
        self._objects: Counter[str] = Counter()
        self._in_view: Counter[str] = Counter()
        self._happened: dict[ZoneEventKind, dict[str, Counter[str]]] = {kind: {} for kind in ZoneEventKind}
        self._stays: dict[str, _Stays] = {}
        self._report = ZoneReport()
        self._ahead: Sequence[ZoneEvent] = ()  # counted before the frame that tells them

    def add(self, seen: Sequence[Sighting], zones: ZoneReport | None, time_s: float) -> Mapping[str, int]:
        """Takes one frame; call it for every frame in order.

        Args:
            seen: its tracked objects.
            zones: zones and lines after it; None where there are none.
            time_s: on the source's clock, in seconds.

        Returns:
            The objects until now, by class.
        """
        with self._lock:
            for one in seen:
                if one.track_id not in self._last_s:
                    self._objects[one.class_name] += 1
                self._last_s[one.track_id] = time_s
            self._in_view = Counter(one.class_name for one in seen)
            if time_s >= self._forget_at_s:
                self._forget_at_s = time_s + _REMEMBERED_S
                oldest_s = time_s - _REMEMBERED_S
                self._last_s = {one: last_s for one, last_s in self._last_s.items() if last_s >= oldest_s}
            self._report = ZoneReport() if zones is None else zones
            self._count([event for event in self._report.events if event not in self._ahead])
            self._ahead = ()
            return dict(self._objects)

    def lose(self, zones: ZoneReport | None) -> None:
        """Nothing is in view any more.

        Args:
            zones: zones and lines after that; their events come again with the next frame.
        """
        with self._lock:
            self._in_view = Counter()
            if zones is not None:
                self._report, self._ahead = zones, zones.events
                self._count(zones.events)

    def _count(self, events: Iterable[ZoneEvent]) -> None:
        for event in events:
            of_place = self._happened[event.kind].setdefault(event.place, Counter())
            of_place[event.class_name] += 1
            if event.dwell_s is not None:
                self._stays.setdefault(event.place, _Stays()).add(event.dwell_s)

    def take_over(self, before: SceneCounter) -> None:
        """Goes on from what a stream of the same name had counted, whose ids are not this one's."""
        if before is self:
            return
        with before._lock, self._lock:
            self._objects = Counter(before._objects)
            self._happened = {
                kind: {place: Counter(counts) for place, counts in places.items()}
                for kind, places in before._happened.items()
            }
            self._stays = dict(before._stays)

    def counts(self, layout: ZoneLayout | None) -> SceneCounts:
        """What was counted until now.

        Args:
            layout: the zones and lines to tell of, also of those at which nothing has happened yet.
        """
        with self._lock:
            zones, lines = ([], []) if layout is None else (layout.zones, layout.lines)
            return SceneCounts(
                objects=dict(self._objects.most_common()),
                in_view=dict(self._in_view.most_common()),
                zones={zone.name: self._zone(zone.name, zone.classes) for zone in zones},
                lines={
                    line.name: LineTotals(
                        classes=_classes(line.classes),
                        inward=self._events(ZoneEventKind.IN, line.name),
                        outward=self._events(ZoneEventKind.OUT, line.name),
                    )
                    for line in lines
                },
            )

    def _zone(self, name: str, classes: Iterable[str] | None) -> ZoneTotals:
        ended = self._stays.get(name, _Stays())
        ongoing = [stays[name] for stays in self._report.dwell_s.values() if name in stays]
        count = ended.count + len(ongoing)
        inside = next((dict(zone.inside) for zone in self._report.zones if zone.name == name), {})
        return ZoneTotals(
            classes=_classes(classes),
            inside=inside,
            entries=self._events(ZoneEventKind.ENTER, name),
            exits=self._events(ZoneEventKind.EXIT, name),
            dwell_s=round(ended.total_s, 3),
            mean_dwell_s=round((ended.total_s + sum(ongoing)) / count, 3) if count else 0.0,
            longest_dwell_s=round(max([ended.longest_s, *ongoing]), 3),
        )

    def _events(self, kind: ZoneEventKind, place: str) -> dict[str, int]:
        return dict(self._happened[kind].get(place, {}))


def _classes(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
