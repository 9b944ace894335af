"""What a user asks of one stream: in Python, on the command line, or in a YAML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, overload

import msgspec

from edgevision.address import display
from edgevision.config import config_faults, faulty, read_document
from edgevision.drawing.overlay import check_opacity
from edgevision.engines import check_engine_name
from edgevision.errors import UsageError
from edgevision.model import check_conf_threshold
from edgevision.plugins import scheme_of
from edgevision.recording.limits import Rotation, parse_rotation
from edgevision.tiling import Tiling
from edgevision.units import duration_s, parse_seconds, parse_size
from edgevision.video.selection import Selection
from edgevision.video.sinks.network import PIPES
from edgevision.zoo import check_precision

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


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set for a stream, and at the top of ``streams.yaml`` for all that do not set it.

    :data:`edgevision.session.settings.STREAM_SETTINGS` says what each field means. Where a list of names is
    taken, so is ``person,car``.
    """

    model: str | list[str] | None = None
    fallback_model: str | None = None
    then: str | None = None
    on: str | list[str] | None = None
    every_track: bool = False
    engine: str | None = None
    precision: str | None = None
    conf: float | None = None
    classes: str | list[str] | None = None
    track: bool = False
    zones: str | None = None
    max_latency: str | int | float | None = None
    every: str | int | None = None
    start: str | None = None
    end: str | None = None
    tiles: str | None = None
    output: str | None = None
    save_json: str | None = None
    save_masks: str | None = None
    events: list[str] = []
    event_classes: str | list[str] | None = None
    event_pictures: str | None = None
    record: str | None = None
    rotate: str | None = None
    keep: str | None = None
    record_on: str | list[str] | None = None
    pre: str | None = None
    post: str | None = None
    record_drawn: bool | None = None
    alpha: float | None = None
    display: bool = False
    max_frames: int | None = None


class StreamEntry(StreamSettings, frozen=True, kw_only=True):
    """An entry of ``streams`` as it stands in a file.

    Attributes:
        source: an address; see :func:`edgevision.video.open_source`.
        name: for people, and of default outputs; the source's where empty.
        paused: it is not read until the page resumes it.
    """

    source: str
    name: str = ""
    paused: bool = False


class StreamSpec(StreamEntry, frozen=True, kw_only=True):
    """One stream as the user asks for it; the help of ``edgevision run`` says what each field means.

    What is None is as the run has it: its models, engine, precision, threshold and classes.

    Attributes:
        source: an address; see :func:`edgevision.video.open_source`.
        name: for people, and of default outputs; the source's where empty.
        paused: it is not read until the page resumes it.
        output: a file, a folder, or an address of a kind that a package brings (:mod:`edgevision.plugins`).
        max_latency: with its unit, as in ``150ms``; a number alone is read, to be refused in plain words.
        every, start, end: which frames; see :attr:`selection`. ``every`` is a number of frames or, with a
            unit, a time.
        events: files and brokers that events are sent to.
        event_classes: what has events, see :mod:`edgevision.tracking.naming`.
        record, rotate, keep, record_on, pre, post: see :attr:`recording`.
        paused: it is not read until the page resumes it.
        record_drawn: False records the images without drawings, and what was found beside them.

    Raises:
        UsageError: a value is not valid, or one is given without the one that it belongs to.
    """

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
        if self.conf is not None:
            check_conf_threshold(self.conf)
        if self.engine is not None:
            check_engine_name(self.engine)
        if self.precision is not None:
            check_precision(self.precision)
        if self.alpha is not None:
            check_opacity(self.alpha)
        check_count("max_frames", self.max_frames)
        if self.tiles is not None:
            Tiling.parse(self.tiles)

    @property
    def models(self) -> list[str]:
        """Names or paths of its own models; none where it has those of the run."""
        return [] if self.model is None else [self.model] if isinstance(self.model, str) else self.model

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

    def without_outputs(self) -> StreamSpec:
        """The same stream for a single image: nothing else is written or sent, and nothing is tracked."""
        usual = StreamSpec(source=self.source)
        return msgspec.structs.replace(self, **{name: getattr(usual, name) for name in _OUTPUTS})

    def files(self) -> dict[str, Path]:
        """The outputs that may name a file, by their fields; not those that are addresses."""
        named = {"output": self.output, "save_json": self.save_json}
        return {
            field: Path(path)
            for field, path in named.items()
            if path is not None and path not in PIPES and not scheme_of(path)
        }

    def _plan_recording(self, folder: str) -> RecordingPlan:
        return RecordingPlan(
            folder=Path(folder),
            rotation=parse_rotation(self.rotate or _ROTATE),
            keep=None if self.keep is None else parse_size(self.keep),
            classes=listed(self.record_on),
            pre_s=parse_seconds(self.pre or _PRE),
            post_s=parse_seconds(self.post or _POST),
            is_drawn=self.record_drawn is not False,
        )


_OUTPUTS = (
    "output",
    "save_json",
    "save_masks",
    "display",
    "events",
    "event_classes",
    "event_pictures",
    "record",
    "rotate",
    "keep",
    "record_on",
    "pre",
    "post",
    "record_drawn",
    "max_latency",
    "max_frames",
    "fallback_model",
    "then",
    "on",
    "every_track",
    "track",
)
"""Fields that a single image of a stream does without."""

_BELONGS_TO = {
    "record": ("rotate", "keep", "record_on", "record_drawn"),
    "record_on": ("pre", "post"),
    "events": ("event_classes", "event_pictures"),
}
"""Fields that mean something only where the first is given."""


def has_effect(spec: StreamSpec, name: str) -> bool:
    """Whether a field means something in a stream: what it belongs to is given."""
    owners = [owner for owner, fields in _BELONGS_TO.items() if name in fields]
    return all(getattr(spec, owner) for owner in owners)


def _latency_ms(text: str | int | float) -> float:
    try:
        seconds = duration_s(str(text))
    except ValueError as error:
        raise UsageError(f"`max_latency` {display(str(text))}: expected {error}") from None
    if seconds <= 0:
        raise UsageError(f"`max_latency` {text}: expected a time above 0, as in 150ms")
    return seconds * 1e3


class StreamsFile(StreamSettings, frozen=True, kw_only=True):
    """``streams.yaml``; see docs/guides/streams.md.

    Attributes:
        streams: what runs together; where one sets nothing, what is set beside ``streams`` holds.
    """

    streams: list[StreamEntry]


class Origin(str, Enum):
    """Where the value of a setting comes from, the strongest first."""

    COMMAND_LINE = "command line"
    STREAM = "stream"
    FILE = "top of the file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class StreamsDocument:
    """A file of streams as it was understood.

    Attributes:
        specs: the streams without a fault, by their position in the file.
        origins: by position, where the value of each setting comes from that is not the default.
        faults: what is wrong, a line each.
    """

    specs: dict[int, StreamSpec]
    origins: dict[int, dict[str, Origin]]
    faults: list[str]


def read_streams(path: Path, given: Mapping[str, Any]) -> list[StreamSpec]:
    """The streams of a file.

    Args:
        path: the YAML file.
        given: settings that stand on the command line, by their names; they hold for every stream.

    Raises:
        ConfigError: the file is unreadable, or has faults; the message has all of them.
    """
    document = understand_streams(read_document(path), given)
    if document.faults:
        raise faulty(str(path), document.faults)
    return list(document.specs.values())


def understand_streams(document: dict[str, Any], given: Mapping[str, Any]) -> StreamsDocument:
    """The streams of the plain values of a file, with all that is wrong in them.

    One rule says which value of a setting wins: the command line's, then the stream's own, then that at the
    top of the file, then the default. An empty value (``zones:``) sets nothing.

    Args:
        document: the file.
        given: as of :func:`read_streams`.
    """
    top = {key: value for key, value in document.items() if value is not None}
    raw = top.get("streams")
    entries = [_without_empty(entry) for entry in raw] if isinstance(raw, list) else []
    if isinstance(raw, list):
        top["streams"] = entries
    faults = config_faults(top, StreamsFile)
    specs: dict[int, StreamSpec] = {}
    origins: dict[int, dict[str, Origin]] = {}
    defaults = {
        key: value
        for key, value in top.items()
        if key in StreamSettings.__struct_fields__ and not config_faults({key: value}, StreamSettings)
    }
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or config_faults(entry, StreamEntry):
            continue
        origins[position] = {
            **dict.fromkeys(defaults, Origin.FILE),
            **dict.fromkeys(entry, Origin.STREAM),
            **dict.fromkeys(given, Origin.COMMAND_LINE),
        }
        try:
            specs[position] = msgspec.convert({**defaults, **entry, **given}, StreamSpec, strict=True)
        except UsageError as error:
            faults.append(f"streams.{position}: {error}")
    if isinstance(raw, list) and not raw:
        faults.append("no stream; expected at least one under 'streams', with its 'source'")
    for name, count in Counter(spec.name for spec in specs.values() if spec.name).items():
        if count > 1:
            faults.append(f"{count} streams are called '{name}'; results could not be told apart")
    return StreamsDocument(specs, origins, faults)


def _without_empty(entry: Any) -> Any:
    if not isinstance(entry, dict):  # which is a fault
        return entry
    return {name: value for name, value in entry.items() if value is not None}


@overload
def listed(text: str | Sequence[str]) -> list[str]: ...


@overload
def listed(text: str | Sequence[str] | None) -> list[str] | None: ...


def listed(text: str | Sequence[str] | None) -> list[str] | None:
    """``person,car`` as names; a list as it is, and None for None."""
    if text is None or not isinstance(text, str):
        return None if text is None else list(text)
    return [name.strip() for name in text.split(",") if name.strip()]


def check_count(setting: str, number: int | None) -> None:
    """Raises :class:`UsageError` unless ``number`` is a whole number from 1, or None."""
    if number is not None and (not isinstance(number, int) or number < 1):
        raise UsageError(f"`{setting}` {number!r} is not valid; expected 1 or more")


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
