"""From the colours of a video to those of an ordinary screen: BGR, 8 bits, BT.709."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from edgevision.types import Image

_HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}  # ISO/IEC 23091-2, transfer characteristics
_WIDE = frozenset({9})  # BT.2020; the P3 of phones is close enough to BT.709
_RESERVED = frozenset({0, 3})  # transfer characteristics that FFmpeg refuses to convert
_UNSPECIFIED_MATRIX = 2
_ROWS = 256
_WHITE = 255  # behind transparent pixels, as in image viewers


class ColourConverter:
    """Converts decoded frames to BGR as players show them; the matrix and the range follow the frame.

    Without a declared matrix, frames above 576 lines count as BT.709 and smaller ones as BT.601, as in mpv.
    HDR and wide gamuts are mapped to BT.709 by FFmpeg's own tone mapping, which takes 2 s to set up and seven
    times as long for a frame. Transparent pixels become white.
    """

    def __init__(self) -> None:
        # One context, one thread: a context per frame, or slices of such small jobs, cost twice as much.
        self._reformatter = VideoReformatter()
        self._mapped = ""

    def __call__(self, frame: VideoFrame) -> Image:
        """The image: uint8 ``[H, W, 3]``, BGR.

        Raises:
            av.error.FFmpegError, ValueError: its pixel format cannot be converted.
        """
        if not _has_alpha(frame):
            return self._converted(frame, "bgr24")
        image = self._converted(frame, "bgra")
        return over_white(image) if image[..., 3].min() < 255 else np.ascontiguousarray(image[..., :3])

    def notes(self) -> list[str]:
        """One line if colours were mapped; none otherwise."""
        return (
            [f"{self._mapped}: mapped to the colours of an ordinary screen (BT.709)"] if self._mapped else []
        )

    def _converted(self, frame: VideoFrame, pixels: str) -> Image:
        kind = _HDR.get(frame.color_trc, "")
        if frame.color_primaries in _WIDE and frame.color_trc not in _RESERVED:
            kind = kind or "wide colour gamut"
        matrix = None
        if frame.colorspace == _UNSPECIFIED_MATRIX and (frame.height > 576 or frame.width >= 1280):
            matrix = Colorspace.ITU709
        found = self._reformatter.reformat(
            frame,
            format=pixels,
            src_colorspace=matrix,
            dst_color_trc=ColorTrc.BT709 if kind else None,
            dst_color_primaries=ColorPrimaries.BT709 if kind else None,
            threads=1,
        )
        self._mapped = self._mapped or kind
        return np.asarray(found.to_ndarray(), np.uint8)


def over_white(image: np.ndarray) -> Image:
    """Composites uint8 ``[H, W, 4]`` (BGR and straight alpha) over white: uint8 ``[H, W, 3]``."""
    found = np.empty((*image.shape[:2], 3), np.uint8)
    for top in range(0, len(image), _ROWS):  # the wider numbers in between would take four times the memory
        rows = image[top : top + _ROWS].astype(np.uint16)
        colour, alpha = rows[..., :3], rows[..., 3:]
        found[top : top + _ROWS] = (colour * alpha + _WHITE * (255 - alpha) + 127) // 255
    return found


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.name == "pal8" or len(frame.format.components) in (2, 4)
