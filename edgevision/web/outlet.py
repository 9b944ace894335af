"""Where a stream's events go that the page keeps."""

from __future__ import annotations

from edgevision.closeable import Closeable
from edgevision.events import Event
from edgevision.video.base import Delivery
from edgevision.web.event_store import EventStore


class StoreOutlet(Closeable):
    """An :class:`~edgevision.events.Outlet` into a store that several streams share.

    Args:
        store: is not closed with it.
        stream: name of the stream.
    """

    def __init__(self, store: EventStore, stream: str) -> None:
        self.name = f"events of the page: {stream}"
        self._store, self._stream = store, stream
        self._taken = 0

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def lost(self) -> int:
        return self._store.delivery().lost

    def publish(self, event: Event) -> None:
        self._taken += 1
        self._store.add(self._stream, event)

    def delivery(self) -> Delivery:
        return self._store.delivery()

    def close(self) -> None:
        """Nothing: the store is closed with the run."""
