"""Events and recordings of a stream, opened for a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.events import EventObserver, EventSink, Outlet, open_outlet
from edgevision.events.mqtt import BrokerAddress, MqttOutlet
from edgevision.events.sink import jpeg_keeper
from edgevision.files import refuse_existing
from edgevision.recording import Recorder, SegmentStore, SightTrigger
from edgevision.session.outputs import make_folder, names_folder, safe_name
from edgevision.session.spec import StreamSpec
from edgevision.video import Sink
from edgevision.video.base import SourceInfo


def open_watchers(
    spec: StreamSpec,
    info: SourceInfo,
    classes: Sequence[Sequence[str]],
    conf_threshold: float,
    *,
    claim: Callable[[str], bool],
    several: bool,
    overwrite: bool,
    threads: int,
    opened: contextlib.ExitStack,
) -> list[Sink]:
    """The sinks that ``--events`` and ``--record`` ask for.

    Args:
        spec: what the user wants of the stream.
        info: its source.
        classes: each model's class names.
        conf_threshold: what the user wants to see.
        claim: takes an output for this stream; False where another stream of the run has it.
        several: the run has more than one stream, so each has topics of its own.
        overwrite: files of events may be replaced.
        threads: of the encoder.
        opened: closes the sinks.

    Raises:
        EdgeVisionError: an output cannot be made, or no model has a class that was named.
    """
    plan = spec.recording
    trigger = None if plan is None or plan.classes is None else SightTrigger(plan.classes, classes)
    stem = _own_stem(spec, info, claim)
    sinks: list[Sink] = []
    if spec.events:
        keeper = None
        if spec.event_pictures is not None:
            make_folder(Path(spec.event_pictures))
            keeper = jpeg_keeper(Path(spec.event_pictures))
        outlets = []
        for address in spec.events:
            if (
                "://" not in address
                and address.endswith(".jsonl")
                and not claim(str(Path(address).resolve()))
            ):
                raise UsageError(f"two streams tell events to {address}; give each a file or a folder")
            outlets.append(_open_outlet(address, stem, several, overwrite, opened))
        observer = EventObserver(keeper, confirm_score=conf_threshold)
        sinks.append(opened.enter_context(EventSink(outlets, classes, observer)))
    if plan is not None:
        make_folder(plan.folder)
        store = SegmentStore(plan.folder, stem, plan.keep)
        recorder = Recorder(
            store, info, plan.rotation, trigger, pre_s=plan.pre_s, post_s=plan.post_s, threads=threads
        )
        sinks.append(opened.enter_context(recorder))
    return sinks


def _own_stem(spec: StreamSpec, info: SourceInfo, claim: Callable[[str], bool]) -> str:
    """What this stream's events and files are called; with a number where another has the name."""
    place = info.path if info.path is not None else Path(info.name)
    stem = first = safe_name(spec.name or place.stem)
    number = 1
    while not claim(f"watched as {stem}"):
        number += 1
        stem = f"{first}-{number}"
    return stem


def _open_outlet(
    address: str, stem: str, several: bool, overwrite: bool, opened: contextlib.ExitStack
) -> Outlet:
    if "://" in address and several:  # each has its own availability
        broker = BrokerAddress.parse(address)
        client_id = broker.client_id and f"{broker.client_id}-{stem}"
        outlet: Outlet = MqttOutlet(replace(broker, prefix=f"{broker.prefix}/{stem}", client_id=client_id))
    elif "://" not in address and names_folder(Path(address)):
        make_folder(Path(address))
        outlet = open_outlet(str(Path(address) / f"{stem}.events.jsonl"), overwrite)
    else:
        outlet = open_outlet(address, overwrite)
    opened.callback(outlet.close)
    return outlet


def check_events(addresses: Sequence[str], several: bool, overwrite: bool) -> None:
    """Refuses addresses of events that cannot be, before anything is opened.

    Raises:
        UsageError: no address, or one file for several streams.
        SinkError: the file exists or its folder does not.
    """
    for address in addresses:
        if "://" in address:
            BrokerAddress.parse(address)
        elif not names_folder(Path(address)):
            if not address.endswith(".jsonl"):
                raise UsageError(
                    f"events cannot go to '{address}'; expected a .jsonl file, a folder or mqtt://host/prefix"
                )
            if several:
                raise UsageError(f"--events {address}: several streams need a folder, not one file")
            refuse_existing(address, overwrite)
