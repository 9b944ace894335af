"""All that is wrong with a file of streams, found without running it, and where each value comes from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevision.address import Address, display
from edgevision.config import read_document
from edgevision.contract.manifest import BOX_TASKS, Manifest
from edgevision.contract.model_file import read_manifest
from edgevision.errors import ConfigError, EdgeVisionError, UsageError, nearest
from edgevision.pipeline import ThreadBudget
from edgevision.session.models import find_models
from edgevision.session.outputs import WINDOW, names_folder, refuse_address
from edgevision.session.request import RunRequest
from edgevision.session.settings import STREAM_SETTINGS
from edgevision.session.spec import Origin, StreamSpec, has_effect, listed, understand_streams
from edgevision.session.streams import open_sources, place_of
from edgevision.tracking import ZoneLayout, load_zones
from edgevision.tracking.naming import problem_of
from edgevision.tracking.zones import Line, Zone
from edgevision.video import expand_sources, is_local
from edgevision.video.sinks.open import check_sink_address
from edgevision.video.sources.network import check_protocol
from edgevision.video.sources.options import SourceOptions
from edgevision.video.sources.pipe import ADDRESS as PIPE
from edgevision.video.sources.pipe import READ_TWICE


@dataclass(frozen=True, slots=True)
class EffectiveValue:
    """A value that is in force.

    Attributes:
        setting: its key.
        value: for people, without passwords.
        origin: where it comes from: an :class:`~edgevision.session.spec.Origin`, or ``zone 'gate'``.
    """

    setting: str
    value: str
    origin: str


@dataclass(slots=True)
class CheckedStream:
    """A stream of the file.

    Attributes:
        name: the stream's, or its source's.
        values: what is in force.
    """

    name: str
    values: list[EffectiveValue] = field(default_factory=list)


@dataclass(slots=True)
class StreamsCheck:
    """What was found.

    Attributes:
        streams: those of the file that can be understood.
        faults: what is wrong, a line each.
    """

    streams: list[CheckedStream] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def check_streams(path: Path, given: Mapping[str, Any], *, connect: bool = False) -> StreamsCheck:
    """Looks at a file of streams, and at all that it names; writes nothing and loads no engine.

    Args:
        path: the YAML file.
        given: settings that stand on the command line, which hold for every stream.
        connect: open every source too.
    """
    found = StreamsCheck()
    try:
        document = understand_streams(read_document(path), given)
    except ConfigError as error:
        found.faults.append(str(error))
        return found
    found.faults += document.faults
    specs = list(document.specs.values())
    try:
        run = RunRequest(streams=specs) if specs else None
    except UsageError as error:
        found.faults.append(str(error))
        run = None
    for position, spec in document.specs.items():
        name = spec.name or display(spec.source)
        faults: list[str] = []
        layout = None
        if run is not None:
            layout = _check_models(spec, run, faults)
        _check_source(spec, faults)
        _check_output(spec, faults)
        found.faults += [f"{name}: {fault}" for fault in faults]
        checked = CheckedStream(name)
        checked.values += effective_values(spec, document.origins[position], layout)
        found.streams.append(checked)
    found.faults += [*_shared_pipes(specs), *_shared_outputs(specs)]
    if connect:
        found.faults += _unreachable(specs)
    found.faults = list(dict.fromkeys(found.faults))
    return found


def effective_values(
    spec: StreamSpec, origins: Mapping[str, Origin], layout: ZoneLayout | None = None
) -> list[EffectiveValue]:
    """The settings of a stream that have a value, each with where it comes from.

    Args:
        spec: the stream, as it is in force.
        origins: of the values that are not defaults.
        layout: its zones, which say for themselves what counts in them.
    """
    values = []
    for setting in STREAM_SETTINGS:
        origin = origins.get(setting.name, Origin.DEFAULT)
        if origin is not Origin.DEFAULT:
            shown = _shown(getattr(spec, setting.name))
            values.append(EffectiveValue(setting.name, shown, origin.value))
        elif setting.default and has_effect(spec, setting.name):
            values.append(EffectiveValue(setting.name, setting.default, origin.value))
    places: list[Zone | Line] = [] if layout is None else [*layout.zones, *layout.lines]
    values += [
        EffectiveValue("classes", ", ".join(place.classes), f"zone '{place.name}'")
        for place in places
        if place.classes is not None
    ]
    return values


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(display(str(one)) for one in value)
    return display(str(value))


def _check_models(spec: StreamSpec, run: RunRequest, faults: list[str]) -> ZoneLayout | None:
    """Faults of a stream's models and of what depends on their classes; its zones, where they are sound."""
    try:
        choice = run.choice(spec)
        models, fallback, then = find_models(choice)
        manifests = [_manifest(one) for one in models]
        second = None if then is None else _manifest(then)
        if fallback is not None and _manifest(fallback).classes != manifests[0].classes:
            raise UsageError(f"`fallback_model` {fallback} has other classes than {models[0]}")
    except EdgeVisionError as error:
        faults.append(str(error))
        return None
    names = list(dict.fromkeys(name for one in manifests for name in one.classes))
    attributes = () if second is None else second.classes
    finds = any(one.task in BOX_TASKS for one in manifests)
    shown = ", ".join(one.name for one in manifests)
    for setting in ("classes", "on"):
        for name in listed(getattr(spec, setting)) or ():
            if name not in names:
                hint = nearest(name, names) or f"; there are: {', '.join(names)}"
                faults.append(f"`{setting}` '{name}': {shown} has no such class{hint}")
    for setting in ("record_on", "event_classes"):
        for name in listed(getattr(spec, setting)) or ():
            problem = problem_of(name, names, attributes)
            if problem:
                faults.append(f"`{setting}`: {problem}")
    if run.tracks(spec) and not finds:
        faults.append(f"`track`, `zones` and `events` need a model that finds objects; {shown} finds none")
    if spec.save_masks is not None and all(one.task != "segmentation" for one in manifests):
        faults.append(f"`save_masks` needs a segmentation model; {shown} gives no class map")
    if spec.zones is None:
        return None
    try:
        return load_zones(spec.zones, names, attributes)
    except EdgeVisionError as error:
        faults.append(str(error))
        return None


def _manifest(path: object) -> Manifest:
    if not isinstance(path, Path):
        raise TypeError("a file of streams names models by path")
    return read_manifest(path)


def _check_source(spec: StreamSpec, faults: list[str]) -> None:
    try:
        check_protocol(Address.parse(spec.source))
        sources = expand_sources(spec.source)
    except EdgeVisionError as error:
        faults.append(str(error))
        return
    for source in sources:
        is_path = source != PIPE and "://" not in source and not source.startswith("demo")
        if is_path and is_local(source):
            path = Path(source.partition("#")[0])
            if not any(mark in source for mark in "*?[") and not path.exists():
                faults.append(f"`source`: {display(source)} does not exist")
    if spec.max_latency is not None and is_local(spec.source):
        faults.append("`max_latency` is for live sources; this one is a recording")


def _check_output(spec: StreamSpec, faults: list[str]) -> None:
    try:
        check_sink_address(spec.output or "")
    except EdgeVisionError as error:
        faults.append(f"`output`: {error}")


def _shared_pipes(specs: Sequence[StreamSpec]) -> Iterator[str]:
    """Standard input that two streams read, and addresses and standard output that two write."""
    names = [spec.name or display(spec.source) for spec in specs]
    readers = [
        name for name, spec in zip(names, specs, strict=True) if spec.source == PIPE and not spec.paused
    ]
    yield from (f"{name}: {READ_TWICE}" for name in readers[1:])
    writers: dict[str, str] = {}
    for name, spec in zip(names, specs, strict=True):
        if not spec.output or spec.output == WINDOW or "output" in spec.files():
            continue
        other = writers.setdefault(place_of(spec.output), name)
        if other != name:
            yield f"{name}: `output` {display(spec.output)} is written by {other} too; give each its own"


def _shared_outputs(specs: Sequence[StreamSpec]) -> Iterator[str]:
    """Outputs that two streams write, that are an input, or that cannot be made."""
    writers: dict[Path, tuple[str, str]] = {}
    inputs = {Path(spec.source).resolve() for spec in specs if is_local(spec.source)}
    for spec in specs:
        name = spec.name or display(spec.source)
        files = [*spec.files().items()]
        files += [("events", Path(one)) for one in spec.events if "://" not in one]
        for setting, path in files:
            if names_folder(path):
                continue
            place = path.resolve()
            if place in writers:
                other, its = writers[place]
                yield f"{name}: `{setting}` {path} is written by {other} (`{its}`) too; give each its own"
            writers.setdefault(place, (name, setting))
            if place in inputs:
                yield f"{name}: `{setting}` {path} would overwrite an input; choose another name"
            if not path.parent.is_dir() and "%" not in str(path):
                yield f"{name}: `{setting}` {path}: the folder {path.parent} does not exist"
        folders = ("save_masks", "event_pictures", "record")
        yield from (f"{name}: {fault}" for one in folders if (fault := _address_fault(spec, one)))


def _address_fault(spec: StreamSpec, setting: str) -> str:
    """Why a setting that takes a folder does not name one; empty where it may."""
    try:
        refuse_address(setting, getattr(spec, setting) or "")
    except UsageError as error:
        return str(error)
    return ""


def _unreachable(specs: Sequence[StreamSpec]) -> list[str]:
    """Sources that cannot be opened now."""
    awake = [spec for spec in specs if not spec.paused]
    with contextlib.ExitStack() as opened:
        sources = open_sources(
            awake, ThreadBudget.of(None, max(1, len(awake))), opened, SourceOptions(wait=False)
        )
    return [str(one) for one in sources if isinstance(one, EdgeVisionError)]
