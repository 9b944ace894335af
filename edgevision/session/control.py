"""Streams that are added, changed, paused and removed while the others run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edgevision.address import Address
from edgevision.errors import EdgeVisionError, UsageError
from edgevision.session.apply import apply_file
from edgevision.session.models import ModelPool
from edgevision.session.running import RunningStreams
from edgevision.session.spec import StreamSpec, read_streams, understand_streams
from edgevision.session.streams_file import StreamsFile
from edgevision.tracking.tracker import load_library
from edgevision.video.sources.network import CAMERA_SCHEMES

_LONGEST_NAME = 100


class SessionControl:
    """A :class:`~edgevision.web.hub.StreamControl` of a run. One change at a time.

    Args:
        streams: those of the run.
    """

    def __init__(self, streams: RunningStreams) -> None:
        self._streams, self._shared = streams, streams.shared
        self._file = StreamsFile(self._shared.request.streams_file)
        # Where the file was saved since it was read, none of its entries is in force.
        self._file.name(list(streams.specs) if self._shared.request.is_of_file() else [])
        self._lock = threading.Lock()
        self._text, self._named = b"", list(streams.specs.values())  # of the file, as `files` last read it

    def paused(self) -> Sequence[str]:
        """Names of the streams that wait to be resumed."""
        return list(self._streams.paused)

    def add(self, source: str, name: str, track: bool) -> str:
        """Opens a source as a new stream; returns its name.

        Raises:
            UsageError: the name is taken, or the source is of a kind that the page may not add.
            EdgeVisionError: the source cannot be opened.
        """
        with self._lock:
            name = self._checked(source, name)
            self._file.refuse_changed()
            entry: dict[str, Any] = {
                "source": source.strip(),
                "name": name,
                **({"track": True} if track else {}),
            }
            spec = self._spec(entry)
            self._streams.open(spec, name)
            self._streams.specs[name], self._file.entries[name] = spec, entry
            self._file.save()
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
            before = self._streams.known(name)
            if source is not None:
                self._check_source(source)
            self._file.refuse_changed()
            if track:
                load_library()  # before the stream ends
            spec = msgspec.structs.replace(
                before,
                source=before.source if source is None else source.strip(),
                track=before.track if track is None else track,
                paused=False,
            )
            self._streams.end(name)
            self._streams.specs[name] = self._streams.paused[name] = spec
            entry = self._file.entries.setdefault(name, {})
            entry["source"] = spec.source
            entry.pop("paused", None)
            if spec.track != before.track:
                entry["track"] = spec.track
            self._streams.open(spec, name)
            del self._streams.paused[name]
            self._file.save()

    def remove(self, name: str) -> None:
        """Ends a stream; its outputs are finished.

        Raises:
            UsageError: there is no such stream.
        """
        with self._lock:
            self._streams.known(name)
            self._file.refuse_changed()
            self._streams.drop(name)
            self._streams.specs.pop(name)
            self._file.entries.pop(name, None)
            self._file.save()

    def pause(self, name: str) -> None:
        """Ends reading; the stream stays in the list, over a restart too, until it is resumed.

        Raises:
            UsageError: there is no such stream, or it is paused.
        """
        with self._lock:
            spec = self._streams.known(name)
            if name in self._streams.paused:
                raise UsageError(f"'{name}' is paused already")
            self._file.refuse_changed()
            self._streams.end(name)
            spec = msgspec.structs.replace(spec, paused=True)
            self._streams.specs[name] = self._streams.paused[name] = spec
            self._file.entries.setdefault(name, {"source": spec.source})["paused"] = True
            self._file.save()

    def resume(self, name: str) -> None:
        """Opens a paused stream again; outputs that exist are continued or renamed.

        Raises:
            UsageError: it is not paused.
            EdgeVisionError: the source cannot be opened; it stays paused.
        """
        with self._lock:
            if name not in self._streams.paused:
                raise UsageError(f"'{name}' is not paused")
            self._file.refuse_changed()
            spec = msgspec.structs.replace(self._streams.paused[name], paused=False)
            self._streams.open(spec, name)
            del self._streams.paused[name]
            self._streams.specs[name] = spec
            self._file.entries.get(name, {}).pop("paused", None)
            self._file.save()

    def files(self) -> Sequence[Path]:
        """The file of streams, and the zones and models that it names now, be they in force or not."""
        file = self._shared.request.reload_from
        if file is None:
            return []
        with contextlib.suppress(EdgeVisionError, OSError):  # it has a fault: those that it named before
            text = file.read_bytes()
            if text != self._text:
                self._text = text
                self._named = read_streams(file, self._shared.request.given)
        return files_of(file, self._named, self._shared.models)

    def reload(self) -> str:
        """Takes the file of streams in force; see :func:`edgevision.session.apply.apply_file`.

        Returns:
            What has changed, in words.

        Raises:
            EdgeVisionError: the file, or what it names, has a fault; nothing is changed.
        """
        file = self._shared.request.reload_from
        if file is None:
            raise UsageError("there is no file of streams to read again")
        with self._lock:
            read = StreamsFile(self._shared.request.streams_file)
            changes = apply_file(self._streams, file)
            read.name(list(self._streams.specs))
            self._file = read
            return f"{file.name}: {changes}"

    def let_go(self) -> None:
        """See :meth:`edgevision.session.running.RunningStreams.let_go`."""
        with self._lock:
            self._streams.let_go()

    def _spec(self, entry: dict[str, Any]) -> StreamSpec:
        """A stream of the file, with what stands at its top and on the command line."""
        found = understand_streams({**self._file.document, "streams": [entry]}, self._shared.request.given)
        if found.faults:
            raise UsageError("; ".join(found.faults))
        return found.specs[0]

    def _checked(self, source: str, name: str) -> str:
        """The name of a stream that may be added."""
        self._check_source(source)
        name = name.strip() or Address.parse(source.strip()).shown
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise UsageError(f"a name has at most {_LONGEST_NAME} letters that can be shown")
        if name in self._streams.specs:
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


def files_of(file: Path, specs: Sequence[StreamSpec], models: ModelPool) -> list[Path]:
    """A file of streams, and the zones and models that these name."""
    zones = [spec.zones for spec in specs if spec.zones is not None]
    found: list[Path] = []
    with contextlib.suppress(EdgeVisionError):  # one is away for a moment, which the reload says
        found = models.files(specs)
    return [file, *map(Path, dict.fromkeys(zones)), *found]
