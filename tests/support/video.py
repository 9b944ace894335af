"""Clips and readers for the tests of edgevision.video. Images carry a number, so order can be read back."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame

from edgevision.types import Frame, FrameResult, Image
from edgevision.video.base import Sink, Source

BITS = 8


def numbered(number: int, width: int = 160, height: int = 96) -> Image:
    """A gray image whose top half shows ``number`` as eight black or white bars, lowest bit left."""
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        bar = slice(bit * width // BITS, (bit + 1) * width // BITS)
        image[: height // 2, bar] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: Image) -> int:
    """Reads what :func:`numbered` wrote, also after lossy compression and letterboxing to the same aspect."""
    height, width = image.shape[:2]
    row = image[height // 4, :, 1]
    return sum(int(row[(2 * bit + 1) * width // (2 * BITS)] > 128) << bit for bit in range(BITS))


def exif_jpeg(image: Image, orientation: int) -> bytes:
    """JPEG bytes with an EXIF orientation (TIFF tag 0x0112), written by hand."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def write_clip(
    path: Path,
    times_ms: Sequence[int],
    *,
    size: tuple[int, int] = (160, 96),
    codec: str = "libx264",
    audio: str | None = None,
    audio_s: float | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio_start_s: float = 0.0,
) -> Path:
    """A clip of numbered images at the given times, with a 440 Hz tone if an audio codec is named."""
    with av.open(path, "w", container_options=container_options or {}) as container:
        video = container.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        tone = None
        if audio:
            rate = 48_000
            tone = container.add_stream(audio, rate=rate, layout="mono")
            tone.time_base = Fraction(1, rate)
        packets = []
        for number, moment in enumerate(times_ms):
            frame = VideoFrame.from_ndarray(numbered(number, *size), format="bgr24").reformat(
                format="yuv420p"
            )
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None)
        if tone is not None:
            length = audio_s if audio_s is not None else times_ms[-1] / 1000 + 0.04
            packets += _tone(tone, length, audio_start_s)
        packets.sort(key=lambda packet: (packet.dts or 0) * packet.time_base)
        for packet in packets:
            container.mux(packet)
    return path


def flv_with_wrong_times(
    path: Path, places: set[int], wrong_ms: int, audio: str | None = None, start_ms: int = 0
) -> Path:
    """An FLV of 50 frames at 25 a second, of which those at ``places`` are ``wrong_ms`` late (Adobe's Flash
    Video File Format Specification 10.1, E.4.1)."""
    times = range(0, 2000, 40)
    write_clip(path, times, codec="flv", audio=audio, audio_s=2.0 if audio else None)
    data, place, count = bytearray(path.read_bytes()), 13, 0
    while place < len(data):
        if data[place] in (8, 9):
            time_ms = int.from_bytes(data[place + 4 : place + 7], "big") | data[place + 7] << 24
            time_ms += start_ms + (wrong_ms if data[place] == 9 and count in places else 0)
            count += data[place] == 9
            data[place + 4 : place + 8] = (time_ms & 0xFFFFFF).to_bytes(3, "big") + bytes([time_ms >> 24])
        place += 11 + int.from_bytes(data[place + 1 : place + 4], "big") + 4
    path.write_bytes(data)
    return path


def _tone(stream: AudioStream, seconds: float, start_s: float) -> Iterable[Packet[AudioStream]]:
    rate = 48_000
    stream.codec_context.open()
    chunk = stream.codec_context.frame_size or 1024
    wave = (np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate) * 8000).astype(np.int16)
    resampler = av.AudioResampler(stream.codec_context.format.name, "mono", rate, frame_size=chunk)
    packets = []
    for start in range(0, len(wave), chunk):
        frame = AudioFrame.from_ndarray(wave[None, start : start + chunk], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start + int(start_s * rate), Fraction(1, rate)
        for even in resampler.resample(frame):
            packets += stream.encode(even)
    for even in resampler.resample(None):
        packets += stream.encode(even)
    return packets + stream.encode(None)


def record(source: Source, sink: Sink, limit: int | None = None) -> list[Frame]:
    """Copies frames from a source into a sink, both closed at the end; returns the frames."""
    frames = []
    with source, sink:
        for frame in source:
            sink.write(FrameResult(frame, ()), frame.image)
            frames.append(frame)
            if limit is not None and len(frames) == limit:
                break
    return frames


def probe(path: Path) -> tuple[list[float], list[int]]:
    """Presentation times in seconds and numbers of a clip's frames, read with PyAV alone."""
    times, numbers = [], []
    with av.open(path) as container, contextlib.suppress(av.error.FFmpegError):
        for frame in container.decode(video=0):
            times.append(float(frame.time))
            numbers.append(number_of(frame.to_ndarray(format="bgr24")))
    return times, numbers


def audio_seconds(path: Path) -> float:
    """Length of the decoded sound."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        return float(samples / stream.codec_context.sample_rate)


def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Whether it holds within that time; for what another thread does."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
