"""The process that sends one stream: raw images come in, H.264 goes out by one of FFmpeg's muxers.

It is a process of its own because opening a network output holds the interpreter's lock, and a peer that
stops reading blocks for ever: whoever started it kills it when it is late. It reads a line of JSON
(:class:`Order`) and then images from standard input, and writes a byte for each image that the muxer took to
standard output.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import msgspec
import numpy as np
from av.video.frame import VideoFrame

from edgevision.video.codec.h264 import TIME_BASE, add_h264_stream

HEAD = struct.Struct(">qI")
"""Before each image: when it is shown, in ticks of 1/90000 s, and the bytes that follow."""
TAKEN = b"."
EXIT_FAILED, EXIT_IMPOSSIBLE = 3, 4
"""Exit statuses: it may work another time, or never will."""

# No B-frames: servers refuse times that go back. Every image leaves at once.
_ENCODER = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "bf": "0"}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and where.

    Attributes:
        address: for FFmpeg; may hold a password, so it is no argument of the process, which all users see.
        muxer: FFmpeg's name of the format.
        options: of the muxer.
        width, height: of the images, even.
        rate: nominal frames a second.
        aspect: width and height of a pixel.
    """

    address: str
    muxer: str
    options: dict[str, str]
    width: int
    height: int
    rate: float
    aspect: tuple[int, int] = (1, 1)


def main() -> None:
    """Sends what comes in until it ends; ends in :class:`SystemExit` where it cannot."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    order = msgspec.json.decode(stdin.readline(), type=Order)
    try:
        send(order, images(stdin, order), stdout)
    except (av.error.FFmpegError, OSError) as error:
        impossible = (av.error.ProtocolNotFoundError, av.error.MuxerNotFoundError)
        sys.stderr.write(f"{error.strerror or type(error).__name__}\n")
        raise SystemExit(EXIT_IMPOSSIBLE if isinstance(error, impossible) else EXIT_FAILED) from None


def images(stdin: BinaryIO, order: Order) -> Iterator[tuple[int, Any]]:
    """Times in ticks, and planar YUV images, uint8 ``[H * 3 / 2, W]``, until the input ends."""
    while len(head := stdin.read(HEAD.size)) == HEAD.size:
        ticks, size = HEAD.unpack(head)
        data = stdin.read(size)
        if len(data) < size:
            return
        yield ticks, np.frombuffer(data, np.uint8).reshape(order.height * 3 // 2, order.width)


def send(order: Order, frames: Iterator[tuple[int, Any]], stdout: BinaryIO) -> None:
    """Sends images.

    Args:
        order: where to.
        frames: see :func:`images`; times that rise.
        stdout: gets a byte for each image that was taken.

    Raises:
        av.error.FFmpegError, OSError: it cannot be opened, or the peer is gone.
    """
    container = av.open(order.address, "w", format=order.muxer, container_options=dict(order.options))
    with container:
        stream = add_h264_stream(
            container,
            (order.width, order.height),
            order.rate,
            options=_ENCODER,
            pixel_aspect=Fraction(*order.aspect),
            threads=1,
        )
        first: int | None = None
        for ticks, image in frames:
            first = ticks if first is None else first
            frame = VideoFrame.from_ndarray(image, format="yuv420p")
            frame.pts, frame.time_base = ticks - first, TIME_BASE
            container.mux(stream.encode(frame))
            stdout.write(TAKEN)
            stdout.flush()
        container.mux(stream.encode(None))
