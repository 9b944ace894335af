"""Which streams a run has: from the options, or from a YAML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgevision.config import load_config
from edgevision.errors import ConfigError, UsageError
from edgevision.video.options import duration_s


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One stream as the user asks for it; the options of ``edgevision run`` say what the fields mean.

    Attributes:
        name: for people, and of default outputs; the source's where empty.
        max_latency: with its unit, as in ``150ms``.
    """

    source: str
    name: str = ""
    output: str | None = None
    save_json: str | None = None
    save_masks: str | None = None
    display: bool = False
    track: bool = False
    zones: str | None = None
    max_latency: str | None = None

    @property
    def is_tracked(self) -> bool:
        return self.track or self.zones is not None

    @property
    def max_latency_ms(self) -> float | None:
        """The bound in milliseconds.

        Raises:
            UsageError: it is no time.
        """
        if self.max_latency is None:
            return None
        try:
            seconds = duration_s(self.max_latency)
        except ValueError as error:
            raise UsageError(f"--max-latency {self.max_latency}: expected {error}") from None
        if seconds <= 0:
            raise UsageError(f"--max-latency {self.max_latency}: expected a time above 0, as in 150ms")
        return seconds * 1e3

    def files(self) -> dict[str, Path | None]:
        """The outputs that may name a file, by their options."""
        named = {"--output": self.output, "--save-json": self.save_json}
        return {option: None if path is None else Path(path) for option, path in named.items()}


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
    for name, count in Counter(spec.name for spec in streams if spec.name).items():
        if count > 1:
            raise ConfigError(f"{path}: {count} streams are called '{name}'; results could not be told apart")
    return [
        msgspec.structs.replace(
            spec,
            display=spec.display or defaults.display,
            track=spec.track or defaults.track,
            zones=spec.zones or defaults.zones,
            max_latency=spec.max_latency or defaults.max_latency,
        )
        for spec in streams
    ]


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
