"""The sound of a recording, carried into the MP4 that is made of it."""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from edgevision.address import redact
from edgevision.errors import SourceError
from edgevision.video.base import SourceInfo
from edgevision.video.codec.container import open_network_stream, open_video_file
from edgevision.video.codec.decode import LIBRARY_ERRORS, discard_others, video_stream
from edgevision.video.codec.timeline import Timeline
from edgevision.video.sinks.channels import has_foreign_channel_order
from edgevision.video.sinks.muxing import MAX_TICKS

COPIED = frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"})
"""Codecs that an MP4 may hold; any other is encoded again, to AAC."""

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""Errors that skipping a packet cannot solve."""

_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
_TAIL_S = 1.0  # A recording that stops this close to the end of the images keeps its sound to the end.
_PROBES: tuple[dict[str, str], ...] = ({}, {"probesize": str(64 << 20), "analyzeduration": str(3600 * 10**6)})
_TIMEOUT_S = 10.0  # of a web server
_LATE_S = Fraction(4, 10)  # less than a fragment: the first one must hold sound that describes itself
_EARLY_S = Fraction(1, 10)
_GAP_S = Fraction(10)
_PATIENCE_S = 2.0


def open_audio(info: SourceInfo, output: OutputContainer) -> tuple[AudioTrack | None, list[str]]:
    """The sound of a recording, for an output that was not started yet.

    Args:
        info: its source.
        output: gets one more stream, if there is sound.

    Returns:
        The track, or None where there is none that can be carried; and notes for the user.
    """
    address = info.address if info.path is None else str(info.path)
    if address is None or info.timeline is None:
        return None, []
    if info.path is not None and not info.path.is_file():
        return None, ["audio: none, for the source is a pipe, which can be read only once"]
    for probe in _PROBES:
        source = None
        try:
            if info.path is not None:
                source = open_video_file(info.path, probe)
            else:
                source = open_network_stream(address, probe, _TIMEOUT_S)
            stream = _choose(source)
            if stream is None:
                source.close()
                return None, []
            if not stream.codec_context.sample_rate:
                source.close()
                continue
            track = AudioTrack(source, stream, output, info.timeline, info.path)
        except LIBRARY_ERRORS as error:
            if source is not None:
                source.close()
            failure = redact(str(getattr(error, "strerror", None) or error), info.address or "")
            return None, [f"audio: omitted, cannot be copied: {failure}"]
        if track.is_silent:
            track.close()
            return None, ["audio: omitted, the track contains no sound"]
        return track, []
    return None, ["audio: omitted, the track contains no sound"]


def _choose(source: InputContainer) -> AudioStream | None:
    """The stream to copy: the one that FFmpeg finds best; None where none can be decoded."""
    known = [stream for stream in source.streams.audio if stream.codec_context is not None]
    best = source.streams.best("audio", related=_shown_stream(source))
    return best if best in known else next(iter(known), None)


def _shown_stream(source: InputContainer) -> VideoStream | None:
    """The video stream that the images come from."""
    with contextlib.suppress(SourceError):
        return video_stream(source, "")
    return None


@dataclass(frozen=True, slots=True)
class _Heard:
    """A packet of sound, and where in the file it is: behind images of this time on the same clock."""

    packet: Packet[AudioStream]
    beside_s: Fraction | None


class AudioTrack:
    """Copies one audio stream to an output, in step with the video, so that memory stays bounded.

    Sound follows the clock of the images: where that begins anew (joined recordings), so does the sound. A
    time that fits neither the sound before it nor the images beside it in the file is an error of the file;
    such a packet follows the one before. Times that the muxer gets never go back, in steps that it can hold.

    Args:
        source: an open input; closed by :meth:`close`.
        stream: its sound.
        output: not started yet; gets one stream, unless the sound is silent.
        timeline: of the images, which may grow.
        path: the file; None where it is read over a network.

    Attributes:
        notes: remarks for the user, one line each.
        is_silent: the stream is declared, but has nothing in it.

    Raises:
        ValueError, OSError, av.error.FFmpegError: it cannot be carried.
    """

    def __init__(
        self,
        source: InputContainer,
        stream: AudioStream,
        output: OutputContainer,
        timeline: Timeline,
        path: Path | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._source, self._stream = source, stream
        self._images = _shown_stream(source)
        discard_others(source, stream, *filter(None, [self._images]))
        self._writer = _Writer(output)
        self._timeline = timeline
        self._part = 0
        self._cuts: list[tuple[Fraction, Fraction]] = []
        self._end: Fraction | None = None  # of what was written
        self._is_last_call = False
        self._omitted = self._moved = 0
        self._heard = self._read()
        self._next = next(self._heard, None)
        self.is_silent = self._next is None
        if self._next is None:
            return
        codec = stream.codec_context.codec.canonical_name
        # MPEG-TS puts a header before each AAC packet, MP4 one before all.
        has_headers = codec == "aac" and not stream.codec_context.extradata
        describes_itself = has_headers or codec in ("ac3", "eac3")
        is_copied = codec in COPIED and _is_held(stream)
        if describes_itself and self._time(self._next.packet) > _LATE_S:
            is_copied = False  # the muxer wants the description with its first fragment
        if not is_copied and "mov" in source.format.name:
            if path is None:
                raise ValueError("QuickTime's uncompressed sound is taken from local files only")
            if has_foreign_channel_order(path):
                raise ValueError("the order of its channels is not supported")
        self._coder = None if is_copied else _Coder(stream, output)
        self._copy = output.add_stream_from_template(stream) if is_copied else None
        self._filter = BitStreamFilterContext("aac_adtstoasc", stream) if is_copied and has_headers else None
        if len(source.streams.audio) > 1:
            self.notes.append(f"audio: the first of {len(source.streams.audio)} tracks is copied")

    def advance(self, until_s: float) -> None:
        """Writes the sound before this moment, in seconds of the output."""
        while self._next is not None:
            moment = self._place(self._next, until_s)
            if moment is None or moment >= until_s:
                return
            packet, self._next = self._next.packet, next(self._heard, None)
            self._write(packet, moment)

    def shorten(self, by_s: Fraction) -> None:
        """Tells that the images from here on are shown earlier than they were, by ``by_s`` in all."""
        self._cuts.append((self._end or Fraction(0), by_s))

    def finish(self, end_s: float) -> None:
        """Writes the rest: all of it when the images reached their own end, else up to ``end_s``."""
        self._is_last_call = True
        images = self._images
        last_s = 0.0
        origin_s = Fraction(self._timeline.origin_ns or 0, 10**9)
        if images is not None and images.duration is not None and images.time_base is not None:
            last_s = float((images.duration + (images.start_time or 0)) * images.time_base - origin_s)
        elif self._source.duration is not None:
            last_s = float(Fraction(self._source.duration, av.time_base) - origin_s)
        self.advance(float("inf") if end_s >= last_s - _TAIL_S else end_s)
        if self._coder is not None:
            self._writer.write(self._coder.finish())
        if self._moved:
            packets = "packet" if self._moved == 1 else "packets"
            self.notes.append(f"audio: {self._moved} {packets} with a wrong time: set after the one before")

    def close(self) -> None:
        self._source.close()

    def _read(self) -> Iterator[_Heard]:
        images = self._images
        beside_s: Fraction | None = None
        has_begun = False
        try:
            for packet in self._source.demux([self._stream, *([] if images is None else [images])]):
                if packet.stream is images:
                    time = packet.dts if packet.pts is None else packet.pts
                    beside_s = beside_s if time is None else time * packet.time_base
                    continue
                sound = cast("Packet[AudioStream]", packet)
                # One packet more than is heard: AAC needs it to start.
                has_begun = has_begun or (
                    sound.pts is not None and self._time(sound, 2 * (sound.duration or 0)) > 0
                )
                if sound.size and has_begun:
                    yield _Heard(sound, beside_s)
        except IndexError:  # PyAV at the end of a transport stream in which another stream has begun
            self.notes.append("audio: another stream begins in the file; sound in it is omitted")
        except (av.error.FFmpegError, OSError) as error:
            self.notes.append(f"audio: ends early, cannot be read any further: {error.strerror}")

    def _time(self, packet: Packet[AudioStream], later: int = 0, part: int | None = None) -> Fraction:
        """When a packet is heard, by the clock of one part of the images; ``later`` in its own ticks."""
        parts = self._timeline.parts
        shift_ns = parts[self._part if part is None else part][1] if parts else 0
        moment = ((packet.pts or 0) + later) * packet.time_base - Fraction(shift_ns, 10**9)
        for since, by_s in reversed(self._cuts):
            if moment - by_s >= since:
                return moment - by_s
        return moment

    def _place(self, heard: _Heard, until_s: float) -> Fraction | None:
        """When a packet is heard, in seconds of the output; None while that cannot be known yet."""
        packet, end = heard.packet, self._end
        if end is None:
            return self._time(packet)
        if packet.pts is None:
            return end
        moment = self._time(packet)
        if _follows(moment, end):
            return moment
        for part in range(self._part + 1, len(self._timeline.parts)):
            other = self._time(packet, part=part)
            if _follows(other, end, _PATIENCE_S):
                self._part = part
                return other
        is_beside = heard.beside_s is not None and (
            abs(packet.pts * packet.time_base - heard.beside_s) <= _GAP_S
        )
        if is_beside and moment > end and not self._is_last_call:
            return moment  # a gap that the images have too, unless they turn out to be on another clock
        if is_beside and not self._is_last_call and until_s < end + Fraction(_PATIENCE_S):
            return None  # the images' clock has begun anew beside it, and they were not decoded so far
        return end

    def _write(self, packet: Packet[AudioStream], moment: Fraction) -> None:
        end, length = self._end, (packet.duration or 0) * packet.time_base
        if end is not None and moment < end - length / 2 - Fraction(1, 1000):
            return  # heard already: the end of one part over the start of the next
        if packet.pts is None or self._time(packet) != moment:
            self._moved += 1
        self._end = moment + length
        packet.pts = packet.dts = round(moment / packet.time_base)
        try:
            self._writer.write(self._ready(packet))
        except (av.error.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in DISK_ERRORS:
                raise
            if not self._omitted:
                what = getattr(error, "strerror", None) or error
                self.notes.append(f"audio: damaged parts are omitted ({what})")
            self._omitted += 1

    def _ready(self, packet: Packet[AudioStream]) -> Iterator[Packet[AudioStream]]:
        if self._coder is not None:
            yield from self._coder.encode(packet)
            return
        for ready in [packet] if self._filter is None else self._filter.filter(packet):
            ready.stream = cast(AudioStream, self._copy)
            yield ready


def _follows(moment: Fraction, end: Fraction, early_s: float | Fraction = _EARLY_S) -> bool:
    return end - Fraction(early_s) <= moment <= end + _GAP_S


def _is_held(stream: AudioStream) -> bool:
    """Whether MP4 takes this stream as it is. It refuses MP3 below 16 kHz, for one."""
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


class _Writer:
    """Gives packets to the muxer: each later than the one before, in steps that fit into 32 bits.

    A longer gap is bridged by repeating the packet before it, once every few hours.
    """

    def __init__(self, output: OutputContainer) -> None:
        self._output = output
        self._last: Packet[AudioStream] | None = None

    def write(self, packets: Iterable[Packet[AudioStream]]) -> None:
        for packet in packets:
            base, dts = packet.time_base, packet.dts if packet.dts is not None else packet.pts or 0
            last = self._last
            rate = packet.stream.rate if isinstance(packet.stream, AudioStream) else 0
            longest = int(Fraction(MAX_TICKS // 2, rate or 192_000) / base)
            while last is not None and dts - cast(int, last.dts) > longest:
                last = self._bridge(last, cast(int, last.dts) + longest)
            if last is not None:
                dts = max(dts, cast(int, last.dts) + 1)
            packet.pts = packet.dts = dts
            self._last = _copy(packet)
            self._output.mux(packet)

    def _bridge(self, last: Packet[AudioStream], dts: int) -> Packet[AudioStream]:
        again = _copy(last)
        again.pts = again.dts = dts
        kept = _copy(again)
        self._output.mux(again)
        return kept


def _copy(packet: Packet[AudioStream]) -> Packet[AudioStream]:
    """The same packet; muxing empties the original."""
    copy = cast("Packet[AudioStream]", Packet(bytes(packet)))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = True
    return copy


class _Coder:
    """Decodes one stream and encodes it as AAC; packets that cannot be decoded are omitted."""

    def __init__(self, stream: AudioStream, output: OutputContainer) -> None:
        rate = stream.codec_context.sample_rate
        self._rate = rate if rate in _AAC_RATES else 48_000
        self._layout = {1: "mono", 6: "5.1"}.get(stream.codec_context.channels, "stereo")
        self._stream = output.add_stream("aac", rate=self._rate, layout=self._layout)
        self._stream.time_base = Fraction(1, self._rate)
        self._resampler = self._new_resampler()

    def encode(self, packet: Packet[AudioStream]) -> Iterator[Packet[AudioStream]]:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return
        for frame in frames:
            try:
                even = self._resampler.resample(frame)
            except ValueError:  # the rate, the format or the channels changed
                yield from self._encoded(self._resampler.resample(None))
                self._resampler = self._new_resampler()
                even = self._resampler.resample(frame)
            yield from self._encoded(even)

    def finish(self) -> Iterator[Packet[AudioStream]]:
        yield from self._encoded(self._resampler.resample(None))
        yield from self._stream.encode(None)

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler("fltp", self._layout, self._rate, frame_size=1024)

    def _encoded(self, frames: Iterable[av.AudioFrame]) -> Iterator[Packet[AudioStream]]:
        for frame in frames:
            yield from self._stream.encode(frame)
