"""Destinations of events: the protocol, and a file of JSON lines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from edgevision.closeable import Closeable
from edgevision.errors import SinkError
from edgevision.events.records import Event, encode
from edgevision.files import LineFile
from edgevision.video.base import Delivery

_LOG = logging.getLogger(__name__)


class Outlet(Closeable, Protocol):
    """Takes events without delaying the run: ``publish`` neither waits nor raises.

    One thread uses it at a time; the last events and the close may come from another one than those before.

    Attributes:
        name: as users see it, without credentials.
        taken: events that were delivered.
        lost: events that will never be.
    """

    name: str

    @property
    def taken(self) -> int: ...

    @property
    def lost(self) -> int: ...

    def publish(self, event: Event) -> None:
        """Takes one event; one that cannot be delivered is counted in ``lost``."""
        ...

    def delivery(self) -> Delivery:
        """The account now; from any thread."""
        ...

    def close(self) -> None:
        """Delivers waiting events, within seconds; the rest are lost. Safe to call twice."""
        ...


class EventFile(Closeable):
    """One event a line. While the disk is full, events are lost and counted; it resumes once there is room.

    Args:
        path: the file.
        append: continue an existing file after its last complete line; otherwise it is overwritten.

    Raises:
        SinkError: it cannot be created.
    """

    def __init__(self, path: Path, append: bool = False) -> None:
        self.name = str(path)
        self.taken = self.lost = 0
        self._file = LineFile(path, append)
        self._failure: str | None = None

    def publish(self, event: Event) -> None:
        try:
            self._file.write(encode(event))
        except SinkError as error:
            self.lost += 1
            if self._failure is None:  # one line for a disk that is full for hours
                _LOG.error("events are being lost: %s", error)
            self._failure = str(error)
            return
        self.taken += 1
        if self._failure is not None:
            _LOG.warning("%s: events are written again; %d lost so far", self.name, self.lost)
        self._failure = None

    def delivery(self) -> Delivery:
        return Delivery(
            output=self.name, kind="events", delivered=self.taken, lost=self.lost, alarm=self._failure
        )

    def close(self) -> None:
        self._file.close()
