"""Fault injection: makes any source behave like a faulty camera on a bad network, reproducibly."""

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

from edgevision.address import HIDDEN, Address
from edgevision.closeable import Closeable
from edgevision.errors import UsageError
from edgevision.types import Frame, Image
from edgevision.units import duration_s
from edgevision.video.base import Connection, ConnectionState, FailReason, Source, SourceReport
from edgevision.video.sources.options import read_options, yes_or_no

SCHEME = "chaos://"
_DURATION = (25, 75)  # least and most frames of a freeze or an outage
_SCALES = (0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults to inject. Probabilities are per frame, 0 to 1; each fault has its own random generator, so
    that adding one does not change when the others occur.

    Attributes:
        drop: the frame is lost without a trace.
        corrupt: the frame arrives but cannot be decoded; it is counted as undecodable.
        freeze: starts a freeze: the same image for 25 to 75 frames, with increasing times.
        resize: switches between the full and a smaller frame size.
        disconnect: starts an outage of 25 to 75 frames, after which the source reconnects.
        jitter_s: each frame is delayed by a random time of up to this many seconds.
        seed: random seed.
        live: plays a recording in real time, like a camera.
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
    """The source and the faults of ``chaos://SRC?drop=0.1&jitter=40ms``, separated by the last ``?``.

    Raises:
        UsageError: no faults are given, one is unknown, or a value is invalid.
    """
    inner, _, query = uri[len(SCHEME) :].rpartition("?")
    if not inner or not query:
        raise UsageError(
            "chaos:// needs a source and faults, such as chaos://demo?drop=0.1; "
            f"known faults: {', '.join(_READERS)}"
        )
    # Where the faults are forgotten, this is the stream's own query, or the end of a password.
    is_query = "@" not in query and "=" in query.partition("&")[0]
    is_shown = "://" not in inner or HIDDEN not in Address.parse(inner).shown
    values = read_options(query, _READERS, "chaos", quotes=is_query and is_shown)
    if "jitter" in values:
        values["jitter_s"] = values.pop("jitter")
    return inner, Faults(**values)


class ChaosSource(Closeable):
    """Delivers a source's frames with faults injected.

    Faults depend only on the random seed and the frame number, so a run can be repeated; ``jitter_s`` and
    ``live`` also depend on the clock. One line of ``report.notes`` counts the faults.

    Args:
        source: any source; closed with this one.
        faults: the faults to inject.
    """

    def __init__(self, source: Source, faults: Faults) -> None:
        self.info = replace(source.info, is_live=source.info.is_live or faults.live)
        connection = source.report.connection
        if connection is None and (faults.disconnect or self.info.is_live):
            connection = Connection()
        self.report = SourceReport(connection=connection)
        self._source = source
        self._faults = faults
        self._random = {name: random.Random(f"{faults.seed} {name}") for name in _READERS}
        self._counts: Counter[str] = Counter()
        self._seen_failed: Counter[FailReason] = Counter()
        self._closed = threading.Event()
        self._frozen: tuple[int, Image] | None = None
        self._scale = 1.0
        self._base_s: float | None = None

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._connected(iter(self._source)):
            if self._occurs("drop"):
                continue
            if self._occurs("corrupt"):
                self.report.failed[FailReason.UNDECODABLE] += 1
                continue
            image = self._resized(self._maybe_frozen(frame.image))
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
        done = ", ".join(f"{name} {self._counts[name]}" for name in _READERS if self._counts[name])
        self.report.notes += [*self._source.report.notes, f"injected faults: {done or 'none'}"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._source.__exit__(kind, error, trace)

    def _occurs(self, name: str) -> bool:
        probability: float = getattr(self._faults, name)
        occurs = self._random[name].random() < probability
        self._counts[name] += occurs
        return occurs

    def _length(self, name: str) -> int:
        return self._random[name].randint(*_DURATION)

    def _connected(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames that are not lost in an outage."""
        for frame in frames:
            self._pass_on_failures()
            connection = self.report.connection
            if connection is None or not self._occurs("disconnect"):
                yield frame
                continue
            since = time.monotonic()
            connection.state = ConnectionState.RECONNECTING
            connection.error = f"lost {self.info.name}: injected fault"
            self._skip(frames, self._length("disconnect") - 1)
            self._pass_on_failures()
            connection.state = ConnectionState.CONNECTED
            connection.reconnects += 1
            connection.lost_s += time.monotonic() - since

    def _skip(self, frames: Iterator[Frame], count: int) -> None:
        """Consumes frames at their own times; a method, so that the last frame is released on return."""
        for frame in itertools.islice(frames, count):
            self._delay(frame)

    def _pass_on_failures(self) -> None:
        for reason, count in self._source.report.failed.items():
            self.report.failed[reason] += count - self._seen_failed[reason]
            self._seen_failed[reason] = count

    def _maybe_frozen(self, image: Image) -> Image:
        if self._frozen is not None:
            left, frozen = self._frozen
            self._frozen = (left - 1, frozen) if left > 1 else None
            return np.array(frozen)
        if self._occurs("freeze"):
            self._frozen = (self._length("freeze") - 1, image.copy())
        return image

    def _resized(self, image: Image) -> Image:
        if self._occurs("resize"):
            self._scale = 1.0 if self._scale != 1.0 else self._random["resize"].choice(_SCALES)
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
        late_s = self._faults.jitter_s * self._random["jitter"].random()
        if not self.info.is_live:
            self._closed.wait(late_s)
            return
        now = time.monotonic()
        if self._base_s is None:
            self._base_s = now - frame.time_s
        self._closed.wait(max(0.0, self._base_s + frame.time_s + late_s - now))


def _probability(text: str) -> float:
    try:
        probability = float(text)
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise ValueError("a probability per frame, 0 to 1, such as 0.05")
    return probability


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


_READERS: Mapping[str, Callable[[str], Any]] = {
    "drop": _probability,
    "corrupt": _probability,
    "freeze": _probability,
    "resize": _probability,
    "disconnect": _probability,
    "jitter": duration_s,
    "seed": _seed,
    "live": yes_or_no,
}
