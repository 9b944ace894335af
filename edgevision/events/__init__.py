"""Events of tracked objects: ``new``, ``update`` and ``end`` for each."""

from edgevision.events.observer import EventObserver
from edgevision.events.outlets import EventFile, Outlet
from edgevision.events.records import BestFrame, Event, EventKind, ObjectState, read_events
from edgevision.events.sink import EventSink, find_outlet_plugin, open_outlet

__all__ = [
    "BestFrame",
    "Event",
    "EventFile",
    "EventKind",
    "EventObserver",
    "EventSink",
    "ObjectState",
    "Outlet",
    "find_outlet_plugin",
    "open_outlet",
    "read_events",
]
