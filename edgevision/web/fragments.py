"""H.264 in fragmented MP4, a fragment for each image, as Media Source Extensions take it.

With these options FFmpeg's muxer writes a fragment with one write, whose decode time (``tfdt``) is the
frame's own; a player's ``mediaTime`` then names the image exactly. A fragment is complete once the next image
has come, because its duration is not known before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import av
from av.packet import Packet
from av.video.frame import PictureType

from edgevision.recording.encoder import EncodedImage
from edgevision.types import Image
from edgevision.video.codec.h264 import TIME_BASE, YuvConverter, add_h264_stream, nominal_rate

# No B-frames: in short fragments they make players show images out of order.
_ENCODER = MappingProxyType({"preset": "veryfast", "tune": "zerolatency", "crf": "25", "bf": "0"})
_MUXER = MappingProxyType(
    {
        "movflags": "frag_every_frame+empty_moov+default_base_moof+skip_trailer+frag_discont",
        "avoid_negative_ts": "disabled",
        "use_editlist": "0",
        "flush_packets": "1",
    }
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One image.

    Attributes:
        data: ``moof`` and ``mdat``.
        ticks: when it is shown, in ticks of 1/90000 s.
        is_key: decoding can begin here.
    """

    data: bytes
    ticks: int
    is_key: bool


class _Pieces:
    """A file for the muxer, of which each write is kept."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.pieces.append(bytes(data))
        return len(data)


class FragmentEncoder:
    """Encodes images of one size.

    Args:
        size: width and height, in pixels.
        rate: nominal frames a second; a key frame comes every two seconds.
        pixel_aspect: width of a pixel over its height.

    Attributes:
        size: as given.
        init: the initialization segment, ``ftyp`` and ``moov``.
        codec: for a player: ``avc1.`` and profile, constraints and level (RFC 6381).

    Raises:
        SinkError: this build has no x264.
    """

    def __init__(self, size: tuple[int, int], rate: float, pixel_aspect: Fraction = Fraction(1)) -> None:
        self.size = size
        self._file = _Pieces()
        self._container = av.open(self._file, "w", format="mp4", container_options=dict(_MUXER))
        self._stream = add_h264_stream(
            self._container, size, rate, options=_ENCODER, pixel_aspect=pixel_aspect, threads=1
        )
        self._to_yuv = YuvConverter()
        self._waiting: deque[tuple[int, bool]] = deque()
        self._container.start_encoding()
        self.init = b"".join(self._file.pieces)
        self._file.pieces.clear()
        self.codec = _codec_of(self.init)

    def encode(self, image: Image, ticks: int, *, as_key: bool = False) -> list[Fragment]:
        """Takes one image and returns the fragments that are complete.

        Args:
            image: uint8 ``[H, W, 3]``, BGR, of this encoder's size.
            ticks: later than the one before.
            as_key: make it a key frame.
        """
        frame = self._to_yuv(image)
        frame.pts, frame.time_base = ticks, TIME_BASE
        frame.pict_type = PictureType.I if as_key else PictureType.NONE
        for packet in self._stream.encode(frame):
            self._waiting.append((packet.pts or 0, packet.is_keyframe))
            self._container.mux(packet)
        pieces, self._file.pieces = self._file.pieces, []
        done = []
        for piece in pieces:
            moment, is_key = self._waiting.popleft()
            done.append(Fragment(piece, moment, is_key))
        return done

    def close(self) -> None:
        """Lets the encoder go; what it holds is not wanted any more."""
        self._container.close()


class FragmentMuxer:
    """Makes fragments of images that are encoded already.

    Args:
        size: width and height, in pixels.
        rate: nominal frames a second.
        pixel_aspect: width of a pixel over its height.

    Attributes:
        size: as given.
        init, codec: as of :class:`FragmentEncoder`; empty until the second image has come.
    """

    def __init__(self, size: tuple[int, int], rate: float, pixel_aspect: Fraction = Fraction(1)) -> None:
        self.size = size
        self.init, self.codec = b"", ""
        self._file = _Pieces()
        flags = f"{_MUXER['movflags']}+delay_moov"  # the parameter sets come with the first image
        options = {**_MUXER, "movflags": flags}
        self._container = av.open(self._file, "w", format="mp4", container_options=options)
        width, height = (side + side % 2 for side in size)
        self._stream = self._container.add_mux_stream(
            "h264", rate=nominal_rate(rate), width=width, height=height
        )
        self._stream.time_base = TIME_BASE
        self._waiting: deque[tuple[int, bool]] = deque()

    def add(self, image: EncodedImage) -> list[Fragment]:
        """Takes the next image, at first a key frame, and returns the fragments that are complete."""
        packet = Packet(image.data)
        packet.stream, packet.time_base = self._stream, TIME_BASE
        packet.pts = packet.dts = image.pts
        packet.is_keyframe = image.is_key
        self._waiting.append((image.pts, image.is_key))
        self._container.mux(packet)
        pieces, self._file.pieces = self._file.pieces, []
        data = b"".join(pieces)
        if not self.init and b"moof" in data:
            place = data.index(b"moof") - 4
            self.init, data = data[:place], data[place:]
            self.codec = _codec_of(self.init)
        return [Fragment(one, *self._waiting.popleft()) for one in _split_fragments(data)]

    def close(self) -> None:
        """Lets the muxer go; what it holds is not wanted any more."""
        self._container.close()


def _split_fragments(data: bytes) -> list[bytes]:
    """Pairs of ``moof`` and ``mdat`` (ISO/IEC 14496-12, 8.8.4)."""
    found, begin, place = [], 0, 0
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += size
        if kind == b"mdat":
            found.append(data[begin:place])
            begin = place
    return found


def _codec_of(init: bytes) -> str:
    """Profile, constraints and level of an initialization segment (RFC 6381)."""
    place = init.index(b"avcC") + 5  # ISO/IEC 14496-15, 5.3.3.1: after the version
    return "avc1." + init[place : place + 3].hex()
