"""Events as they are written and sent; docs/reference/events.md has the schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum

import msgspec

from edgevision.files import read_records

SCHEMA = 1

Box = tuple[float, float, float, float]


class EventKind(str, Enum):
    """What happened to an object."""

    NEW = "new"
    """It has appeared."""
    UPDATE = "update"
    """It changed its zones, or was seen with a better score than before."""
    END = "end"
    """It was no longer seen, or the run ended."""


class BestFrame(msgspec.Struct, frozen=True, kw_only=True, rename={"image": "picture"}):
    """The frame in which an object was seen best so far; see docs/reference/events.md."""

    frame: int
    time_s: float
    score: float
    box: Box
    image: str | msgspec.UnsetType = msgspec.UNSET


class AttributeRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """What a second model said of an object; see docs/reference/events.md."""

    class_name: str
    score: float
    model: str | msgspec.UnsetType = msgspec.UNSET


class ObjectState(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """An object at one moment; see docs/reference/events.md."""

    track_id: int
    class_name: str
    score: float
    box: Box
    first_s: float
    last_s: float
    sightings: int
    zones: list[str]
    visited: list[str]
    best: BestFrame
    attributes: list[AttributeRecord] | msgspec.UnsetType = msgspec.UNSET


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event; see docs/reference/events.md."""

    schema: int
    kind: EventKind
    id: str
    source: str
    stream: str | msgspec.UnsetType = msgspec.UNSET
    at: str
    before: ObjectState | None
    after: ObjectState
    reason: str | msgspec.UnsetType = msgspec.UNSET


def encode(event: Event) -> bytes:
    """One line of JSON, without the newline."""
    return msgspec.json.encode(event)


def read_events(path: str | os.PathLike[str]) -> Iterator[Event]:
    """Reads a file of events, one at a time.

    Raises:
        DataError: a line is not of this schema; the message says which.
    """
    return read_records(path, Event, (SCHEMA,))
