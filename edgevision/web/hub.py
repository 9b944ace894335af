"""What the page knows of a run: its streams, each with what can be done to it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgevision.drawing.overlay import Colour, Overlay
from edgevision.files import safe_name
from edgevision.model import Model
from edgevision.pipeline import RunStatistics
from edgevision.tracking import ZoneLayout
from edgevision.video.base import SourceInfo
from edgevision.web.event_store import EventStore
from edgevision.web.live import Tile


class StreamControl(Protocol):
    """Changes which streams run; each method returns at once or after seconds, from any thread.

    All raise :class:`~edgevision.errors.EdgeVisionError` where it cannot be done.
    """

    def add(self, source: str, name: str, track: bool) -> str:
        """Opens a source as a new stream, and returns the stream's name."""
        ...

    def change(self, name: str, source: str | None, track: bool | None) -> None:
        """Gives a stream another source; None keeps what it has."""
        ...

    def remove(self, name: str) -> None:
        """Ends a stream; its outputs are finished."""
        ...

    def pause(self, name: str) -> None:
        """Ends reading; the stream stays in the list."""
        ...

    def resume(self, name: str) -> None:
        """Opens a paused stream again."""
        ...

    def paused(self) -> Sequence[str]:
        """Names of the streams that wait to be resumed."""
        ...


@dataclass(kw_only=True)
class StreamView:
    """One stream as the page knows it.

    Attributes:
        name: unique in the run.
        id: its name as a part of an address, unique too.
        tile: shows it live.
        classes: class names, each with its colour as CSS has it.
        attributes: what a second model can say of an object.
        zones_file: where its zones are kept, if it has any; None where they cannot be.
        layout: its zones now; None where there are none.
        layout_version: of the file that they were read from; see :meth:`change_layout`.
        set_layout: puts other zones in force; None where nothing can track.
        recordings: folder of its recordings; None where it is not recorded.
        stem: what its recordings begin with.
        is_tracked: its objects have ids, and events.
    """

    name: str
    id: str
    tile: Tile
    classes: dict[str, str]
    attributes: tuple[str, ...] = ()
    zones_file: Path | None = None
    layout: ZoneLayout | None = None
    layout_version: str = "none"
    set_layout: Callable[[ZoneLayout | None], None] | None = None
    recordings: Path | None = None
    stem: str = ""
    is_tracked: bool = False

    def change_layout(self, layout: ZoneLayout | None, version: str) -> None:
        """Other zones, which are in force.

        Args:
            layout: the zones; None for none.
            version: :func:`~edgevision.files.content_version` of their file, taken before they were read:
                where the file is saved meanwhile, nobody has the version that could replace what was saved.
        """
        self.layout = layout
        self.layout_version = version  # after it: who reads the version first has no older layout


class Hub:
    """Where a session and the server meet; safe to use from any thread.

    Attributes:
        read: the run now, such as ``pipeline.statistics``; None while nothing runs.
        control: adds and removes streams; None where that is not possible.
        store: keeps events; None where none are kept.
        zones_folder: zones that are drawn in the page are kept here, unless the stream has a file of them.
    """

    def __init__(self, store: EventStore | None = None, zones_folder: Path | None = None) -> None:
        self.store, self.zones_folder = store, zones_folder
        self.read: Callable[[], RunStatistics] | None = None
        self.control: StreamControl | None = None
        self._views: dict[str, StreamView] = {}
        self._lock = threading.Lock()

    def statistics(self) -> RunStatistics | None:
        """The run now; None while nothing runs."""
        return None if self.read is None else self.read()

    def open_view(self, name: str, info: SourceInfo, models: Sequence[Model]) -> StreamView:
        """A stream begins; one of the same name is over."""
        tile, classes = Tile(name, info), class_colours(models)
        with self._lock:
            before = self._views.get(name)
            view_id = self._free_id(name) if before is None else before.id
            view = StreamView(name=name, id=view_id, tile=tile, classes=classes)
            view.zones_file = self.own_zones_file(view)
            self._views[name] = view
        return view

    def own_zones_file(self, view: StreamView) -> Path | None:
        """Where zones are kept that are drawn in the page; None where they cannot be."""
        return None if self.zones_folder is None else self.zones_folder / f"{view.id}.zones.yaml"

    def remove_view(self, name: str) -> None:
        """The stream is not shown any more."""
        with self._lock:
            self._views.pop(name, None)

    def view(self, name: str) -> StreamView | None:
        with self._lock:
            return self._views.get(name)

    def by_id(self, view_id: str) -> StreamView | None:
        return next((one for one in self.views() if one.id == view_id), None)

    def views(self) -> list[StreamView]:
        """All, in the order in which they began."""
        with self._lock:
            return list(self._views.values())

    def _free_id(self, name: str) -> str:
        taken = {one.id for one in self._views.values()}
        first = safe_name(name)
        numbers = itertools.count(2)
        found = first
        while found in taken:
            found = f"{first}-{next(numbers)}"
        return found


def class_colours(models: Sequence[Model]) -> dict[str, str]:
    """The classes of all models, each with the colour that the drawn video gives it, as CSS has it."""
    found: dict[str, str] = {}
    for model in models:
        overlay = Overlay(model.manifest)
        for name, colour in zip(model.manifest.classes, overlay.colours, strict=True):
            found.setdefault(name, css_colour(colour))
    return found


def css_colour(colour: Colour) -> str:
    """``#rrggbb`` of blue, green and red."""
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
