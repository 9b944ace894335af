"""The process that sends one stream: raw images come in, H.264 goes out by one of FFmpeg's muxers.

It is a process of its own because opening a network output holds the interpreter's lock, and a peer that
stops reading blocks for ever: whoever started it kills it when it is late. It reads a line of JSON
(:class:`Order`) and then images from standard input, and writes :data:`READY`, and a byte for each image that
arrived, to standard output (:class:`~edgevision.video.sinks.receipts.Receipts`). It ends with the thread that
started it, also where that is killed: nobody else would end it while its peer is silent.
"""

from __future__ import annotations

import ctypes
import signal
import struct
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, Literal

import av
import msgspec
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from edgevision.video.codec.h264 import TIME_BASE, add_h264_stream, nominal_rate
from edgevision.video.sinks.receipts import Receipts

HEAD = struct.Struct(">qI")
"""Before each image: when it is shown, in ticks of 1/90000 s, and the bytes that follow."""
READY = b"r"
"""Written once the process has begun."""
EXIT_FAILED, EXIT_IMPOSSIBLE = 3, 4
"""Exit statuses: it may work another time, or never will."""

_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h
# No B-frames: servers refuse times that go back. Every image leaves at once.
_ENCODER = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "bf": "0"}


# FFmpeg's quality 3 of 2 to 31, times its factor of 118; near quality 90 of other programs.
_JPEG_ENCODER = {"flags": "+qscale", "global_quality": "354"}

Codec = Literal["h264", "mjpeg"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and where.

    Attributes:
        address: for FFmpeg; may hold a password, so it is no argument of the process, which all users see.
        muxer: FFmpeg's name of the format.
        options: of the muxer.
        width, height: of the images, even.
        rate: nominal frames a second.
        aspect: width and height of a pixel.
        codec: ``h264``, or ``mjpeg`` for one JPEG after another.
        encoder: further options of the encoder.
    """

    address: str
    muxer: str
    options: dict[str, str]
    width: int
    height: int
    rate: float
    aspect: tuple[int, int] = (1, 1)
    codec: Codec = "h264"
    encoder: dict[str, str] = {}


def main() -> None:
    """Sends what comes in until it ends; ends in :class:`SystemExit` where it cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    stdout.write(READY)
    stdout.flush()
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
        stdout: gets a byte for each image that arrived.

    Raises:
        av.error.FFmpegError, OSError: it cannot be opened, or the peer is gone.
    """
    container = av.open(order.address, "w", format=order.muxer, container_options=dict(order.options))
    with container:
        stream = _add_stream(container, order)
        to_jpeg = VideoReformatter()
        first: int | None = None
        receipts = Receipts(stdout, is_tcp=order.muxer != "whip")  # whose offer goes over TCP, and no image
        for ticks, image in frames:
            first = ticks if first is None else first
            frame = VideoFrame.from_ndarray(image, format="yuv420p")
            if order.codec == "mjpeg":  # JFIF: BT.601 in the full range
                frame = to_jpeg.reformat(
                    frame,
                    format="yuvj420p",
                    src_colorspace=Colorspace.ITU709,
                    dst_colorspace=Colorspace.ITU601,
                    src_color_range=ColorRange.MPEG,
                    dst_color_range=ColorRange.JPEG,
                )
            frame.pts, frame.time_base = ticks - first, TIME_BASE
            container.mux(stream.encode(frame))
            receipts.add()
        container.mux(stream.encode(None))
        receipts.wait()


def _add_stream(container: OutputContainer, order: Order) -> VideoStream:
    aspect = Fraction(*order.aspect)
    if order.codec == "h264":
        options = {**_ENCODER, **order.encoder}
        size = (order.width, order.height)
        return add_h264_stream(container, size, order.rate, options=options, pixel_aspect=aspect, threads=1)
    stream = container.add_stream("mjpeg", rate=nominal_rate(order.rate), options=_JPEG_ENCODER)
    stream.width, stream.height, stream.pix_fmt = order.width, order.height, "yuvj420p"
    stream.time_base = stream.codec_context.time_base = TIME_BASE
    stream.codec_context.sample_aspect_ratio = aspect
    return stream
