"""Events and recordings of a stream, opened for a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.errors import UsageError
from edgevision.events import EventObserver, EventSink, Outlet, find_outlet_plugin, open_outlet
from edgevision.events.mqtt import BrokerAddress, MqttOutlet
from edgevision.events.sink import jpeg_keeper
from edgevision.files import make_folder, safe_name
from edgevision.recording import Recorder, SegmentStore, SightTrigger
from edgevision.session.models import RunModels
from edgevision.session.outputs import names_folder
from edgevision.session.shared import Shared
from edgevision.session.spec import StreamSpec, listed
from edgevision.tracking.scene import LateScene, Scene
from edgevision.types import FrameResult
from edgevision.video import Sink
from edgevision.video.base import SourceInfo

if TYPE_CHECKING:  # loaded only for a page
    from edgevision.web.event_store import EventStore
    from edgevision.web.hub import StreamView


def open_watchers(
    spec: StreamSpec,
    info: SourceInfo,
    shared: Shared,
    models: RunModels,
    opened: contextlib.ExitStack,
    view: StreamView | None = None,
    scene: Scene | LateScene | None = None,
) -> list[Sink]:
    """The sinks of events and recordings.

    Args:
        spec: what the user wants of the stream.
        info: its source.
        shared: what all streams have in common. Where there are several, each has topics of its own.
        models: what answers the stream.
        opened: closes the sinks.
        view: the stream as the page knows it; None where there is no page.
        scene: its tracker, which has the zones; None where nothing is tracked.

    Raises:
        EdgeVisionError: an output cannot be made, or no model has a class that was named.
    """
    plan, trigger = spec.recording, None
    if plan is not None and plan.classes is not None:
        trigger = SightTrigger(plan.classes, models.classes, models.attributes)
    stem = _own_stem(spec, info, shared)
    sinks: list[Sink] = []
    if spec.events:
        keeper = None
        if spec.event_pictures is not None:
            make_folder(Path(spec.event_pictures))
            keeper = jpeg_keeper(Path(spec.event_pictures))
        outlets = [_open_outlet(address, stem, shared, opened) for address in spec.events]
        only = listed(spec.event_classes)
        sinks.append(opened.enter_context(EventSink(outlets, EventObserver(keeper), only)))
    if plan is not None:
        make_folder(plan.folder)
        store, files = SegmentStore(plan.folder, stem, plan.keep), _files_of_page(view, shared)
        recorder = Recorder(
            store,
            info,
            plan.rotation,
            trigger,
            pre_s=plan.pre_s,
            post_s=plan.post_s,
            threads=shared.budget.encode,
            on_file=None if files is None else files.begin,
            on_file_end=None if files is None else files.end,
            describe=None if plan.is_drawn else _describer(scene),
            on_encoded=None if plan.is_drawn or view is None else view.tile.take,
        )
        if view is not None:
            view.recordings, view.stem = plan.folder, store.stem
        sinks.append(opened.enter_context(recorder))
    return sinks


def _describer(scene: Scene | LateScene | None) -> Callable[[FrameResult], bytes]:
    """Says what was found in a frame, as the page draws it."""
    from edgevision.web.drawings import Describer

    return Describer(lambda: None if scene is None else scene.layout)


class _FilesOfPage:
    """Enters each file of a recording among the events, so that the page finds their clips."""

    def __init__(self, store: EventStore, stream: str) -> None:
        self._store, self._stream = store, stream

    def begin(self, path: Path, first_s: float, age_s: float) -> None:
        self._store.add_file(self._stream, path, first_s, round((time.time() - age_s) * 1e3))

    def end(self, path: Path, last_s: float) -> None:
        self._store.end_file(self._stream, path, last_s)


def _files_of_page(view: StreamView | None, shared: Shared) -> _FilesOfPage | None:
    store = None if shared.hub is None else shared.hub.store
    return None if view is None or store is None else _FilesOfPage(store, view.name)


def _own_stem(spec: StreamSpec, info: SourceInfo, shared: Shared) -> str:
    """What this stream's events and files are called; with a number where another has the name."""
    place = info.path if info.path is not None else Path(info.name)
    stem = first = safe_name(spec.name or place.stem)
    number = 1
    while not shared.claim(f"watched as {stem}"):
        number += 1
        stem = f"{first}-{number}"
    return stem


def _open_outlet(address: str, stem: str, shared: Shared, opened: contextlib.ExitStack) -> Outlet:
    overwrite, append = shared.request.overwrite, shared.request.append
    is_broker = "://" in address and find_outlet_plugin(address) is None
    if is_broker and shared.several:  # each has its own availability
        broker = BrokerAddress.parse(address)
        client_id = broker.client_id and f"{broker.client_id}-{stem}"
        outlet: Outlet = MqttOutlet(replace(broker, prefix=f"{broker.prefix}/{stem}", client_id=client_id))
    elif "://" not in address and names_folder(Path(address)):
        make_folder(Path(address))
        outlet = open_outlet(str(Path(address) / f"{stem}.events.jsonl"), overwrite, append)
    elif "://" in address or shared.claim(str(Path(address).resolve())):
        outlet = open_outlet(address, overwrite, append)
    else:
        raise UsageError(f"another output writes {address}; give each a file of its own, or a folder")
    opened.callback(outlet.close)
    return outlet
