"""H.264 in MP4: plays in a browser, keeps each frame's time and the audio, and is playable after a kill."""

from __future__ import annotations

import contextlib
import errno
from fractions import Fraction
from pathlib import Path

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.closeable import UseLock
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult, Image
from edgevision.video.base import Sink, SourceInfo
from edgevision.video.codec.container import Mp4File
from edgevision.video.codec.decode import LIBRARY_ERRORS
from edgevision.video.codec.h264 import DEFAULT_RATE, YuvConverter, add_h264_stream
from edgevision.video.sinks.audio import AudioTrack, open_audio
from edgevision.video.sinks.muxing import TrackClock, time_base

FRAGMENTED_MP4 = {
    # Fragments while it grows, so that a killed process leaves a playable file; an ordinary MP4 once it is
    # finished. The index is written after the first fragment, when the start of each track is known.
    "movflags": "hybrid_fragmented+delay_moov",
    "frag_duration": "500000",  # us: a kill loses the encoder's look-ahead and at most this much more
    "flush_packets": "1",
    "max_interleave_delta": "1000000",  # us: images do not wait in memory for sound that has ended
}
# Measured at 768x432 on two cores: superfast 3.2 ms of CPU a frame and 1.9 MB, veryfast 4.5 ms and 0.7 MB,
# faster 6.5 ms and 0.8 MB. CRF 23 is x264's own default.
_ENCODER = {"preset": "veryfast", "crf": "23"}

_CLOSE_S = 1.0  # to write a frame takes less
_LONGEST_LAST_S = 60  # of a last image that stays, as in a GIF


class Mp4Sink(Sink):
    """Records images as H.264 (yuv420p, BT.709) with each frame's own time, and the source's sound.

    H.264 in yuv420p has even sizes: an odd image gets its last row or column twice, so that no pixel is
    lost and boxes keep their places. An image of another size than the first is letterboxed into that.
    A gap that is too long for MP4 (half a day; days for a time lapse) is shortened, with a note.

    Args:
        path: the file; overwritten when the first frame comes.
        info: the source; a recording's audio is copied (encoded to AAC where MP4 cannot hold its codec).
        threads: of the encoder.

    Raises:
        SinkError: (from ``write`` and ``close``) the disk is full or the file cannot be written; it is
            playable up to there.
    """

    def __init__(self, path: Path, info: SourceInfo, *, threads: int = 2) -> None:
        super().__init__(str(path))
        self._path = path
        self._info = info
        self._threads = threads
        self._file: Mp4File | None = None
        self._stream: VideoStream | None = None
        self._audio: AudioTrack | None = None
        self._size = (0, 0)
        rate = info.frame_rate or DEFAULT_RATE
        self._time_base = time_base(rate, info.is_live)
        self._frame_ticks = max(1, round(1 / rate / self._time_base))
        self._clock = TrackClock()
        self._last_ticks = 0
        self._varies = False
        self._failed = False
        self._use = UseLock(self._close, _CLOSE_S)
        self._to_yuv = YuvConverter()

    def write(self, result: FrameResult, image: Image) -> None:
        with self._use.used():
            if self._use.is_closed:
                raise SinkError(f"cannot write {self.name}: it is closed")
            self._write(result.frame, image)

    def _write(self, frame: Frame, image: Image) -> None:
        try:
            file, stream = self._started(image)
            encoded = self._encodable(image)
            last, gaps = self._clock.last, self._clock.gaps
            encoded.pts = self._clock.next(round(Fraction(frame.timestamp_ns, 10**9) / self._time_base))
            encoded.time_base = self._time_base
            shown = round(Fraction(frame.duration_ns, 10**9) / self._time_base)
            self._last_ticks = max(self._frame_ticks, min(shown, round(_LONGEST_LAST_S / self._time_base)))
            if last >= 0:
                self._varies |= abs(encoded.pts - last - self._frame_ticks) > 1
            file.mux(stream.encode(encoded))
            if self._audio is not None:
                self._audio.advance(float(encoded.pts * self._time_base))
                if self._clock.gaps > gaps:
                    self._audio.shorten(self._clock.shortened * self._time_base)
        except LIBRARY_ERRORS as error:
            self._failed = True
            raise self._failure(error) from error

    def close(self) -> None:
        """Finishes the file. A recording that failed before is left as it is, and is playable up to there.

        Where another thread is writing, that one finishes the file. This one waits for a second only: a disk
        that takes nothing can keep the other for ever.

        Raises:
            SinkError: the end cannot be written.
        """
        self._use.close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if not self._failed:
                self._finish(file)
            file.close()
        except LIBRARY_ERRORS as error:
            with contextlib.suppress(*LIBRARY_ERRORS):
                file.close()
            if not self._failed:
                raise self._failure(error) from error
        finally:
            if self._clock.gaps:
                gaps = "a gap" if self._clock.gaps == 1 else f"{self._clock.gaps} gaps"
                hours = float(self._clock.shortened * self._time_base) / 3600
                self.notes.append(
                    f"{self.name}: {gaps} longer than MP4 can hold, shortened by {hours:.1f} hours in all"
                )
            if self._audio is not None:
                self.notes += self._audio.notes
                self._audio.close()

    def _finish(self, file: Mp4File) -> None:
        if self._stream is not None:
            last = self._stream.encode(None)
            for packet in last[-1:]:
                # The muxer derives the track's end from its last packet in decoding order. Images are
                # reordered, so that need not be the last image, which the edit list would then cut off.
                # At a varying rate the end is made late rather than early: by three images at most.
                start = packet.dts if self._varies else packet.pts
                packet.duration = self._clock.last + self._last_ticks - (start or 0)
            file.mux(last)
        if self._audio is not None:
            self._audio.finish(float((self._clock.last + self._last_ticks) * self._time_base))

    def _started(self, image: Image) -> tuple[Mp4File, VideoStream]:
        if self._file is not None and self._stream is not None:
            return self._file, self._stream
        height, width = image.shape[:2]
        self._size = (width, height)
        rate = self._info.frame_rate or DEFAULT_RATE
        file = Mp4File(self._path, FRAGMENTED_MP4)
        self._file = file
        stream = add_h264_stream(
            file.container,
            self._size,
            rate,
            options=_ENCODER,
            pixel_aspect=self._info.pixel_aspect,
            threads=self._threads,
            time_base=self._time_base,
        )
        self._stream = stream
        if not self._info.is_live and not self._info.is_image:
            self._audio, notes = open_audio(self._info, file.container)
            self.notes += notes
        return file, stream

    def _encodable(self, image: Image) -> VideoFrame:
        height, width = image.shape[:2]
        if (width, height) != self._size:
            if not any("letterboxed" in note for note in self.notes):
                self.notes.append(
                    f"{self.name}: the image size changed from {self._size[0]}x{self._size[1]} "
                    f"to {width}x{height}; images of another size are letterboxed to the first"
                )
            image = Letterbox.fit(width, height, *self._size, Resize(fill=0)).image(image)
        return self._to_yuv(image)

    def _failure(self, error: Exception) -> SinkError:
        hint = (
            "free some space"
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "check the disk"
        )
        kept = "the file is playable up to here" if self._clock.last > 0 else "nothing was written"
        what = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        return SinkError(f"cannot write {self.name}: {what}; {hint} ({kept})")
