"""The interfaces of sources, which give frames, and of sinks, which take results."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

from edgevision.closeable import Closeable
from edgevision.types import Frame, FrameResult, Image
from edgevision.video.codec.timeline import Timeline


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known about a source before its first frame.

    Attributes:
        name: as users see it, without credentials.
        is_live: True for a camera or network stream: a frame that is not read in time is lost.
        width, height: in pixels; None where every frame may differ (a folder of images).
        frame_rate: frames a second as declared; None where the source has none.
        frame_count: as declared by the container, which may be wrong; None where unknown.
        path: the file or folder that is read, so that no sink writes over it and audio can be copied;
            None for anything else.
        is_image: True for a single image.
        address: of a recording that is read over a network, so that audio can be copied. It may contain a
            password and is never shown.
        timeline: turns the recording's own clock into the times of its frames; grows while it is read. Audio
            follows it.
        pixel_aspect: width of a pixel over its height; 1 for square pixels.
    """

    name: str
    is_live: bool
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    frame_count: int | None = None
    path: Path | None = None
    is_image: bool = False
    address: str | None = field(default=None, repr=False)
    timeline: Timeline | None = field(default=None, repr=False, compare=False)
    pixel_aspect: Fraction = Fraction(1)


class FailReason(str, Enum):
    """Why something that a source sent did not become a frame. It is skipped, and the source continues."""

    UNDECODABLE = "undecodable"
    """The decoder or the image reader refused it."""
    INCOMPLETE = "incomplete"
    """Only a part of it arrived."""
    NO_KEY_FRAME = "no_key_frame"
    """It depends on a frame from before the connection was made."""


class ConnectionState(str, Enum):
    """The state of a live source's connection."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"
    """It ended, was closed, or all permitted attempts to reconnect failed."""


@dataclass(slots=True)
class Connection:
    """The connection of a live source: its state now, and counts since the start.

    The thread that reads the source writes it, also while it waits for the source to come back. Any thread
    may read it, at any time.

    Attributes:
        state: now.
        reconnects: how often it was lost and restored.
        failed_attempts: attempts to reconnect that failed.
        error: one line, without credentials, on why it was lost or could not be opened the last time.
        lost_s: seconds without a connection, over all outages that have ended.
        since_s: while it is away: when that began, on ``time.monotonic``'s clock; else None.
        failed_now: attempts to reconnect that failed since then.
    """

    state: ConnectionState = ConnectionState.CONNECTED
    reconnects: int = 0
    failed_attempts: int = 0
    error: str | None = None
    lost_s: float = 0.0
    since_s: float | None = None
    failed_now: int = 0


@dataclass(slots=True)
class SourceReport:
    """What happened while a source was read. The counts are right at any moment between two frames.

    Attributes:
        read: frames delivered.
        failed: what did not become a frame, by reason. ``read + skipped`` is all that the source sent.
        packets: of a file that was read to its end: what its container holds that should become frames; 0
            where nobody counts.
        problem: one line when the source ended early or was damaged, else None.
        notes: remarks for the user, one line each; complete once the source is closed.
        connection: of a source that reconnects; None for files and other local sources.
    """

    read: int = 0
    failed: Counter[FailReason] = field(default_factory=Counter)
    packets: int = 0
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    connection: Connection | None = None

    @property
    def skipped(self) -> int:
        """Everything that did not become a frame."""
        return self.failed.total()


class Source(Closeable, Protocol):
    """Frames in order, as a context manager that is iterated once.

    Three outcomes are kept apart: iteration that ends (end of stream; ``report.problem`` says if it
    ended early), :class:`~edgevision.errors.SourceTimeoutError` (nothing came in time) and
    :class:`~edgevision.errors.SourceError` (it cannot go on).
    """

    info: SourceInfo
    report: SourceReport

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Releases the device or file; safe to call twice.

        A live source may be closed from any thread; iteration on another thread then ends at once.
        """
        ...


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what an output has to keep was delivered, at one moment.

    Attributes:
        output: its name, without credentials.
        kind: what it keeps. A recording counts images; with a trigger, those of its clips only. A stream
            counts images, too.
        delivered: how many arrived.
        waiting: how many are kept until they can be delivered.
        lost: how many never will be.
        alarm: why nothing can be delivered at the moment, one line; else None.
    """

    output: str
    kind: Literal["recording", "events", "stream"]
    delivered: int = 0
    waiting: int = 0
    lost: int = 0
    alarm: str | None = None


class Sink(Closeable):
    """Takes the result of each frame, as a context manager. The base class of every output.

    A sink of your own inherits, calls ``super().__init__(name)`` and defines :meth:`write`, and :meth:`close`
    where there is something to finish. It is used from one thread, but for :meth:`deliveries`.

    Args:
        name: as users see it, without credentials.

    Attributes:
        name: as given.
        closed: True once the viewer closed it (a window's q, Esc or close button); the stream then ends as
            at the end of its source. Always False for files.
        notes: remarks for the user about the output, one line each.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self.notes: list[str] = []

    @abstractmethod
    def write(self, result: FrameResult, image: Image) -> None:
        """Takes one frame.

        Args:
            result: the frame as it came, with what the models found in it.
            image: the frame's image with overlays drawn, uint8 ``[H, W, 3]``, BGR; the frame's own where
                nothing is drawn.

        Raises:
            SinkError: it cannot be written (a full disk, a closed window's device).
        """

    def written(self) -> str:
        """What was written until now, for people: the file, or the first and the last of several."""
        return self.name

    def source_lost(self) -> None:
        """A live source is away: nothing of what was in the last frame can be seen any more.

        Called once for each time that it is lost, between two frames.
        """

    def close(self) -> None:
        """Finishes the output so that it can be read; called on every way out, and safe to call twice."""

    def deliveries(self) -> tuple[Delivery, ...]:
        """Of a sink that goes on where it cannot keep something: the account of each of its outputs now.

        From any thread. Empty for a sink that raises instead.
        """
        return ()


@runtime_checkable
class Screen(Protocol):
    """A sink with a window, which must handle its events while no frame comes."""

    def refresh(self) -> None:
        """Redraws where needed, and handles keys and the close button. Returns at once.

        Raises:
            SinkError: the window cannot be used any more.
        """
        ...
