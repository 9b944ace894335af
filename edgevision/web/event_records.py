"""What is kept of events, and why each was sent, in words."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgevision.events.records import Event, EventKind


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds of one event, or of a recording that began or ended.

    Attributes:
        key: unique, so that an entry that is read twice counts once.
        stream: name of the stream.
        run: names the process that wrote it; times of the source mean something within it.
        event: the event; None for a recording.
        path, first_s, first_ms: of a recording: its file, and the time of its first image.
        last_s: of a recording that has ended: the time of its last image; then there is no first one.
    """

    key: str
    stream: str
    run: str
    event: Event | None = None
    path: str = ""
    first_s: float = 0.0
    first_ms: int = 0
    last_s: float | None = None


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as the page lists it.

    Attributes:
        id: unique.
        stream, class_name, score: where, what, and how sure; the best score.
        zones: that it was in, in the order of its visits.
        first_ms, last_ms: when it was first and last seen (UTC, milliseconds since 1970).
        is_over: it was not seen any more, or the run ended.
        has_image: there is one of its best sighting.
        has_clip: there is a recording of it.
    """

    id: str
    stream: str
    class_name: str
    score: float
    zones: list[str]
    first_ms: int
    last_ms: int
    is_over: bool
    has_image: bool
    has_clip: bool


class Change(msgspec.Struct, frozen=True):
    """Why an event was sent, and when (UTC, milliseconds since 1970)."""

    kind: str
    at_ms: int
    why: str


class Clip(msgspec.Struct, frozen=True):
    """A recording of an object.

    Attributes:
        path: the file.
        start_s: seconds from its start until the object was first seen.
        end_s: until it was last seen.
    """

    path: Path
    start_s: float
    end_s: float


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects are wanted; None for any.

    Attributes:
        before: the last one that was listed: its ``first_ms`` and ``id``.
    """

    stream: str | None = None
    class_name: str | None = None
    zone: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


def why(event: Event) -> str:
    """Why an event was sent, in words."""
    after, before = event.after, event.before
    if event.kind is EventKind.NEW or before is None:
        where = f", in {', '.join(after.zones)}" if after.zones else ""
        return f"seen {after.sightings} times, last with a score of {after.score:.2f}{where}"
    if event.kind is EventKind.END:
        reason = "" if isinstance(event.reason, msgspec.UnsetType) else event.reason
        return "no longer seen" if reason == "vanished" else reason or "over"
    entered = [f"entered {name}" for name in after.zones if name not in before.zones]
    left = [f"left {name}" for name in before.zones if name not in after.zones]
    return ", ".join(entered + left) or f"seen better, with a score of {after.best.score:.2f}"
