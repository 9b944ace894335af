"""Events as a sink of the pipeline: takes results, and gives events to outlets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2

from edgevision.closeable import close_each
from edgevision.errors import SinkError, UsageError
from edgevision.events.mqtt import BrokerAddress, MqttOutlet
from edgevision.events.observer import EventObserver
from edgevision.events.outlets import EventFile, Outlet
from edgevision.events.records import Event, EventKind
from edgevision.files import atomic_path, refuse_existing
from edgevision.plugins import OUTLETS, find_plugin, scheme_of
from edgevision.tracking.naming import chooses
from edgevision.tracking.sightings import sightings
from edgevision.types import FrameResult, Image
from edgevision.video.base import Delivery, Sink

_LOG = logging.getLogger(__name__)


def find_outlet_plugin(address: str) -> Callable[[str], Outlet] | None:
    """The outlet that an installed package provides for this kind of address; None for files and brokers.

    Raises:
        PluginError: the package cannot be loaded.
    """
    scheme = scheme_of(address)
    return None if scheme in ("mqtt", "mqtts") else find_plugin(OUTLETS, scheme)


def open_outlet(address: str, overwrite: bool = False, append: bool = False) -> Outlet:
    """Opens the outlet that an address names: a ``.jsonl`` file, ``mqtt[s]://``, or a package's own.

    Raises:
        UsageError: it is none of these, or the MQTT library is not installed.
        SinkError: the file exists or cannot be created, or a certificate cannot be read.
        PluginError: a package that provides this kind of address cannot be loaded.
    """
    plugin = find_outlet_plugin(address)
    if plugin is not None:
        return plugin(address)
    if "://" in address:
        return MqttOutlet(BrokerAddress.parse(address))
    if not address.endswith(".jsonl"):
        raise UsageError(f"events cannot go to '{address}'; expected a .jsonl file or mqtt://host/prefix")
    path = Path(address)
    refuse_existing(path, overwrite or append)
    return EventFile(path, append)


def jpeg_keeper(folder: Path) -> Callable[[str, Image], str | None]:
    """Keeps each object's best crop as ``ID.jpg`` in ``folder``; see :class:`EventObserver`.

    An image that cannot be written is missing from its events; the first failure is logged.
    """
    failures: list[str] = []

    def keep(object_id: str, crop: Image) -> str | None:
        path = folder / f"{object_id}.jpg"
        try:
            _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 90])
            with atomic_path(path) as partial:
                partial.write_bytes(data.tobytes())
        except (SinkError, cv2.error) as error:
            if not failures:
                _LOG.error("images of events cannot be written to %s: %s", folder, error)
            failures.append(object_id)
            return None
        return str(path)

    return keep


class EventSink(Sink):
    """Gives the events of objects to outlets as they happen. Needs results with track ids.

    Args:
        outlets: where events go; closed with the sink.
        observer: follows the objects.
        only: names of what to report, see :mod:`edgevision.tracking.naming`; None for all.

    Attributes:
        counts: events so far, by kind.
    """

    def __init__(
        self,
        outlets: Sequence[Outlet],
        observer: EventObserver | None = None,
        only: Sequence[str] | None = None,
    ) -> None:
        super().__init__(", ".join(outlet.name for outlet in outlets))
        self.counts = dict.fromkeys(EventKind, 0)
        self._outlets = outlets
        self._observer = EventObserver() if observer is None else observer
        self._only = only
        self._is_finished = False

    def write(self, result: FrameResult, image: Image) -> None:
        seen = sightings(result)
        if self._only is not None:
            only = self._only
            seen = [one for one in seen if chooses(only, one.class_name, (a.name for a in one.attributes))]
        for event in self._observer.update(result.frame, seen, result.zones, result.stream):
            self._publish(event)

    def source_lost(self) -> None:
        """Ends every object."""
        for event in self._observer.finish("source lost"):
            self._publish(event)

    def deliveries(self) -> tuple[Delivery, ...]:
        """The account of each outlet; see :meth:`~edgevision.video.base.Sink.deliveries`."""
        return tuple(outlet.delivery() for outlet in self._outlets)

    def close(self) -> None:
        """Ends every object and delivers waiting events, within seconds.

        No outlet waits for another, as they would for a file on a disk that takes nothing any more.

        Raises:
            SinkError: a file took none of its events, because its disk was full all the time.
            Exception: what an outlet raised; the others are closed.
        """
        if self._is_finished:
            return
        self._is_finished = True
        last = self._observer.finish()
        for event in last:
            self.counts[event.kind] += 1
        try:
            close_each([partial(_finish, outlet, last) for outlet in self._outlets], f"finish {self.name}")
        finally:
            self.notes += map(_account, self._outlets)
        for outlet in self._outlets:
            if isinstance(outlet, EventFile) and outlet.lost and not outlet.taken:
                raise SinkError(f"{outlet.delivery().alarm}; none of {outlet.lost} events was written")

    def _publish(self, event: Event) -> None:
        self.counts[event.kind] += 1
        for outlet in self._outlets:
            outlet.publish(event)


def _finish(outlet: Outlet, last: Sequence[Event]) -> None:
    """Closes an outlet with its last events."""
    try:
        for event in last:
            outlet.publish(event)
    finally:
        outlet.close()


def _account(outlet: Outlet) -> str:
    lost = f", {outlet.lost} lost" if outlet.lost else ""
    return f"{outlet.name}: {outlet.taken} {'event' if outlet.taken == 1 else 'events'}{lost}"
