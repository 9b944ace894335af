"""H.264 encoding as used by all video outputs: even sizes, yuv420p, BT.709, MPEG's 90 kHz clock."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from edgevision.errors import SinkError
from edgevision.types import Image

TIME_BASE = Fraction(1, 90_000)  # MPEG's clock: whole ticks for 24, 25, 30 and 30000/1001 frames per second
DEFAULT_RATE = 25.0
_KEY_FRAME_S = 2.0
_BT709 = 1  # ISO/IEC 23091-2 code of the primaries, the transfer curve and the matrix alike
_LIMITED_RANGE = 1


def nominal_rate(rate: float) -> Fraction:
    """A rate as containers declare it; a frame an hour or a day is declared as one in a thousand seconds."""
    return max(Fraction(rate).limit_denominator(1001), Fraction(1, 1000))


def add_h264_stream(
    container: OutputContainer,
    size: tuple[int, int],
    rate: float,
    *,
    options: Mapping[str, str],
    pixel_aspect: Fraction = Fraction(1),
    threads: int = 2,
    time_base: Fraction = TIME_BASE,
) -> VideoStream:
    """Adds an encoder for frames of ``size``, which :class:`YuvConverter` pads to even sizes.

    Args:
        container: the output that the stream is added to.
        size: width and height of the frames, in pixels.
        rate: nominal frames per second; determines the key frame interval.
        options: options of x264.
        pixel_aspect: width of a pixel over its height.
        threads: encoder threads.
        time_base: seconds in a tick.

    Raises:
        SinkError: this build of PyAV has no x264.
    """
    try:
        stream = container.add_stream("libx264", rate=nominal_rate(rate), options=dict(options))
    except av.error.FFmpegError as error:
        raise SinkError("this PyAV has no H.264 encoder (libx264); write frames/%06d.jpg instead") from error
    width, height = size
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    stream.time_base = time_base
    context = stream.codec_context
    context.time_base = time_base
    context.thread_count = threads
    context.gop_size = max(1, round(_KEY_FRAME_S * rate))
    context.sample_aspect_ratio = pixel_aspect
    context.color_range = _LIMITED_RANGE
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    return stream


class YuvConverter:
    """Converts images to frames for the encoder; an odd last row or column is duplicated."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, image: Image) -> VideoFrame:
        height, width = image.shape[:2]
        if width % 2 or height % 2:
            image = np.asarray(
                cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8
            )
        frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
