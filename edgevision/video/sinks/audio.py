"""The sound of a recording, carried into the MP4 that is made of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from edgevision.video.codec.container import open_video_file

COPIED = frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"})
"""Codecs that an MP4 may hold; any other is encoded again, to AAC."""

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""Errors that skipping a packet cannot solve."""

_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
_TAIL_S = 1.0  # A recording that stops this close to the end of the images keeps its sound to the end.


class AudioTrack:
    """Copies one audio stream to an output, in step with the video, so that memory stays bounded.

    Args:
        source: an open input with at least one audio stream; closed by :meth:`close`.
        output: not started yet; gets one stream.
        origin_ns: time of the first image on the input's clock; it becomes 0.

    Attributes:
        notes: remarks for the user, one line each.
    """

    def __init__(self, source: InputContainer, output: OutputContainer, origin_ns: int) -> None:
        self.notes: list[str] = []
        self._source = source
        self._output = output
        self._origin_s = Fraction(origin_ns, 1_000_000_000)
        self._stream = cast(AudioStream, source.streams.best("audio"))
        codec = self._stream.codec_context.codec.canonical_name
        self._coder = None if codec in COPIED else _Coder(self._stream, output)
        self._copy = output.add_stream_from_template(self._stream) if codec in COPIED else None
        # MPEG-TS puts a header before each AAC packet, MP4 one before all.
        in_front = codec == "aac" and not self._stream.codec_context.extradata
        self._filter = BitStreamFilterContext("aac_adtstoasc", self._stream) if in_front else None
        if len(source.streams.audio) > 1:
            self.notes.append(f"audio: the first of {len(source.streams.audio)} tracks is copied")
        self._left_out = 0
        self._packets = self._read()
        self._next = next(self._packets, None)

    @classmethod
    def open(cls, path: Path, output: OutputContainer, origin_ns: int) -> AudioTrack | None:
        """The track of a file, or None where it has no audio that FFmpeg can decode."""
        source = open_video_file(path)
        if any(stream.codec_context is not None for stream in source.streams.audio):
            return cls(source, output, origin_ns)
        source.close()
        return None

    def advance(self, until_s: float) -> None:
        """Writes the sound before this moment, in seconds since the first image."""
        while self._next is not None and self._time(self._next) < until_s:
            packet, self._next = self._next, next(self._packets, None)
            self._write(packet)

    def finish(self, end_s: float) -> None:
        """Writes the rest: all of it when the images reached their own end, else up to ``end_s``."""
        images = self._source.streams.video[0]
        last_s = 0.0
        if images.duration is not None and images.time_base is not None:
            last_s = float((images.duration + (images.start_time or 0)) * images.time_base - self._origin_s)
        elif self._source.duration is not None:
            last_s = float(Fraction(self._source.duration, av.time_base) - self._origin_s)
        self.advance(float("inf") if end_s >= last_s - _TAIL_S else end_s)
        if self._coder is not None:
            self._output.mux(list(self._coder.finish()))

    def close(self) -> None:
        self._source.close()

    def _read(self) -> Iterator[Packet[AudioStream]]:
        try:
            for packet in self._source.demux(self._stream):
                # One packet more than is heard: AAC needs it to start.
                if (
                    packet.size
                    and packet.pts is not None
                    and self._time(packet, 2 * (packet.duration or 0)) > 0
                ):
                    yield packet
        except (av.error.FFmpegError, OSError) as error:
            self.notes.append(f"audio: ends early, cannot be read any further: {error.strerror}")

    def _time(self, packet: Packet[AudioStream], later: int = 0) -> float:
        return float(((packet.pts or 0) + later) * packet.time_base - self._origin_s)

    def _write(self, packet: Packet[AudioStream]) -> None:
        try:
            self._output.mux(list(self._ready(packet)))
        except av.error.FFmpegError as error:
            if error.errno in DISK_ERRORS:
                raise
            if not self._left_out:
                self.notes.append(f"audio: damaged parts are omitted ({error.strerror})")
            self._left_out += 1

    def _ready(self, packet: Packet[AudioStream]) -> Iterator[Packet[AudioStream]]:
        shift = round(self._origin_s / packet.time_base)
        if self._coder is not None:
            yield from self._coder.encode(packet, shift)
            return
        packet.pts = cast(int, packet.pts) - shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        for ready in [packet] if self._filter is None else self._filter.filter(packet):
            ready.stream = cast(AudioStream, self._copy)
            yield ready


class _Coder:
    """Decodes one stream and encodes it as AAC; packets that cannot be decoded are omitted."""

    def __init__(self, stream: AudioStream, output: OutputContainer) -> None:
        rate = stream.codec_context.sample_rate
        rate = rate if rate in _AAC_RATES else 48_000
        layout = {1: "mono", 6: "5.1"}.get(stream.codec_context.channels, "stereo")
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        self._stream.time_base = Fraction(1, rate)
        self._resampler = AudioResampler("fltp", layout, rate, frame_size=1024)

    def encode(self, packet: Packet[AudioStream], shift: int) -> Iterator[Packet[AudioStream]]:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= shift
            for even in self._resampler.resample(frame):
                yield from self._stream.encode(even)

    def finish(self) -> Iterator[Packet[AudioStream]]:
        for even in self._resampler.resample(None):
            yield from self._stream.encode(even)
        yield from self._stream.encode(None)
