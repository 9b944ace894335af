"""What a user asks of one stream: in Python, on the command line, or in a YAML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgevision.address import display
from edgevision.config import build_config, read_document
from edgevision.errors import ConfigError, UsageError
from edgevision.plugins import scheme_of
from edgevision.recording.limits import Rotation, parse_rotation
from edgevision.units import duration_s, parse_seconds, parse_size
from edgevision.video.selection import Selection
from edgevision.video.sinks.network import PIPE

_ROTATE, _PRE, _POST = "10m", "5s", "10s"


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """How a stream is recorded; see docs/guides/recording.md.

    Attributes:
        folder: where files go.
        rotation: when a new one begins.
        keep: bytes that all may take; None for no limit.
        classes: record clips around these only; None to record everything.
        pre_s, post_s: of clips, in seconds.
        is_drawn: what was found is drawn on the images; otherwise it is kept beside them.
    """

    folder: Path
    rotation: Rotation
    keep: int | None
    classes: list[str] | None
    pre_s: float
    post_s: float
    is_drawn: bool


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One stream as the user asks for it; the help of ``edgevision run`` says what each field means.

    Attributes:
        source: an address; see :func:`edgevision.video.open_source`.
        name: for people, and of default outputs; the source's where empty.
        output: a file, a folder, or an address of a kind that a package brings (:mod:`edgevision.plugins`).
        max_latency: with its unit, as in ``150ms``; a number alone is read, to be refused in plain words.
        every, start, end: which frames; see :attr:`selection`. ``every`` is a number of frames or, with a
            unit, a time.
        events: files and brokers that events are sent to.
        record, rotate, keep, record_on, pre, post: see :attr:`recording`.
        record_drawn: False records the images without drawings, and what was found beside them.

    Raises:
        UsageError: a value is not valid, or one is given without the one that it belongs to.
    """

    source: str
    name: str = ""
    output: str | None = None
    save_json: str | None = None
    save_masks: str | None = None
    display: bool = False
    track: bool = False
    zones: str | None = None
    max_latency: str | int | float | None = None
    every: str | int | None = None
    start: str | None = None
    end: str | None = None
    events: list[str] = []
    event_pictures: str | None = None
    record: str | None = None
    rotate: str | None = None
    keep: str | None = None
    record_on: str | None = None
    pre: str | None = None
    post: str | None = None
    record_drawn: bool | None = None

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise UsageError("`source` is empty; expected a file, a folder, webcam, an address or demo")
        for owner, fields in _BELONGS_TO.items():
            for name in fields:
                if getattr(self, name) is not None and not getattr(self, owner):
                    raise UsageError(f"`{name}` needs `{owner}`")
        if self.max_latency is not None:
            _latency_ms(self.max_latency)
        Selection.parse(self.every, self.start, self.end)
        if self.record is not None:
            self._plan_recording(self.record)

    @property
    def is_tracked(self) -> bool:
        return self.track or self.zones is not None or bool(self.events)

    @property
    def is_watched(self) -> bool:
        """Whether events or recordings come out of it."""
        return bool(self.events) or self.record is not None

    @property
    def recording(self) -> RecordingPlan | None:
        """What ``record`` and the fields around it ask for."""
        return None if self.record is None else self._plan_recording(self.record)

    @property
    def selection(self) -> Selection:
        """Which frames are wanted."""
        return Selection.parse(self.every, self.start, self.end)

    @property
    def max_latency_ms(self) -> float | None:
        """The bound in milliseconds."""
        return None if self.max_latency is None else _latency_ms(self.max_latency)

    @property
    def has_outputs(self) -> bool:
        """Whether anything is to come out of it."""
        files = (self.output, self.save_json, self.save_masks)
        return self.display or self.is_watched or any(path is not None for path in files)

    def files(self) -> dict[str, Path]:
        """The outputs that may name a file, by their fields; not those that are addresses."""
        named = {"output": self.output, "save_json": self.save_json}
        return {
            field: Path(path)
            for field, path in named.items()
            if path is not None and path != PIPE and not scheme_of(path)
        }

    def _plan_recording(self, folder: str) -> RecordingPlan:
        return RecordingPlan(
            folder=Path(folder),
            rotation=parse_rotation(self.rotate or _ROTATE),
            keep=None if self.keep is None else parse_size(self.keep),
            classes=None if self.record_on is None else listed(self.record_on),
            pre_s=parse_seconds(self.pre or _PRE),
            post_s=parse_seconds(self.post or _POST),
            is_drawn=self.record_drawn is not False,
        )


_BELONGS_TO = {
    "record": ("rotate", "keep", "record_on", "record_drawn"),
    "record_on": ("pre", "post"),
    "events": ("event_pictures",),
}
"""Fields that mean something only where the first is given."""


def _latency_ms(text: str | int | float) -> float:
    try:
        seconds = duration_s(str(text))
    except ValueError as error:
        raise UsageError(f"`max_latency` {display(str(text))}: expected {error}") from None
    if seconds <= 0:
        raise UsageError(f"`max_latency` {text}: expected a time above 0, as in 150ms")
    return seconds * 1e3


class StreamsFile(msgspec.Struct, frozen=True, kw_only=True):
    """``streams.yaml``; see docs/guides/streams.md."""

    streams: list[StreamSpec]


def read_streams(path: Path, defaults: dict[str, Any]) -> list[StreamSpec]:
    """The streams of a file.

    Args:
        path: the YAML file.
        defaults: fields of :class:`StreamSpec` for the streams that do not set them.

    Raises:
        ConfigError: the file is unreadable, has an unknown key, no stream, a name twice, or a stream that
            is not valid.
    """
    document = read_document(path)
    entries = document.get("streams")
    if isinstance(entries, list):
        document["streams"] = entries = [_filled(entry, defaults) for entry in entries]
    try:
        streams = build_config(document, StreamsFile, str(path)).streams
    except ConfigError:
        raise
    except UsageError as error:
        raise ConfigError(f"{path}: streams.{_first_refused(entries or [])}: {error}") from None
    if not streams:
        raise ConfigError(f"{path}: no stream; expected at least one under 'streams', with its 'source'")
    for name, count in Counter(spec.name for spec in streams if spec.name).items():
        if count > 1:
            raise ConfigError(f"{path}: {count} streams are called '{name}'; results could not be told apart")
    return streams


def _filled(entry: Any, defaults: dict[str, Any]) -> Any:
    if not isinstance(entry, dict):  # which is refused in a moment
        return entry
    return {**defaults, **{name: value for name, value in entry.items() if value is not None}}


def _first_refused(entries: Sequence[Any]) -> int:
    """Position of the first entry that :class:`StreamSpec` refuses; msgspec does not name it."""
    return next(position for position, entry in enumerate(entries) if _is_refused(entry))


def _is_refused(entry: Any) -> bool:
    try:
        msgspec.convert(entry, StreamSpec)
    except UsageError:
        return True
    return False


def listed(text: str) -> list[str]:
    """``person,car`` as names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
