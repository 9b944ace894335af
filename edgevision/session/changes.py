"""What a file of streams that is read again changes in those that run."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from edgevision.session.settings import STREAM_SETTINGS
from edgevision.session.spec import StreamSpec


@dataclass(frozen=True, slots=True)
class StreamChange:
    """A stream of a file that is read again.

    Attributes:
        position: in the file.
        spec: what it asks for.
        name: of the stream that runs and that it is; None for a new one without a name.
        before: what was asked of that stream; None for a new one.
    """

    position: int
    spec: StreamSpec
    name: str | None = None
    before: StreamSpec | None = None

    @property
    def begins_again(self) -> bool:
        """Something differs that cannot change while it runs."""
        if self.before is None:
            return False
        fields = StreamSpec.__struct_fields__
        changed = {one for one in fields if getattr(self.before, one) != getattr(self.spec, one)}
        return not changed <= _LIVE


_LIVE = {setting.name for setting in STREAM_SETTINGS if setting.is_live}


@dataclass(slots=True)
class StreamChanges:
    """What a file that is read again changes.

    Attributes:
        streams: those of the file.
        removed: names of streams that it has no more.
        added, restarted, adjusted, paused: names, once it is in force.
        refused: names of those that should have begun, and do not run.
    """

    streams: list[StreamChange]
    removed: list[str]
    added: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    adjusted: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what} ({', '.join(names)})"
            for what, names in (
                ("added", self.added),
                ("removed", self.removed),
                ("changed", self.adjusted),
                ("begun again", self.restarted),
                ("paused", self.paused),
                ("refused", self.refused),
            )
            if names
        ]
        return "in force: " + ", ".join(parts) if parts else "nothing has changed"


def find_changes(running: Mapping[str, StreamSpec], specs: Sequence[StreamSpec]) -> StreamChanges:
    """Which stream of a file is which of those that run: by its name, or without one by its source.

    Args:
        running: what was asked of each stream, by its name.
        specs: the streams of the file.
    """
    left = dict(running)
    found: list[StreamChange] = []
    for position, spec in enumerate(specs):
        name = spec.name or next(
            (one for one, before in left.items() if not before.name and before.source == spec.source), None
        )
        before = None if name is None else left.pop(name, None)
        found.append(StreamChange(position, spec, name, before))
    return StreamChanges(found, list(left))


def free_name(name: str, *taken: Collection[str]) -> str:
    """The name, with a number behind it where another stream has it."""
    numbers = itertools.count(2)
    found = name
    while any(found in names for names in taken):
        found = f"{name} ({next(numbers)})"
    return found
