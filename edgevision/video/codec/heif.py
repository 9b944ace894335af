"""Still images in HEIF containers (HEIC, AVIF), those that are stored as a grid of tiles included."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from edgevision.errors import SourceError
from edgevision.types import Image
from edgevision.video.codec.colour import over_white
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.decode import FILE_THREADS, LIBRARY_ERRORS, MAX_PIXELS, Decoder, video_stream
from edgevision.video.codec.orientation import Orientation

_MOST_TILES = 4096


@dataclass(frozen=True, slots=True)
class Grid:
    """An image in tiles (ISO/IEC 23008-12, 6.6.2.3).

    Attributes:
        columns: number of tiles side by side.
        tiles: items of the tiles, row by row; FFmpeg numbers its streams so.
        size: width and height of the image in pixels; tiles may stand over its right and lower edge.
        orientation: of the whole image.
    """

    columns: int
    tiles: tuple[int, ...]
    size: tuple[int, int]
    orientation: Orientation


def read_heif(path: Path) -> Image:
    """The primary image of a HEIC or AVIF file, upright: uint8 ``[H, W, 3]``, BGR.

    Transparent pixels of an image in one piece become white.

    Raises:
        SourceError: it cannot be read, or is larger than :data:`MAX_PIXELS`.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 22)
        grid = read_grid(head)
        with open_video_file(path) as container:
            if grid is not None:
                return _joined(container, grid, path)
            image = _first_image(container, video_stream(container, str(path)), path)
        alpha = None if (item := alpha_item(head)) is None else _alpha(path, item)
        if alpha is None or alpha.shape != image.shape[:2]:
            return image
        return over_white(np.dstack([image, alpha]))
    except LIBRARY_ERRORS as error:
        raise SourceError(
            f"{path} is not an image that FFmpeg can read ({error}); convert it to JPEG"
        ) from error


def _first_image(container: InputContainer, stream: VideoStream, path: Path) -> Image:
    _check_size(stream.codec_context.width, stream.codec_context.height, path)
    decoder = Decoder(stream, threads=FILE_THREADS)
    for packet in container.demux(stream):
        for frame in decoder.decode(packet):
            return decoder.image(frame)
    raise SourceError(f"{path} has no image that can be decoded; copy it again")


def _alpha(path: Path, item: int) -> NDArray[np.uint8] | None:
    """The straight alpha of an image, uint8 ``[H, W]``; None where FFmpeg does not give it."""
    with open_video_file(path) as container:
        stream = next((one for one in container.streams.video if one.id == item), None)
        return None if stream is None else _first_image(container, stream, path)[..., 0]


def _joined(container: InputContainer, grid: Grid, path: Path) -> Image:
    width, height = grid.size
    _check_size(width, height, path)
    places = {item: divmod(i, grid.columns) for i, item in enumerate(grid.tiles)}
    streams = {stream.index: stream for stream in container.streams.video if stream.id in places}
    decoders = {index: Decoder(stream, threads=FILE_THREADS) for index, stream in streams.items()}
    image = np.zeros((height, width, 3), np.uint8)
    done = 0
    for packet in container.demux(*streams.values()):
        decoder = decoders[packet.stream_index]
        for frame in decoder.decode(cast("Packet[VideoStream]", packet)):
            tile = decoder.image(frame)
            row, column = places[streams[packet.stream_index].id]
            top, left = row * tile.shape[0], column * tile.shape[1]
            part = image[top : top + tile.shape[0], left : left + tile.shape[1]]
            part[...] = tile[: part.shape[0], : part.shape[1]]
            done += 1
    if done < len(grid.tiles):
        raise SourceError(
            f"{path} has {len(grid.tiles)} tiles, of which {done} can be decoded; copy it again"
        )
    return grid.orientation.apply(image)


def _check_size(width: int, height: int, path: Path) -> None:
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{path} is {width}x{height}; expected at most {MAX_PIXELS // 1_000_000} million pixels: "
            "scale it down"
        )


def read_grid(data: bytes) -> Grid | None:
    """The grid of the primary image, or None where that is stored in one piece.

    Args:
        data: the beginning of the file, its ``meta`` box included (ISO/IEC 14496-12, 8.11).
    """
    try:
        meta = dict(_boxes(data)).get(b"meta", b"")[4:]
        parts = dict(_boxes(meta))
        primary = _number(parts[b"pitm"], 4, 4 if parts[b"pitm"][0] else 2)
        if _item_type(parts[b"iinf"], primary) != b"grid":
            return None
        payload = _item_data(parts, primary, data)
        wide = 4 if payload[1] & 1 else 2
        rows, columns = payload[2] + 1, payload[3] + 1
        tiles = _references(parts[b"iref"], primary)[: rows * columns]
        if len(tiles) != rows * columns or len(tiles) > _MOST_TILES:
            return None
        size = _number(payload, 4, wide), _number(payload, 4 + wide, wide)
        return Grid(columns, tiles, size, _orientation(parts[b"iprp"], primary))
    except (KeyError, IndexError, struct.error):
        return None


def alpha_item(data: bytes) -> int | None:
    """The item that holds the alpha of the primary image (ISO/IEC 23008-12, 6.4 and 6.5.8), or None.

    Args:
        data: the beginning of the file, its ``meta`` box included.
    """
    try:
        meta = dict(_boxes(data)).get(b"meta", b"")[4:]
        parts = dict(_boxes(meta))
        primary = _number(parts[b"pitm"], 4, 4 if parts[b"pitm"][0] else 2)
        wide = 4 if parts[b"iref"][0] else 2
        for name, entry in _boxes(parts[b"iref"][4:]):
            count = _number(entry, wide, 2)
            of = [_number(entry, wide + 2 + i * wide, wide) for i in range(count)]
            item = _number(entry, 0, wide)
            if name == b"auxl" and primary in of and _is_alpha(parts[b"iprp"], item):
                return item
    except (KeyError, IndexError):
        pass
    return None


def _is_alpha(iprp: bytes, item: int) -> bool:
    found = list(_boxes(iprp))
    properties = list(_boxes(dict(found)[b"ipco"]))
    own = [
        properties[index - 1]
        for name, ipma in found
        if name == b"ipma"
        for index in _associations(ipma, item)
        if index
    ]
    return any(kind == b"auxC" and content[4:].rstrip(b"\0") in _ALPHA for kind, content in own)


_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")


def _number(data: bytes, place: int, length: int) -> int:
    if place + length > len(data):
        raise IndexError(place)
    return int.from_bytes(data[place : place + length], "big")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box."""
    place = 0
    while place + 8 <= len(data):
        size, head = _number(data, place, 4), 8
        if size == 1:
            size, head = _number(data, place + 8, 8), 16
        size = size or len(data) - place
        if size < head:
            return
        yield data[place + 4 : place + 8], data[place + head : place + size]
        place += size


def _item_type(iinf: bytes, item: int) -> bytes:
    for name, entry in _boxes(iinf[8 if iinf[0] else 6 :]):
        wide = 4 if entry[0] >= 3 else 2
        if name == b"infe" and entry[0] >= 2 and _number(entry, 4, wide) == item:
            return entry[4 + wide + 2 : 4 + wide + 6]
    return b""


def _references(iref: bytes, item: int) -> tuple[int, ...]:
    """The items that an item is derived from."""
    wide = 4 if iref[0] else 2
    for name, entry in _boxes(iref[4:]):
        if name == b"dimg" and _number(entry, 0, wide) == item:
            count = _number(entry, wide, 2)
            return tuple(_number(entry, wide + 2 + i * wide, wide) for i in range(count))
    return ()


def _item_data(parts: dict[bytes, bytes], item: int, data: bytes) -> bytes:
    """The content of an item of one extent (8.11.3)."""
    iloc = parts[b"iloc"]
    version = iloc[0]
    offset_size, length_size = iloc[4] >> 4, iloc[4] & 15
    base_size, index_size = iloc[5] >> 4, iloc[5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, place = _number(iloc, 6, wide), 6 + wide
    for _ in range(count):
        number = _number(iloc, place, wide)
        place += wide
        method = 0
        if version:
            method, place = _number(iloc, place, 2) & 15, place + 2
        base = _number(iloc, place + 2, base_size)
        extents = _number(iloc, place + 2 + base_size, 2)
        place += 4 + base_size
        if number == item and extents:
            start = base + _number(iloc, place + index_size, offset_size)
            length = _number(iloc, place + index_size + offset_size, length_size)
            holder = parts[b"idat"] if method == 1 else data
            return holder[start : start + length]
        place += extents * (index_size + offset_size + length_size)
    raise KeyError(item)


def _orientation(iprp: bytes, item: int) -> Orientation:
    """The rotation and reflection of an item, in the order of its properties (23008-12, 6.5.10, 6.5.12)."""
    found = list(_boxes(iprp))
    properties = list(_boxes(dict(found)[b"ipco"]))
    turned = Orientation()
    for name, ipma in found:
        if name == b"ipma":
            for index in _associations(ipma, item):
                kind, content = properties[index - 1]
                if kind == b"irot":
                    turned = turned.then(_TURNS[content[0] & 3])
                elif kind == b"imir":
                    turned = turned.then(Orientation(False, bool(content[0] & 1), not content[0] & 1))
    return turned


_TURNS = (  # quarter turns counterclockwise
    Orientation(),
    Orientation(True, False, True),
    Orientation(False, True, True),
    Orientation(True, True, False),
)


def _associations(ipma: bytes, item: int) -> list[int]:
    wide, long = 4 if ipma[0] else 2, ipma[3] & 1
    place = 8
    for _ in range(_number(ipma, 4, 4)):
        number, count = _number(ipma, place, wide), _number(ipma, place + wide, 1)
        place += wide + 1
        step = 2 if long else 1
        if number == item:
            mask = 0x7FFF if long else 0x7F
            return [_number(ipma, place + i * step, step) & mask for i in range(count)]
        place += count * step
    return []
