"""Streams that are added, changed, paused and removed while the others run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from edgevision.address import Address
from edgevision.config import read_document
from edgevision.errors import SourceError, UsageError
from edgevision.files import atomic_path
from edgevision.pipeline import Pipeline
from edgevision.session.shared import Shared
from edgevision.session.spec import StreamSpec, understand_streams
from edgevision.session.streams import OpenedStream, open_stream, selected
from edgevision.video import open_source
from edgevision.video.sources.network import CAMERA_SCHEMES

_LONGEST_NAME = 100


class SessionControl:
    """A :class:`~edgevision.web.hub.StreamControl` of a run. One change at a time.

    Args:
        pipeline: the run.
        opened: its streams; changed here.
        specs: what was asked of each, by its name; changed here.
        shared: what all streams have in common.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        opened: dict[str, OpenedStream],
        specs: dict[str, StreamSpec],
        shared: Shared,
    ) -> None:
        self._pipeline, self._opened, self._specs, self._shared = pipeline, opened, specs, shared
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

    def _open(self, spec: StreamSpec, name: str) -> str:
        shared = self._shared
        request = dataclasses.replace(shared.request, append=True, overwrite=False)
        own_shared = dataclasses.replace(shared, request=request, _taken=set())
        with contextlib.ExitStack() as own:
            source = open_source(spec.source, threads=shared.budget.decode)
            source = own.enter_context(selected(source, spec.selection))
            opened = open_stream(spec, source, name, own_shared, own)
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
            raise UsageError(f"{self._file.name} was changed by hand; start again to use it")

    def _save(self) -> None:
        if self._file is None:
            return
        document = {**self._document, "streams": list(self._entries.values())}
        mode = self._file.stat().st_mode & 0o777 if self._file.exists() else 0o600
        if self._file.exists():
            with atomic_path(self._file.with_name(f"{self._file.name}.bak")) as partial:
                partial.chmod(mode)
                partial.write_bytes(self._file.read_bytes())
        with atomic_path(self._file) as partial:
            partial.chmod(mode)  # it may hold passwords
            partial.write_text(
                yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8"
            )
        self._version = _version(self._file)


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
