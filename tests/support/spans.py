"""Recordings of many kinds for tests of splitting, and the two ways to read them that must agree."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.video.codec.scan import plan_spans, scan_packets, why_in_one_go
from edgevision.video.sources.file import FileSource
from edgevision.video.sources.span import NotProvenError, SpanSource

ReadFrame = tuple[int, int, str]
"""Number, time in nanoseconds since the first frame, and hash of the pixels."""

KINDS = (
    (".mp4", "libx264"), (".mp4", "libx265"), (".mkv", "libx264"), (".webm", "libvpx-vp9"), (".avi", "mpeg4"),
    (".ts", "libx264"), (".flv", "libx264"), (".wmv", "wmv2"), (".mov", "mpeg4"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a clip is made; all of it drawn from one seed."""

    suffix: str
    codec: str
    gop: int
    b_frames: int
    is_open: bool
    is_varying: bool
    is_fragmented: bool
    frames: int

    @classmethod
    def draw(cls, seed: int) -> Recipe:
        draw = random.Random(seed)
        suffix, codec = draw.choice(KINDS)
        return cls(
            suffix=suffix,
            codec=codec,
            gop=draw.randint(1, 50),
            b_frames=draw.choice((0, 0, 1, 2, 3)) if codec != "wmv2" else 0,
            is_open=draw.random() < 0.4,
            is_varying=draw.random() < 0.3 and suffix in (".mp4", ".mkv", ".webm"),
            is_fragmented=draw.random() < 0.3 and suffix == ".mp4",
            frames=draw.randint(50, 130),
        )

    def write(self, path: Path, seed: int) -> Path:
        """Writes the clip: 64x48 pixels, a square that moves over a pattern."""
        draw, generator = random.Random(seed), np.random.default_rng(seed)
        flags = {"movflags": "frag_keyframe+empty_moov"} if self.is_fragmented else {}
        with av.open(path, "w", container_options=flags) as container:
            stream = container.add_stream(self.codec, rate=25, options=self._options())
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 25 if self.suffix == ".avi" else 1000)
            stream.codec_context.gop_size, stream.codec_context.max_b_frames = self.gop, self.b_frames
            stream.codec_context.thread_count = 1
            pattern = generator.integers(0, 256, (48, 64, 3), np.uint8)
            times = moments(1 if self.suffix == ".avi" else 40, draw if self.is_varying else None)
            for frame in with_square([pattern] * self.frames, stream, times):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    def _options(self) -> dict[str, str]:
        if self.codec == "libx264":
            return {
                "preset": "ultrafast",
                "x264-params": f"open-gop={int(self.is_open)}:bframes={self.b_frames}",
            }
        if self.codec == "libx265":
            form = f"open-gop={int(self.is_open)}:bframes={self.b_frames}:keyint={self.gop}"
            return {"preset": "ultrafast", "x265-params": f"{form}:log-level=none:pools=1"}
        if self.codec == "libvpx-vp9":
            return {"deadline": "realtime", "cpu-used": "8", "g": str(self.gop)}
        return {"b": "400k"}


def moments(step: int, draw: random.Random | None) -> Iterator[int]:
    """Times of frames that are ``step`` apart, or one, two or four times that where they vary."""
    moment = 0
    while True:
        yield moment
        moment += step * (1 if draw is None else draw.choice((1, 1, 2, 4)))


def with_square(
    patterns: Iterable[np.ndarray], stream: VideoStream, times: Iterator[int]
) -> Iterator[VideoFrame]:
    """Frames for a stream: each pattern, uint8 ``[H, W, 3]``, with a square that moves over it."""
    for number, pattern in enumerate(patterns):
        image, left = pattern.copy(), number * 3 % 50
        image[10:24, left : left + 14] = number % 256
        frame = VideoFrame.from_ndarray(image, format="bgr24").reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = next(times), stream.codec_context.time_base
        yield frame


def in_one_pass(path: Path) -> list[ReadFrame]:
    with FileSource(path) as source:
        return [(frame.index, frame.timestamp_ns, pixels(frame.image)) for frame in source]


def in_spans(path: Path, frames: int) -> list[ReadFrame] | str:
    """The frames by way of spans of so many, or why the file is read in one go."""
    scan = scan_packets(path)
    why = why_in_one_go(scan)
    if why is not None:
        return why
    with FileSource(path) as source:
        assert source.info.timeline is not None
        timeline = source.info.timeline.anew()
    found: list[ReadFrame] = []
    tail: list[str] = []
    for plan in plan_spans(scan, frames):
        with SpanSource(path, scan, plan) as span:
            try:
                found += [
                    (frame.index, timeline.next(frame.timestamp_ns), pixels(frame.image)) for frame in span
                ]
            except NotProvenError as error:
                return str(error)
        if tail != span.head[: len(tail)]:
            return "the spans do not meet"
        tail = span.tail
    return found


def flip_bits(path: Path, seed: int) -> None:
    """Damages a file: a few bits, behind the first kilobyte."""
    draw = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 2, 8))):
        data[draw.randrange(min(1024, len(data) // 2), len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def pixels(image: np.ndarray) -> str:
    return blake2b(image.tobytes(), digest_size=8).hexdigest()
