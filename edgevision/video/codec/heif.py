"""Still images in HEIF containers (HEIC, AVIF), those that are stored as a grid of tiles included."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from edgevision.errors import SourceError
from edgevision.types import Image
from edgevision.video.codec.colour import over_white
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.decode import (
    FILE_THREADS,
    LIBRARY_ERRORS,
    MAX_PIXELS,
    Decoder,
    library_reason,
    video_stream,
)
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


@dataclass(frozen=True, slots=True)
class Alpha:
    """The transparency of an image.

    Attributes:
        item: that holds it.
        is_premultiplied: the colours have been multiplied by it.
    """

    item: int
    is_premultiplied: bool


def read_heif(path: Path) -> Image:
    """The primary image of a HEIC or AVIF file, upright: uint8 ``[H, W, 3]``, BGR.

    Transparent pixels become white, in images of one piece and of tiles.

    Raises:
        SourceError: it cannot be read, or is larger than :data:`MAX_PIXELS`.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 22)
        grid = read_grid(head)
        with open_video_file(path) as container:
            if grid is not None:
                image = _joined(container, grid, path)
            else:
                image = _first_image(container, video_stream(container, str(path)), path)
        alpha = read_alpha(head)
        layer = None if alpha is None else _layer(path, alpha.item, read_grid(head, alpha.item))
        if alpha is None or layer is None:
            return image
        height, width = image.shape[:2]
        if layer.shape != (height, width):
            layer = cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        if alpha.is_premultiplied:
            return cv2.add(image, cv2.cvtColor(255 - layer, cv2.COLOR_GRAY2BGR)).astype(np.uint8)
        return over_white(np.dstack([image, layer]))
    except LIBRARY_ERRORS as error:
        raise SourceError(
            f"{path} is not an image that FFmpeg can read ({library_reason(error)}); convert it to JPEG"
        ) from error


def _first_image(container: InputContainer, stream: VideoStream, path: Path) -> Image:
    _check_size(stream.codec_context.width, stream.codec_context.height, path)
    decoder = Decoder(stream, threads=FILE_THREADS)
    for packet in container.demux(stream):
        for frame in decoder.decode(packet):
            return decoder.image(frame)
    raise SourceError(f"{path} has no image that can be decoded; copy it again")


def _layer(path: Path, item: int, grid: Grid | None) -> NDArray[np.uint8] | None:
    """An auxiliary image, uint8 ``[H, W]``; None where FFmpeg does not give it."""
    with open_video_file(path) as container:
        held = {stream.id: stream for stream in container.streams.video}
        if grid is not None:
            return _joined(container, grid, path)[..., 0] if held.keys() >= set(grid.tiles) else None
        return _first_image(container, held[item], path)[..., 0] if item in held else None


def _joined(container: InputContainer, grid: Grid, path: Path) -> Image:
    width, height = grid.size
    _check_size(width, height, path)
    places = {item: divmod(i, grid.columns) for i, item in enumerate(grid.tiles)}
    streams = {stream.index: stream for stream in container.streams.video if stream.id in places}
    decoders = {index: Decoder(stream, threads=FILE_THREADS) for index, stream in streams.items()}
    image = np.zeros((height, width, 3), np.uint8)
    done = 0
    for packet in container.demux(*streams.values()):
        index = packet.stream.index  # that of the packet itself is 0 at the end
        decoder = decoders[index]
        for frame in decoder.decode(cast("Packet[VideoStream]", packet)):
            tile = decoder.image(frame)
            row, column = places[streams[index].id]
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


def read_grid(data: bytes, item: int | None = None) -> Grid | None:
    """The grid that an image is stored as, or None where that is stored in one piece.

    Args:
        data: the beginning of the file, its ``meta`` box included (ISO/IEC 14496-12, 8.11).
        item: the image; by default the primary one.
    """
    try:
        parts, primary = _meta(data)
        item = primary if item is None else item
        if _item_type(parts[b"iinf"], item) != b"grid":
            return None
        payload = _item_data(parts, item, data)
        wide = 4 if payload[1] & 1 else 2
        rows, columns = payload[2] + 1, payload[3] + 1
        tiles = _references(parts[b"iref"], b"dimg", item)[: rows * columns]
        if len(tiles) != rows * columns or len(tiles) > _MOST_TILES:
            return None
        size = _number(payload, 4, wide), _number(payload, 4 + wide, wide)
        return Grid(columns, tiles, size, _orientation(parts[b"iprp"], item))
    except (KeyError, IndexError, struct.error):
        return None


def read_alpha(data: bytes) -> Alpha | None:
    """The alpha of the primary image (ISO/IEC 23008-12, 6.4 and 6.5.8), or None where there is none.

    Args:
        data: the beginning of the file, its ``meta`` box included.
    """
    try:
        parts, primary = _meta(data)
        for name, item, of in _all_references(parts[b"iref"]):
            if name == b"auxl" and primary in of and _is_alpha(parts[b"iprp"], item):
                return Alpha(item, item in _references(parts[b"iref"], b"prem", primary))
    except (KeyError, IndexError):
        pass
    return None


def _meta(data: bytes) -> tuple[dict[bytes, bytes], int]:
    """The boxes in ``meta``, and the primary item."""
    parts = dict(_boxes(dict(_boxes(data)).get(b"meta", b"")[4:]))
    return parts, _number(parts[b"pitm"], 4, 4 if parts[b"pitm"][0] else 2)


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


def _references(iref: bytes, kind: bytes, item: int) -> tuple[int, ...]:
    """The items that an item refers to in one way; none where it does not."""
    return next((to for name, of, to in _all_references(iref) if (name, of) == (kind, item)), ())


def _all_references(iref: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    """Kind, item and the items that it refers to (14496-12, 8.11.12)."""
    wide = 4 if iref[0] else 2
    for name, entry in _boxes(iref[4:]):
        count = _number(entry, wide, 2)
        to = tuple(_number(entry, wide + 2 + i * wide, wide) for i in range(count))
        yield name, _number(entry, 0, wide), to


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
