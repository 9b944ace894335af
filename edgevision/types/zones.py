"""What zones and lines say after a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """One zone after a frame. Counts are by class name; a class without any is not in the mapping.

    Attributes:
        name: of the zone.
        inside: objects in it now.
        entries, exits: since the run began; ``entries - exits == inside`` for each class.
        attributes: objects in it now by the name of what a second model said of them.
    """

    name: str
    inside: Mapping[str, int]
    entries: Mapping[str, int]
    exits: Mapping[str, int]
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LineCount:
    """One line after a frame: crossings since the run began, by class name.

    Attributes:
        name: of the line.
        inward: crossings from its left to its right, looking from its start to its end.
        outward: crossings from its right to its left.
    """

    name: str
    inward: Mapping[str, int]
    outward: Mapping[str, int]


class ZoneEventKind(str, Enum):
    """What an object did in a zone or at a line."""

    ENTER = "enter"
    EXIT = "exit"
    IN = "in"
    """Crossed a line inward."""
    OUT = "out"
    """Crossed a line outward."""


@dataclass(frozen=True, slots=True)
class ZoneEvent:
    """What an object did between the previous frame and this one.

    Attributes:
        kind: what happened.
        place: name of the zone or line.
        track_id, class_name: of the object.
        time_s: when, on the source's clock; for one that disappeared inside a zone, when it was last seen.
        dwell_s: time spent in the zone, for :attr:`ZoneEventKind.EXIT`; else None.
        attributes: names of what a second model last said of the object.
        reason: why it left other than across the border: ``vanished``, ``source lost`` or ``zone changed``;
            else None.
    """

    kind: ZoneEventKind
    place: str
    track_id: int
    class_name: str
    time_s: float
    dwell_s: float | None = None
    attributes: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ZoneReport:
    """Zones and lines after a frame.

    Attributes:
        zones, lines: counts, in the order of the file.
        events: what happened in this frame.
        dwell_s: for each track that is in a zone, the zones' names and the seconds spent there so far.
    """

    zones: tuple[ZoneCount, ...] = ()
    lines: tuple[LineCount, ...] = ()
    events: tuple[ZoneEvent, ...] = ()
    dwell_s: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
