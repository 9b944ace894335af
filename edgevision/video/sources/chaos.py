"""Faults on purpose: any source, made to behave like a bad camera on a bad network, the same each time."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from edgevision.closeable import Closeable
from edgevision.errors import UsageError
from edgevision.types import Frame, Image
from edgevision.units import duration_s
from edgevision.video.base import Connection, ConnectionState, FailReason, Source, SourceReport
from edgevision.video.sources.options import read_options, yes_or_no

SCHEME = "chaos://"
_LONG = (25, 75)  # frames that a freeze or an outage lasts
_SCALES = (0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. Shares are of frames, 0 to 1; each fault has dice of its own, so that one more does
    not change when the others strike.

    Attributes:
        drop: lost on the way, without a trace.
        corrupt: arrives and cannot be decoded; counted as such.
        freeze: begins a freeze: the same picture for 25 to 75 frames, at times that go on.
        resize: begins a smaller size, or ends it.
        disconnect: begins an outage of 25 to 75 frames, after which the source is back.
        jitter_s: each frame comes late by up to so much.
        seed: of the dice.
        live: a recording is played in its own time, as a camera that waits for nobody.
    """

    drop: float = 0.0
    corrupt: float = 0.0
    freeze: float = 0.0
    resize: float = 0.0
    disconnect: float = 0.0
    jitter_s: float = 0.0
    seed: int = 0
    live: bool = False


def split_faults(uri: str) -> tuple[str, Faults]:
    """The source and the faults of ``chaos://SRC?drop=0.1&jitter=40ms``; the last ``?`` parts them.

    Raises:
        UsageError: no faults, an unknown one, or an impossible value.
    """
    inner, _, query = uri[len(SCHEME) :].rpartition("?")
    if not inner or not query:
        raise UsageError(
            "chaos:// needs a source and faults, such as chaos://demo?drop=0.1; "
            f"it has: {', '.join(_READERS)}"
        )
    values = read_options(query, _READERS, "chaos")
    if "jitter" in values:
        values["jitter_s"] = values.pop("jitter")
    return inner, Faults(**values)


class ChaosSource(Closeable):
    """Passes a source's frames on, with faults put in.

    What it does is drawn from a seed and counted in frames, so a run can be repeated; only ``jitter_s`` and
    ``live`` take time. What it did is one line in ``report.notes``.

    Args:
        source: any; closed with this one.
        faults: what goes wrong.
    """

    def __init__(self, source: Source, faults: Faults) -> None:
        self.info = replace(source.info, is_live=source.info.is_live or faults.live)
        connection = source.report.connection
        if connection is None and (faults.disconnect or self.info.is_live):
            connection = Connection()
        self.report = SourceReport(connection=connection)
        self._source = source
        self._faults = faults
        self._dice = {name: random.Random(f"{faults.seed} {name}") for name in _READERS}
        self._done: Counter[str] = Counter()
        self._seen_failed: Counter[FailReason] = Counter()
        self._closed = threading.Event()
        self._frozen: tuple[int, Image] | None = None
        self._scale = 1.0
        self._base_s: float | None = None

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._connected(iter(self._source)):
            if self._strikes("drop"):
                continue
            if self._strikes("corrupt"):
                self.report.failed[FailReason.UNDECODABLE] += 1
                continue
            image = self._resized(self._thawing(frame.image))
            self._delay(frame)
            if self._closed.is_set():
                return
            index = self.report.read
            self.report.read += 1
            yield replace(frame, image=image, index=index)
        self.report.problem = self._source.report.problem

    def close(self) -> None:
        """Closes the source; safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._source.close()
        if self.report.connection is not None:
            self.report.connection.state = ConnectionState.CLOSED
        done = ", ".join(f"{name} {self._done[name]}" for name in _READERS if self._done[name])
        self.report.notes += [*self._source.report.notes, f"chaos on purpose: {done or 'nothing happened'}"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._source.__exit__(kind, error, trace)

    def _strikes(self, name: str) -> bool:
        share: float = getattr(self._faults, name)
        struck = self._dice[name].random() < share
        self._done[name] += struck
        return struck

    def _length(self, name: str) -> int:
        return self._dice[name].randint(*_LONG)

    def _connected(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames outside outages."""
        for frame in frames:
            self._pass_on_failures()
            connection = self.report.connection
            if connection is None or not self._strikes("disconnect"):
                yield frame
                continue
            since = time.monotonic()
            connection.state = ConnectionState.RECONNECTING
            connection.error = f"lost {self.info.name}: chaos on purpose"
            self._lose(frames, self._length("disconnect") - 1)
            self._pass_on_failures()
            connection.state = ConnectionState.CONNECTED
            connection.reconnects += 1
            connection.lost_s += time.monotonic() - since

    def _lose(self, frames: Iterator[Frame], count: int) -> None:
        """In their own time; on its own, so that the last one is gone when it returns."""
        for frame in itertools.islice(frames, count):
            self._delay(frame)

    def _pass_on_failures(self) -> None:
        for reason, count in self._source.report.failed.items():
            self.report.failed[reason] += count - self._seen_failed[reason]
            self._seen_failed[reason] = count

    def _thawing(self, image: Image) -> Image:
        if self._frozen is not None:
            left, frozen = self._frozen
            self._frozen = (left - 1, frozen) if left > 1 else None
            return np.array(frozen)
        if self._strikes("freeze"):
            self._frozen = (self._length("freeze") - 1, image.copy())
        return image

    def _resized(self, image: Image) -> Image:
        if self._strikes("resize"):
            self._scale = 1.0 if self._scale != 1.0 else self._dice["resize"].choice(_SCALES)
        if self._scale == 1.0:
            return image
        width, height = (
            max(2, int(side * self._scale) // 2 * 2) for side in (image.shape[1], image.shape[0])
        )
        smaller: Image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
        return smaller

    def _delay(self, frame: Frame) -> None:
        late_s = self._faults.jitter_s * self._dice["jitter"].random()
        if not self.info.is_live:
            self._closed.wait(late_s)
            return
        now = time.monotonic()
        if self._base_s is None:
            self._base_s = now - frame.time_s
        self._closed.wait(max(0.0, self._base_s + frame.time_s + late_s - now))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("a share of the frames, 0 to 1, such as 0.05")
    return share


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


_READERS: Mapping[str, Callable[[str], Any]] = {
    "drop": _share,
    "corrupt": _share,
    "freeze": _share,
    "resize": _share,
    "disconnect": _share,
    "jitter": duration_s,
    "seed": _seed,
    "live": yes_or_no,
}
