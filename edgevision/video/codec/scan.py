"""What the packets of a recording say before anything is decoded, and where it can be cut into spans.

A span begins at a key frame and is decoded alone. That gives the frames of one pass only where the rules here
and in :mod:`edgevision.video.sources.span` hold; they were measured on 1,300 clips of seven containers.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import av
import msgspec
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from edgevision.errors import SourceError
from edgevision.files import atomic_path
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.decode import LIBRARY_ERRORS, library_reason, packets_of, video_stream
from edgevision.video.codec.timeline import AHEAD_FRAMES, LAST_GAP_NS, ODD_STEP_NS

GENERATE_TIMES = 0x1  # AVFMT_FLAG_GENPTS of libavformat/avformat.h
NO_TIME = -(1 << 63)  # AV_NOPTS_VALUE
KEY, HIDDEN, CORRUPT = 1, 2, 4

_REORDERED = 16  # frames: the most by which H.264 and HEVC reorder
_BACK_NS = 500_000_000
_LAST = 6  # frames
_FAR = 3  # usual steps: less than WrongTimes takes, which goes by the declared rate


@dataclass(frozen=True, slots=True, eq=False)
class PacketScan:
    """All packets of a recording's video stream that are not empty, in the order of the file.

    Attributes:
        time_base: seconds of one unit of their times.
        pts, dts: int64 ``[N]`` each, in that unit; :data:`NO_TIME` where a packet has none.
        sizes: int64 ``[N]``, in bytes.
        flags: uint8 ``[N]``: :data:`KEY`, :data:`HIDDEN` and :data:`CORRUPT`.
        is_generated: the file holds no presentation times, and these are FFmpeg's, from the decoding times.
            They tell frames apart; one pass over the file takes the decoding times.
        digest: BLAKE2b of the packets' content, hexadecimal.
        problem: one line where reading ended with an error; else None.
    """

    time_base: Fraction
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    flags: NDArray[np.uint8]
    is_generated: bool = False
    digest: str = ""
    problem: str | None = None

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which packets become frames that are shown; an edit list hides others."""
        shown: NDArray[np.bool_] = (self.flags & HIDDEN) == 0
        return shown

    @property
    def keys(self) -> NDArray[np.intp]:
        """Positions of the packets at which decoding may begin and whose frames are shown."""
        return np.flatnonzero((self.flags & (KEY | HIDDEN)) == KEY)

    def times(self) -> NDArray[np.int64]:
        """Presentation times of the frames that are shown, rising; packets without one are left out."""
        times = self.pts[self.visible]
        return np.sort(times[times != NO_TIME])

    def moments_ns(self) -> list[int]:
        """As :meth:`times`, in nanoseconds since the first."""
        unit = self.time_base * 1_000_000_000
        stamps = [round(time * unit) for time in self.times().tolist()]
        return [stamp - stamps[0] for stamp in stamps]

    def find(self, packet: Packet[VideoStream]) -> int | None:
        """Position of a packet, by its time and size; None where that is not one place."""
        pts = NO_TIME if packet.pts is None else packet.pts
        found = np.flatnonzero((self.pts == pts) & (self.sizes == packet.size))
        return int(found[0]) if len(found) == 1 else None

    def is_at(self, position: int, packet: Packet[VideoStream]) -> bool:
        """Whether the packet is the one at a position."""
        if position >= len(self):
            return False
        pts = NO_TIME if packet.pts is None else packet.pts
        return bool(self.pts[position] == pts and self.sizes[position] == packet.size)


class SpanPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a recording: the frames with ``start <= pts < end``.

    Attributes:
        number: of the span, from 0.
        start, end: presentation times in the stream's time base; None for the first and last of the file.
        first_index: number of the span's first frame in the whole file.
        frames: how many there are.
    """

    number: int
    start: int | None
    end: int | None
    first_index: int
    frames: int


def scan_packets(path: Path) -> PacketScan:
    """Reads the packets of a file without decoding them: 80,000 to 118,000 a second were measured.

    Raises:
        SourceError: it cannot be opened, or has no video stream.
    """
    scan = _scan(path, generate=False)
    has_no_times = bool((scan.pts == NO_TIME).any())
    return _scan(path, generate=True) if has_no_times and bool((scan.dts != NO_TIME).all()) else scan


def open_scanned(path: Path, generate: bool) -> tuple[InputContainer, VideoStream]:
    """Opens a file as :func:`scan_packets` reads it.

    Args:
        path: the file.
        generate: let FFmpeg compute presentation times where there are none.

    Raises:
        SourceError: it cannot be opened, or has no video stream.
    """
    try:
        container = open_video_file(path)
    except LIBRARY_ERRORS as error:
        raise SourceError(f"cannot read {path}: {library_reason(error)}") from error
    if not generate:
        container.flags &= ~GENERATE_TIMES
    return container, video_stream(container, str(path))


def _scan(path: Path, generate: bool) -> PacketScan:
    container, stream = open_scanned(path, generate)
    pts, dts, sizes, flags = array("q"), array("q"), array("q"), array("B")
    digest, problem = blake2b(digest_size=16), None
    with container:
        try:
            for packet in packets_of(container, stream):
                if packet.size:
                    pts.append(NO_TIME if packet.pts is None else packet.pts)
                    dts.append(NO_TIME if packet.dts is None else packet.dts)
                    sizes.append(packet.size)
                    flags.append(
                        KEY * packet.is_keyframe + HIDDEN * packet.is_discard + CORRUPT * packet.is_corrupt
                    )
                    digest.update(memoryview(packet))
        except LIBRARY_ERRORS as error:
            problem = f"reading stopped: {library_reason(error)}"
        time_base = Fraction(stream.time_base or Fraction(1, av.time_base))
    return PacketScan(
        time_base=time_base,
        pts=np.array(pts, np.int64),
        dts=np.array(dts, np.int64),
        sizes=np.array(sizes, np.int64),
        flags=np.array(flags, np.uint8),
        is_generated=generate,
        digest=digest.hexdigest(),
        problem=problem,
    )


def why_in_one_go(scan: PacketScan) -> str | None:
    """Why the packets do not allow to cut the recording; None where they do."""
    times = scan.pts[scan.visible]
    decoding = scan.dts[scan.dts != NO_TIME]
    if scan.problem is not None:
        return scan.problem
    if (scan.flags & CORRUPT).any():
        return "a packet is incomplete"
    if (times == NO_TIME).any():
        return "a packet has no presentation time"
    if len(np.unique(times)) < len(times):
        return "two packets have one presentation time"
    if len(scan.keys) < 2:
        return "there are no two key frames"
    if (np.diff(scan.pts[scan.keys]) <= 0).any():
        return "the times of the key frames do not rise"
    if (np.diff(decoding) < 0).any():
        return "the decoding times go back"
    if _may_have_wrong_times(scan):
        return "some of the times may be wrong"
    return None


def _may_have_wrong_times(scan: PacketScan) -> bool:
    """Whether a pass over the file might find times that :class:`WrongTimes` corrects.

    Of times that rise it corrects the first and the last ones alone, where they are far from the others.
    """
    times, unit_ns = scan.pts[scan.visible], float(scan.time_base) * 1e9
    back_ns = (np.maximum.accumulate(times) - times).max() * unit_ns
    steps_ns: NDArray[np.float64] = np.diff(np.sort(times)).astype(np.float64) * unit_ns
    usual_ns = float(np.median(steps_ns))
    far_ns = max(ODD_STEP_NS, _FAR * usual_ns)
    return bool(
        back_ns > _BACK_NS + _REORDERED * usual_ns
        or (steps_ns[: AHEAD_FRAMES + 1] > far_ns).any()
        or (steps_ns[-_LAST + 1 :] > LAST_GAP_NS).any()
    )


def plan_spans(scan: PacketScan, frames: int) -> list[SpanPlan]:
    """Cuts a recording at key frames.

    Args:
        scan: one of which :func:`why_in_one_go` finds nothing.
        frames: that a span should have at least; it goes on to the next key frame, and one that is shorter
            than half of that at the end belongs to the span before.

    Returns:
        The spans in order, each frame in one of them; a single one where the file is not longer than that.
    """
    times = scan.times()
    cuts = [0]
    for position in np.searchsorted(times, scan.pts[scan.keys]).tolist():
        if position - cuts[-1] >= frames and len(times) - position >= frames / 2:
            cuts.append(position)
    ends = [*cuts[1:], len(times)]
    return [
        SpanPlan(
            number=number,
            start=None if number == 0 else int(times[first]),
            end=None if end == len(times) else int(times[end]),
            first_index=first,
            frames=end - first,
        )
        for number, (first, end) in enumerate(zip(cuts, ends, strict=True))
    ]


def save_scan(scan: PacketScan, path: Path) -> None:
    """Writes a scan for :func:`load_scan`; the file is complete or not there.

    Raises:
        SinkError: it cannot be written.
    """
    about = np.array([scan.time_base.numerator, scan.time_base.denominator, scan.is_generated], np.int64)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(
            file, about=about, pts=scan.pts, dts=scan.dts, sizes=scan.sizes, flags=scan.flags,
            digest=np.frombuffer(bytes.fromhex(scan.digest), np.uint8),
        )  # fmt: skip


def load_scan(path: Path) -> PacketScan:
    """Reads what :func:`save_scan` wrote.

    Raises:
        OSError, ValueError: it is not there, or is not a scan.
    """
    with np.load(path, allow_pickle=False) as held:
        numerator, denominator, is_generated = held["about"].tolist()
        return PacketScan(
            Fraction(numerator, denominator), held["pts"], held["dts"], held["sizes"], held["flags"],
            bool(is_generated), held["digest"].tobytes().hex(),
        )  # fmt: skip
