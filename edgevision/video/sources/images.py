"""Still images as a source: one, a folder of them, or a pattern."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from edgevision.closeable import Closeable
from edgevision.errors import SourceError, printable
from edgevision.suffixes import IMAGE_SUFFIXES, MAYBE_IMAGE_SUFFIXES
from edgevision.types import Frame, Image
from edgevision.video.base import FailReason, SourceInfo, SourceReport
from edgevision.video.codec.colour import over_white
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.decode import LIBRARY_ERRORS, MAX_PIXELS, video_stream
from edgevision.video.codec.heif import read_heif
from edgevision.video.codec.image_header import has_pages, image_size, is_animated, is_heif, tiff_value
from edgevision.video.codec.orientation import Orientation, exif_orientation

FRAME_RATE = 25.0
"""Nominal frame rate of a sequence of images, which has no timestamps."""

_HEAD_BYTES = 1 << 16


def read_image(path: Path) -> Image:
    """Reads an image as a viewer shows it: uint8 ``[H, W, 3]``, BGR. Of a moving one, the first.

    The orientation is applied, 16 bits become 8, grayscale becomes colour, and transparent pixels become
    white. The content decides on the format, not the name.

    Raises:
        SourceError: the file is missing, empty, larger than :data:`MAX_PIXELS`, or not an image that OpenCV
            or (HEIC, AVIF) FFmpeg can read.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if not data.size:
        raise SourceError(f"{path} is empty (0 bytes); copy it again")
    head = data[:_HEAD_BYTES].tobytes()
    if is_heif(head):
        return read_heif(path)
    may_come_late = head[:4] in _TIFF or head[:2] == _JPEG  # a JPEG may have megabytes of profiles before it
    size = image_size(data.tobytes() if may_come_late else head)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise SourceError(
            f"{path} is {size[0]}x{size[1]}; expected at most {MAX_PIXELS // 1_000_000} million pixels: "
            "scale it down"
        )
    image: Image | None = None
    with contextlib.suppress(cv2.error):
        image = _decoded(data, head)
    if image is None:
        raise SourceError(
            f"{path} is not an image that OpenCV can read; expected JPEG, PNG, BMP, WebP, TIFF, HEIC or AVIF"
        )
    return image


def is_image_file(path: Path) -> bool:
    """Whether a file holds one image: told by its name and, where names say nothing, by its content.

    An animated PNG or WebP is not one, nor is a GIF, HEIC or AVIF of several images.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return not is_moving(path)
    return suffix in MAYBE_IMAGE_SUFFIXES and _first_images(path) == 1


def is_moving(path: Path) -> bool:
    """Whether a file is an animated PNG or WebP; not a pipe, of which looking would take the beginning."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return is_animated(stream.read(_HEAD_BYTES))
    except OSError:
        return False


def _first_images(path: Path) -> int:
    """How many images a file has, 2 for several; 1 for a grid of tiles and for what cannot be read."""
    try:
        with open_video_file(path) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.disposition & av.stream.Disposition.dependent:
                return 1
            packets = container.demux(video_stream(container, str(path)))
            return sum(1 for _ in itertools.islice(filter(lambda packet: packet.size, packets), 2))
    except (*LIBRARY_ERRORS, SourceError):
        return 1


_EXTRA_SAMPLES = 338  # TIFF 6.0: 1 and 2 are associated and unassociated alpha
_TIFF = (b"II*\0", b"MM\0*")
_JPEG = b"\xff\xd8"


def _decoded(data: np.ndarray, head: bytes) -> Image | None:
    """Decodes once: what is left to do is done here and not by a second look."""
    if head[:2] == _JPEG:  # JPEG has no transparency
        return _as_image(cv2.imdecode(data, cv2.IMREAD_COLOR))
    turned = Orientation()
    raw: np.ndarray | None
    if head[:4] in (b"\x89PNG", b"RIFF"):  # of these OpenCV leaves the orientation to its caller
        raw, kinds, blocks = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_UNCHANGED)
        for kind, block in zip(kinds, blocks, strict=True):
            if kind == cv2.IMAGE_METADATA_EXIF:
                exif = np.asarray(block, np.uint8).tobytes().removeprefix(b"Exif\0\0")
                turned = Orientation.from_exif(exif_orientation(exif))
    else:
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if raw is None:
        return None
    channels = 1 if raw.ndim == 2 else raw.shape[2]
    if raw.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        return _as_image(cv2.imdecode(data, cv2.IMREAD_COLOR))
    image = (raw if raw.dtype == np.uint8 else raw.astype(np.uint16) >> 8).astype(np.uint8, copy=False)
    if channels == 4:
        # Where a TIFF of 8 bits says what its alpha is, libtiff, as OpenCV calls it, has multiplied colours
        # by it; those of 16 bits come as they are stored.
        extra = tiff_value(data.tobytes(), _EXTRA_SAMPLES) if head[:4] in _TIFF else None
        is_premultiplied = bool(extra) if raw.dtype == np.uint8 else extra == 1
        image = _premultiplied_over_white(image) if is_premultiplied else over_white(image)
    elif channels == 1:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return turned.apply(image)


def _as_image(found: object) -> Image | None:
    return None if found is None else np.asarray(found, np.uint8)


def _premultiplied_over_white(image: np.ndarray) -> Image:
    white = 255 - image[..., 3:].astype(np.uint16)
    return np.minimum(image[..., :3] + white, 255).astype(np.uint8)


class ImagesSource(Closeable):
    """Images in the given order; each frame has its own size and is named by its file.

    An unreadable image is an error if it is the only one; among several it is skipped, counted and noted.

    Args:
        paths: the files.
        name: display name.
        folder: the folder that contains them, if they are read from a folder.

    Attributes:
        paths: the files.

    Raises:
        SourceError: the only image cannot be read.
    """

    def __init__(self, paths: Sequence[Path], name: str, *, folder: Path | None = None) -> None:
        self.report = SourceReport()
        self.paths = tuple(paths)
        self._only = read_image(paths[0]) if len(paths) == 1 else None
        height, width = (None, None) if self._only is None else self._only.shape[:2]
        is_image = self._only is not None
        self.info = SourceInfo(
            name=printable(name),
            is_live=False,
            width=width,
            height=height,
            frame_rate=None if is_image else FRAME_RATE,
            frame_count=len(paths),
            path=paths[0] if is_image else folder,
            is_image=is_image,
        )
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        for path in self.paths:
            if self._closed:
                return
            try:
                image = read_image(path) if self._only is None else self._only
            except SourceError as error:
                self.report.failed[FailReason.UNDECODABLE] += 1
                self.report.notes.append(f"skipped: {error}")
                continue
            if is_moving(path):
                self.report.notes.append(f"{printable(str(path))} is animated: its first image is used")
            if path.suffix.lower() in (".tif", ".tiff") and path.is_file() and has_pages(path):
                self.report.notes.append(f"{printable(str(path))} has several images: the first is used")
            index = self.report.read
            self.report.read += 1
            yield Frame(image, index, round(index * 1e9 / FRAME_RATE), str(path))
        if self.report.read == 0:
            raise SourceError(f"{self.info.name}: none of {len(self.paths)} images could be read")

    def close(self) -> None:
        self._closed = True
