"""One MP4 file of images that are encoded already."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import av
from av.packet import Packet

from edgevision.files import LineFile
from edgevision.recording.encoder import LONGEST_GAP, EncodedImage
from edgevision.video.codec.container import Mp4File, open_video_file
from edgevision.video.codec.h264 import TIME_BASE, nominal_rate
from edgevision.video.sinks.mp4 import FRAGMENTED_MP4


class Segment:
    """Grows in fragments of half a second, each playable as soon as it is written; see FRAGMENTED_MP4.

    Args:
        path: the file, which must not exist.
        size: of the images, in pixels.
        rate: nominal frames a second.
        first: the image that it begins with, a key frame.
        with_notes: what was found in each image is kept in :func:`notes_path`.

    Attributes:
        path: the file.
        first_pts: pts of the first image; it is shown at 0.
        last_pts: pts of the newest image.
        written: bytes of images and notes so far.
        images: how many it was given.

    Raises:
        OSError, av.error.FFmpegError: (from each method) the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: float,
        first: EncodedImage,
        *,
        with_notes: bool = False,
    ) -> None:
        self.path = path
        self.first_pts = self.last_pts = first.pts
        self.written = 0
        self.images = 1
        self._frame_ticks = min(round(1 / rate / TIME_BASE), LONGEST_GAP)
        path.touch(exist_ok=False)  # FFmpeg would overwrite an existing file
        self._notes = LineFile(notes_path(path)) if with_notes else None
        self._file = Mp4File(path, FRAGMENTED_MP4)
        width, height = (side + side % 2 for side in size)
        self._stream = self._file.container.add_mux_stream(
            "h264", rate=nominal_rate(rate), width=width, height=height
        )
        self._stream.time_base = TIME_BASE
        self._waiting = first

    def write(self, image: EncodedImage) -> None:
        """Adds the next image; the one before is then known to last until it."""
        self.images += 1
        waiting, self._waiting, self.last_pts = self._waiting, image, image.pts
        self._mux(waiting, image.pts - waiting.pts)

    def close(self) -> None:
        """Adds the last image and makes the file an ordinary MP4."""
        try:
            self._mux(self._waiting, self._frame_ticks)
        finally:
            self._close_notes()
            self._file.close()

    def abandon(self) -> int:
        """Closes a file that cannot be written any more, cut to its complete fragments, which play.

        Returns:
            How many of the images are in it, the last one at ``last_pts``; a file without any is removed.
        """
        self._close_notes()
        with contextlib.suppress(OSError, av.error.FFmpegError):
            self._file.close()
        kept = 0
        with contextlib.suppress(OSError, av.error.FFmpegError):
            os.truncate(self.path, _whole_boxes(self.path))
            with open_video_file(self.path) as readable:
                for packet in readable.demux(video=0):
                    if packet.size and packet.pts is not None:
                        kept += 1
                        self.last_pts = self.first_pts + round(packet.pts * packet.time_base / TIME_BASE)
        if not kept:
            with contextlib.suppress(OSError):
                self.path.unlink()
                notes_path(self.path).unlink(missing_ok=True)
        return kept

    def _mux(self, image: EncodedImage, duration: int) -> None:
        packet = Packet(image.data)
        packet.stream = self._stream
        packet.time_base = TIME_BASE
        packet.pts = packet.dts = image.pts - self.first_pts
        packet.duration = duration
        packet.is_keyframe = image.is_key
        self._file.mux(packet)
        if self._notes is not None:
            self._notes.write(b'{"t":%d,"d":%s}' % (packet.pts, image.note))
        self.written += image.size

    def _close_notes(self) -> None:
        if self._notes is not None:
            self._notes.close()


def notes_path(path: Path) -> Path:
    """Where what was found in the images of a recording without drawings is kept: ``NAME.boxes.jsonl``."""
    return path.with_suffix(".boxes.jsonl")


def _whole_boxes(path: Path) -> int:
    """Where the last complete box of an MP4 file ends, in bytes (ISO/IEC 14496-12, 4.2)."""
    end = 0
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        while end + 8 <= length:
            file.seek(end)
            size = int.from_bytes(file.read(4), "big")
            if size == 1:
                file.seek(end + 8)
                size = int.from_bytes(file.read(8), "big")
            if size < 8 or end + size > length:
                break
            end += size
    return end
