"""H.264 as every video here has it: even sizes, yuv420p, BT.709, whole ticks of MPEG's clock."""

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

TIME_BASE = Fraction(1, 90_000)  # MPEG's clock: whole ticks for 24, 25, 30 and 30000/1001 frames a second
DEFAULT_RATE = 25.0
_KEY_FRAME_S = 2.0
_BT709 = 1  # ISO/IEC 23091-2 code of the primaries, the transfer curve and the matrix alike
_LIMITED_RANGE = 1


def add_h264_stream(
    container: OutputContainer,
    size: tuple[int, int],
    rate: float,
    *,
    options: Mapping[str, str],
    pixel_aspect: Fraction = Fraction(1),
    threads: int = 2,
) -> VideoStream:
    """An encoder in ``container`` for pictures of ``size``, which :class:`YuvConverter` makes even.

    Args:
        container: takes the stream.
        size: width and height of the pictures, in pixels.
        rate: nominal frames a second; sets how far key frames lie apart.
        options: of x264.
        pixel_aspect: width of a pixel over its height.
        threads: of the encoder.

    Raises:
        SinkError: this build has no x264.
    """
    try:
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1001), options=dict(options)
        )
    except av.error.FFmpegError as error:
        raise SinkError("this PyAV has no H.264 encoder (libx264); write frames/%06d.jpg instead") from error
    width, height = size
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    stream.time_base = TIME_BASE
    context = stream.codec_context
    context.time_base = TIME_BASE
    context.thread_count = threads
    context.gop_size = max(1, round(_KEY_FRAME_S * rate))
    context.sample_aspect_ratio = pixel_aspect
    context.color_range = _LIMITED_RANGE
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    return stream


class YuvConverter:
    """Makes frames for the encoder. An odd picture gets its last row or column twice."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, picture: Image) -> VideoFrame:
        height, width = picture.shape[:2]
        if width % 2 or height % 2:
            picture = np.asarray(
                cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8
            )
        frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="bgr24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
