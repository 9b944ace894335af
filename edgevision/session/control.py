"""Streams that are added, changed, paused and removed while the others run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edgevision.address import Address, display
from edgevision.config import read_document
from edgevision.errors import EdgeVisionError, SinkError, SourceError, UsageError
from edgevision.files import atomic_path
from edgevision.pipeline import Pipeline, StreamStatistics
from edgevision.session.settings import STREAM_SETTINGS
from edgevision.session.shared import Shared
from edgevision.session.spec import StreamSpec, read_streams, understand_streams
from edgevision.session.streams import OpenedStream, load_layout, open_sources, open_stream, selected
from edgevision.tracking import ZoneLayout
from edgevision.tracking.tracker import load_library
from edgevision.video import Source, open_source
from edgevision.video.sources.network import CAMERA_SCHEMES
from edgevision.video.sources.options import SourceOptions

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 100


class SessionControl:
    """A :class:`~edgevision.web.hub.StreamControl` of a run. One change at a time.

    Args:
        pipeline: the run.
        opened: its streams; changed here.
        specs: what was asked of each, by its name; changed here.
        shared: what all streams have in common.
        refused: of the streams that do not run, why; changed here.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        opened: dict[str, OpenedStream],
        specs: dict[str, StreamSpec],
        shared: Shared,
        refused: dict[str, StreamStatistics] | None = None,
    ) -> None:
        self._pipeline, self._opened, self._specs, self._shared = pipeline, opened, specs, shared
        self._refused: dict[str, StreamStatistics] = {} if refused is None else refused
        self._paused = {name: spec for name, spec in specs.items() if spec.paused}
        self._lock = threading.Lock()
        self._file = shared.request.streams_file
        self._version = _version(self._file)
        self._document, self._entries = _entries_of(self._file, list(specs))

    def paused(self) -> Sequence[str]:
        """Names of the streams that wait to be resumed."""
        return list(self._paused)

    def add(self, source: str, name: str, track: bool) -> str:
        """Opens a source as a new stream; returns its name.

        Raises:
            UsageError: the name is taken, or the source is of a kind that the page may not add.
            EdgeVisionError: the source cannot be opened.
        """
        with self._lock:
            name = self._checked(source, name)
            self._refuse_changed_file()
            entry: dict[str, Any] = {
                "source": source.strip(),
                "name": name,
                **({"track": True} if track else {}),
            }
            spec = self._spec(entry)
            self._open(spec, name)
            self._specs[name], self._entries[name] = spec, entry
            self._save()
            return name

    def change(self, name: str, source: str | None, track: bool | None) -> None:
        """Another source for a stream, which keeps its name and its outputs; it then runs.

        Args:
            name: of the stream.
            source: None keeps the one that it has.
            track: whether its objects get numbers; None keeps it as it is.

        Raises:
            EdgeVisionError: see :meth:`add`; where it cannot be opened, the stream is paused.
        """
        with self._lock:
            before = self._known(name)
            if source is not None:
                self._check_source(source)
            self._refuse_changed_file()
            if track:
                load_library()  # before the stream ends
            spec = msgspec.structs.replace(
                before,
                source=before.source if source is None else source.strip(),
                track=before.track if track is None else track,
                paused=False,
            )
            self._end(name)
            self._specs[name] = self._paused[name] = spec
            entry = self._entries.setdefault(name, {})
            entry["source"] = spec.source
            entry.pop("paused", None)
            if spec.track != before.track:
                entry["track"] = spec.track
            self._open(spec, name)
            del self._paused[name]
            self._save()

    def remove(self, name: str) -> None:
        """Ends a stream; its outputs are finished.

        Raises:
            UsageError: there is no such stream.
        """
        with self._lock:
            self._known(name)
            self._refuse_changed_file()
            self._end(name)
            self._paused.pop(name, None)
            self._specs.pop(name)
            self._entries.pop(name, None)
            if self._shared.hub is not None:
                self._shared.hub.remove_view(name)
            self._save()

    def pause(self, name: str) -> None:
        """Ends reading; the stream stays in the list, over a restart too, until it is resumed.

        Raises:
            UsageError: there is no such stream, or it is paused.
        """
        with self._lock:
            spec = self._known(name)
            if name in self._paused:
                raise UsageError(f"'{name}' is paused already")
            self._refuse_changed_file()
            self._end(name)
            self._specs[name] = self._paused[name] = msgspec.structs.replace(spec, paused=True)
            self._entries.setdefault(name, {"source": spec.source})["paused"] = True
            self._save()

    def resume(self, name: str) -> None:
        """Opens a paused stream again; outputs that exist are continued or renamed.

        Raises:
            UsageError: it is not paused.
            EdgeVisionError: the source cannot be opened; it stays paused.
        """
        with self._lock:
            if name not in self._paused:
                raise UsageError(f"'{name}' is not paused")
            self._refuse_changed_file()
            spec = msgspec.structs.replace(self._paused[name], paused=False)
            self._open(spec, name)
            del self._paused[name]
            self._specs[name] = spec
            self._entries.get(name, {}).pop("paused", None)
            self._save()

    def files(self) -> Sequence[Path]:
        """The file of streams, and the zones and models that it names."""
        file, specs = self._shared.request.reload_from, list(self._specs.values())
        if file is None:
            return []
        zones = [spec.zones for spec in specs if spec.zones is not None]
        models: list[Path] = []
        with contextlib.suppress(EdgeVisionError):  # one is away for a moment, which the reload says
            models = self._shared.models.files(specs)
        return [file, *map(Path, dict.fromkeys(zones)), *models]

    def reload(self) -> str:
        """Takes the file of streams in force: what did not change goes on as it was.

        Zones, thresholds and classes change in a stream that runs; for other settings, and another model
        under the same name, it begins again, with its counts.

        Returns:
            What has changed, in words.

        Raises:
            EdgeVisionError: the file, or what it names, has a fault; nothing is changed.
        """
        file, given = self._shared.request.reload_from, self._shared.request.given
        if file is None:
            raise UsageError("there is no file of streams to read again")
        with self._lock:
            specs = read_streams(file, given)
            changes = find_changes(self._specs, specs)
            with contextlib.ExitStack() as opening:
                try:
                    layouts = self._check(specs)
                    ahead = self._open_ahead(changes, opening)
                except EdgeVisionError:
                    self._release()
                    raise
                with self._pipeline.held():
                    self._apply(changes, layouts, ahead, opening)
            self._release()
            self._version = _version(self._file)
            self._document, self._entries = _entries_of(self._file, list(self._specs))
            return f"{file.name}: {changes}"

    def _check(self, specs: Sequence[StreamSpec]) -> dict[int, ZoneLayout | None]:
        """Refuses what could not run; the zones of each stream, by its position."""
        shared = self._shared
        request = dataclasses.replace(shared.request, streams=specs, append=True, overwrite=False)
        request.check_outputs(specs, shared.models.files(specs))
        if any(map(request.tracks, specs)):
            load_library()  # here, where no stream waits for it
        layouts: dict[int, ZoneLayout | None] = {}
        for position, spec in enumerate(specs):
            models = shared.models.of(spec)
            if spec.save_masks is not None:
                models.segmenters()
            layouts[position] = load_layout(spec, models) if request.tracks(spec) else None
        return layouts

    def _open_ahead(self, changes: StreamChanges, opening: contextlib.ExitStack) -> dict[int, Source]:
        """The sources that are not in use now, by position; one that cannot be opened refuses the reload."""
        in_use = {spec.source for name, spec in self._specs.items() if name not in self._paused}
        ahead = [
            one
            for one in changes.streams
            if not one.spec.paused
            and one.spec.source not in in_use  # a camera is opened again once it is free
            and (one.before is None or one.begins_again)
        ]
        found = open_sources(
            [one.spec for one in ahead], self._shared.budget, opening, SourceOptions(wait=True)
        )
        for source in found:
            if isinstance(source, EdgeVisionError):
                raise source
        return {one.position: source for one, source in zip(ahead, found, strict=True)}  # type: ignore[misc]

    def _apply(
        self,
        changes: StreamChanges,
        layouts: dict[int, ZoneLayout | None],
        ahead: dict[int, Source],
        opening: contextlib.ExitStack,
    ) -> None:
        for name in changes.removed:
            self._attempt(name, self._drop, name)
        specs: dict[str, StreamSpec] = {}
        for one in changes.streams:
            source = ahead.get(one.position)
            name = one.name or free_name(one.spec.name or _source_name(one.spec, source), specs, self._specs)
            specs[name] = one.spec
            if one.spec.paused:
                if name not in self._paused:
                    changes.paused.append(name)
                    self._attempt(name, self._end, name)
                self._paused[name] = one.spec
            elif one.before is None:
                changes.added.append(name)
                self._attempt(name, self._begin, name, one.spec, source)
            elif (
                one.begins_again
                or not self._can_adjust(name, one.before, one.spec)
                or self._has_other_files(name, one.spec)
            ):
                if one.before != one.spec or self._has_other_files(name, one.spec):
                    changes.restarted.append(name)
                    self._attempt(name, self._begin, name, one.spec, source)
            elif self._adjust(name, one.spec, layouts[one.position], one.before):
                changes.adjusted.append(name)
        for name in [name for name in self._specs if name not in specs]:
            del self._specs[name]
        for name, spec in specs.items():  # in the order of the file
            self._specs.pop(name, None)
            self._specs[name] = spec
        opening.pop_all()  # the pipeline closes sources at the ends of their streams

    def _attempt(self, name: str, act: Callable[..., None], *arguments: Any) -> None:
        """One stream that cannot be changed does not hold up the others."""
        try:
            act(*arguments)
        except EdgeVisionError as error:
            _LOG.warning("this stream does not run: %s: %s", name, error)
            self._refused[name] = StreamStatistics.of_refused(name, name, str(error))

    def _drop(self, name: str) -> None:
        self._end(name)
        self._paused.pop(name, None)
        if self._shared.hub is not None:
            self._shared.hub.remove_view(name)

    def _begin(self, name: str, spec: StreamSpec, source: Source | None) -> None:
        """A stream that is new, or begins again with other settings."""
        self._end(name)
        self._paused.pop(name, None)
        self._open(spec, name, source, SourceOptions(wait=True))
        self._refused.pop(name, None)

    def _can_adjust(self, name: str, before: StreamSpec, spec: StreamSpec) -> bool:
        """Whether what changed can change in a stream that runs."""
        tracks, opened = self._shared.request.tracks, self._opened.get(name)
        if opened is None or (tracks(before) and not tracks(spec)):
            return False
        return not tracks(spec) or opened.stream.scene is not None

    def _has_other_files(self, name: str, spec: StreamSpec) -> bool:
        """Whether another model file lies now where a stream's was read."""
        opened = self._opened.get(name)
        return opened is not None and opened.models.engines != self._shared.models.of(spec).engines

    def _adjust(self, name: str, spec: StreamSpec, layout: ZoneLayout | None, before: StreamSpec) -> bool:
        """Other zones, threshold and classes for a stream that runs; False where nothing differs."""
        opened, scene = self._opened[name], self._opened[name].stream.scene
        has_zones = spec.zones is not None or before.zones is not None
        new_zones = scene is not None and has_zones and scene.next_layout != layout
        choice = self._shared.request.choice
        is_same = choice(spec) == choice(before) and (spec.zones is None) == (before.zones is None)
        if is_same and not new_zones:
            return False
        if not is_same:
            models = self._shared.models.of(spec)
            self._pipeline.set_models(name, models.models, models.fallback)
            if opened.stream.crops is not None and models.then is not None:
                opened.stream.crops.model = models.then
            self._opened[name] = dataclasses.replace(opened, models=models)
            if scene is not None:
                scene.change_threshold(choice(spec).conf_threshold)
        if scene is not None and new_zones:
            scene.change_layout(layout)
            view = None if self._shared.hub is None else self._shared.hub.view(name)
            if view is not None:
                view.layout, view.is_tracked = layout, True
                view.zones_file = view.zones_file if spec.zones is None else Path(spec.zones)
        return True

    def _release(self) -> None:
        """Closes the engines that no stream has any more."""
        self._pipeline.release_engines()
        self._shared.models.close_unused([one.models for one in list(self._opened.values())])

    def _known(self, name: str) -> StreamSpec:
        if name not in self._specs:
            raise UsageError(f"there is no stream '{name}'")
        return self._specs[name]

    def _spec(self, entry: dict[str, Any]) -> StreamSpec:
        """A stream of the file, with what stands at its top and on the command line."""
        found = understand_streams({**self._document, "streams": [entry]}, self._shared.request.given)
        if found.faults:
            raise UsageError("; ".join(found.faults))
        return found.specs[0]

    def _checked(self, source: str, name: str) -> str:
        """The name of a stream that may be added."""
        self._check_source(source)
        name = name.strip() or Address.parse(source.strip()).shown
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise UsageError(f"a name has at most {_LONGEST_NAME} letters that can be shown")
        if name in self._specs:
            raise UsageError(f"a stream called '{name}' exists; choose another name")
        return name

    def _check_source(self, source: str) -> None:
        """Refuses what would open a file, a device or a program of this machine.

        Raises:
            UsageError: it is no address of a camera or stream.
        """
        settings = self._shared.request.web
        if settings is not None and settings.allow_local:
            return
        address = Address.parse(source.strip())
        try:
            host = urlsplit(address.text).hostname
        except ValueError:
            host = None
        if address.scheme not in CAMERA_SCHEMES or not host or not source.isprintable():
            kinds = ", ".join(f"{scheme}://" for scheme in CAMERA_SCHEMES)
            raise UsageError(
                f"the page adds addresses of cameras only: {kinds}; files, devices and pipelines are named "
                "at the start, or allowed there by `web_allow_local`"
            )

    def _open(
        self,
        spec: StreamSpec,
        name: str,
        source: Source | None = None,
        options: SourceOptions = SourceOptions(),  # noqa: B008  (frozen)
    ) -> str:
        shared = self._shared
        request = dataclasses.replace(shared.request, append=True, overwrite=False)
        taken = {claim for one, opened in self._opened.items() if one != name for claim in opened.claims}
        own_shared = dataclasses.replace(shared, request=request, _taken=taken)
        with contextlib.ExitStack() as own:
            if source is None:
                source = open_source(spec.source, options, threads=shared.budget.decode)
                source = selected(source, spec.selection)
            opened = open_stream(spec, own.enter_context(source), name, own_shared, own)
            if opened.has_window:
                raise UsageError("a stream with a window cannot be added; it lives on the main thread")
            try:
                self._pipeline.add(opened.stream)
            except ValueError as error:
                raise SourceError(f"cannot add {name}: {error}") from error
            own.pop_all()  # the pipeline closes them at the stream's end
        self._opened[name] = opened
        return name

    def _end(self, name: str) -> None:
        try:
            self._pipeline.remove(name)
        except TimeoutError:
            raise SourceError(f"'{name}' still finishes its outputs; try again") from None
        self._opened.pop(name, None)

    def _refuse_changed_file(self) -> None:
        if self._file is not None and _version(self._file) != self._version:
            raise UsageError(f"{self._file.name} was changed by hand; reload it (SIGHUP), or start again")

    def _save(self) -> None:
        """Keeps a change over a restart.

        Raises:
            SinkError: it cannot be written; the change is in force.
        """
        if self._file is None:
            return
        try:
            self._write_file(self._file)
        except (SinkError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SinkError(f"the change is in force, but will not outlast this run: {reason}") from error
        self._version = _version(self._file)

    def _write_file(self, file: Path) -> None:
        import yaml

        document = {**self._document, "streams": list(self._entries.values())}
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        if file.exists():
            with atomic_path(file.with_name(f"{file.name}.bak")) as partial:
                partial.chmod(mode)
                partial.write_bytes(file.read_bytes())
        with atomic_path(file) as partial:
            partial.chmod(mode)  # it may hold passwords
            partial.write_text(
                yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8"
            )


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
    """

    streams: list[StreamChange]
    removed: list[str]
    added: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    adjusted: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what} ({', '.join(names)})"
            for what, names in (
                ("added", self.added),
                ("removed", self.removed),
                ("changed", self.adjusted),
                ("begun again", self.restarted),
                ("paused", self.paused),
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


def _source_name(spec: StreamSpec, source: Source | None) -> str:
    return display(spec.source) if source is None else source.info.name


def _entries_of(path: Path | None, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What stands at the top of a file of streams, and its entries by the names of their streams."""
    if path is None or not path.is_file():
        return {}, {}
    document = read_document(path)
    entries = document.pop("streams")
    return document, dict(zip(names, entries, strict=True))


def _version(path: Path | None) -> str:
    if path is None or not path.is_file():
        return "none"
    return hashlib.sha256(path.read_bytes()).hexdigest()
