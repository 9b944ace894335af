"""Which streams a run has: from the options, or from a YAML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevision.config import load_config
from edgevision.errors import ConfigError, UsageError
from edgevision.recording.limits import Rotation, parse_rotation
from edgevision.units import duration_s, parse_seconds, parse_size

_ROTATE, _PRE, _POST = "10m", "5s", "10s"


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """How a stream is recorded; see docs/recording.md.

    Attributes:
        folder: where files go.
        rotation: when a new one begins.
        keep: bytes that all may take; None for no limit.
        classes: record clips around these only; None to record everything.
        pre_s, post_s: of clips, in seconds.
    """

    folder: Path
    rotation: Rotation
    keep: int | None
    classes: list[str] | None
    pre_s: float
    post_s: float


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One stream as the user asks for it; the options of ``edgevision run`` say what the fields mean.

    Attributes:
        name: for people, and of default outputs; the source's where empty.
        max_latency: with its unit, as in ``150ms``; a number alone is read, to be refused in plain words.
        events: files and brokers that are told what objects do.
        record, rotate, keep, record_on, pre, post: see :attr:`recording`.
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
    events: list[str] = []
    event_pictures: str | None = None
    record: str | None = None
    rotate: str | None = None
    keep: str | None = None
    record_on: str | None = None
    pre: str | None = None
    post: str | None = None

    @property
    def is_tracked(self) -> bool:
        return self.track or self.zones is not None or bool(self.events)

    @property
    def is_watched(self) -> bool:
        """Whether events or recordings come out of it."""
        return bool(self.events) or self.record is not None

    @property
    def recording(self) -> RecordingPlan | None:
        """What ``--record`` and the options around it ask for.

        Raises:
            UsageError: a size or time is none, or an option lacks the one that it belongs to.
        """
        clips = {"--pre": self.pre, "--post": self.post}
        files = {"--rotate": self.rotate, "--keep": self.keep, "--record-on": self.record_on}
        for options, needed, is_given in (
            (files, "--record DIR", self.record is not None),
            (clips, "--record-on CLASSES", self.record_on is not None),
        ):
            stray = [option for option, text in options.items() if text is not None]
            if stray and not is_given:
                raise UsageError(f"{stray[0]} needs {needed}")
        if self.event_pictures is not None and not self.events:
            raise UsageError("--event-pictures needs --events FILE or BROKER")
        if self.record is None:
            return None
        return RecordingPlan(
            folder=Path(self.record),
            rotation=parse_rotation(self.rotate or _ROTATE),
            keep=None if self.keep is None else parse_size(self.keep),
            classes=None if self.record_on is None else listed(self.record_on),
            pre_s=parse_seconds(self.pre or _PRE),
            post_s=parse_seconds(self.post or _POST),
        )

    @property
    def max_latency_ms(self) -> float | None:
        """The bound in milliseconds.

        Raises:
            UsageError: it is no time.
        """
        if self.max_latency is None:
            return None
        try:
            seconds = duration_s(str(self.max_latency))
        except ValueError as error:
            raise UsageError(f"--max-latency {self.max_latency}: expected {error}") from None
        if seconds <= 0:
            raise UsageError(f"--max-latency {self.max_latency}: expected a time above 0, as in 150ms")
        return seconds * 1e3

    def files(self) -> dict[str, Path | None]:
        """The outputs that may name a file, by their options."""
        named = {"--output": self.output, "--save-json": self.save_json}
        return {option: None if path is None else Path(path) for option, path in named.items()}


_INHERITED = (
    "display",
    "track",
    "zones",
    "max_latency",
    "events",
    "event_pictures",
    "record",
    "rotate",
    "keep",
    "record_on",
    "pre",
    "post",
)
"""What a stream of a file takes from the command line where it says nothing of its own."""


class StreamsFile(msgspec.Struct, frozen=True, kw_only=True):
    """``streams.yaml``; see docs/pipeline.md."""

    streams: list[StreamSpec]


def read_streams(path: Path, defaults: StreamSpec) -> list[StreamSpec]:
    """The streams of a file; what one leaves open is as in ``defaults``.

    Raises:
        ConfigError: the file is unreadable, has an unknown key, no stream, or a name twice.
    """
    streams = load_config(path, StreamsFile).streams
    if not streams:
        raise ConfigError(f"{path}: no stream; expected at least one under 'streams', with its 'source'")
    for position, spec in enumerate(streams):
        if not spec.source.strip():
            raise ConfigError(f"{path}: streams.{position} has an empty source")
        try:
            _ = spec.max_latency_ms
        except UsageError as error:
            raise ConfigError(f"{path}: streams.{position}: {error}") from None
    for name, count in Counter(spec.name for spec in streams if spec.name).items():
        if count > 1:
            raise ConfigError(f"{path}: {count} streams are called '{name}'; results could not be told apart")
    return [
        msgspec.structs.replace(
            spec, **{name: getattr(spec, name) or getattr(defaults, name) for name in _INHERITED}
        )
        for spec in streams
    ]


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
