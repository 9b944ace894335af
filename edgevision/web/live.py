"""One stream, live: encoded once however many look on, and not at all while nobody does.

The stream's thread hands over an image and its result only while somebody looks; a thread of the tile
encodes; and the server's loop gives each viewer what was encoded. A viewer that does not read loses whole
groups of images, never a part of one, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.rotated import corners
from edgevision.types import Detections, FrameResult, Image, SegmentationMap, ZoneReport
from edgevision.video.base import Sink, SourceInfo
from edgevision.video.codec.h264 import DEFAULT_RATE, TIME_BASE
from edgevision.web.fragments import FragmentEncoder

_LOG = logging.getLogger(__name__)

MAX_WIDTH = 1920
"""Wider images are made smaller for the page; boxes are shares of the image."""
_MASK_WIDTH = 320
_WAITING = 2  # images that wait for the encoder; the oldest goes first
_VIEWER_BYTES = 4 * 2**20
_JPEG_UNDERWAY = 2
_JPEG_QUALITY = 80
_RESTART_S = 2.0
_GAP_TICKS = round(10 / TIME_BASE)  # without an image; the one before would seem to last as long


class Drawing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the page draws over one image. Positions are shares of the image, 0 to 1.

    Attributes:
        index: of the frame.
        boxes: class name, score, left, top, right, bottom, and the track id or None.
        outlines: for some boxes, by their position in the list, the corners of a rotated box.
        points: for some boxes, by their position, key points with a score.
        limbs: pairs of key points that a line joins.
        labels: name and score of what the whole image shows, for models that classify.
        masks: for each model that segments, the class names and a PNG of class ids, at most 320 wide.
        zones: name, and how many are inside, entered and left.
        lines: name, and how many crossed in and out.
    """

    index: int
    boxes: list[tuple[str, float, float, float, float, float, int | None]] = []
    outlines: dict[int, list[tuple[float, float]]] = {}
    points: dict[int, list[tuple[float, float, float]]] = {}
    limbs: list[tuple[int, int]] = []
    labels: list[tuple[str, float]] = []
    masks: list[tuple[tuple[str, ...], bytes]] = []
    zones: list[tuple[str, int, int, int]] = []
    lines: list[tuple[str, int, int]] = []


def drawing(result: FrameResult) -> Drawing:
    """The results of a frame as the page draws them."""
    frame = result.frame
    scale_x, scale_y = 1 / frame.width, 1 / frame.height
    boxes: list[tuple[str, float, float, float, float, float, int | None]] = []
    masks, labels = [], []
    outlines: dict[int, list[tuple[float, float]]] = {}
    points: dict[int, list[tuple[float, float, float]]] = {}
    limbs: list[tuple[int, int]] = []
    scale = np.array([scale_x, scale_y])
    for one in result.results:
        if isinstance(one, Detections):
            if one.rotated_boxes is not None:
                shares = np.round(corners(one.rotated_boxes) * scale, 5).tolist()
                outlines |= {len(boxes) + i: list(map(tuple, shape)) for i, shape in enumerate(shares)}
            if one.keypoints is not None:
                placed = np.round(one.keypoints * np.array([scale_x, scale_y, 1.0]), 5).tolist()
                points |= {
                    len(boxes) + i: [(x, y, sure) for x, y, sure in row] for i, row in enumerate(placed)
                }
                limbs = [] if one.skeleton is None else list(one.skeleton.bones)
            if one.masks is not None:
                masks.append((one.names, _mask_png(_instance_map(one, frame.width, frame.height))))
            for row in one:
                x1, y1, x2, y2 = row.box
                place = (x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y)
                left, top, right, bottom = (round(share, 5) for share in place)
                boxes.append((row.name, round(row.score, 3), left, top, right, bottom, row.track_id))
        elif isinstance(one, SegmentationMap):
            masks.append((one.names, _mask_png(one.class_map)))
        else:
            labels += [(label.name, round(label.score, 3)) for label in one.labels()]
    zones = result.zones
    return Drawing(
        index=frame.index,
        boxes=boxes,
        outlines=outlines,
        points=points,
        limbs=limbs,
        labels=labels,
        masks=masks,
        zones=[]
        if zones is None
        else [
            (one.name, sum(one.inside.values()), sum(one.entries.values()), sum(one.exits.values()))
            for one in zones.zones
        ],
        lines=[]
        if zones is None
        else [(one.name, sum(one.inward.values()), sum(one.outward.values())) for one in zones.lines],
    )


_NO_CLASS = 255


def _instance_map(found: Detections, width: int, height: int) -> NDArray[np.uint8]:
    """The class of each pixel that lies on an object: uint8 ``[H, W]``, 255 elsewhere; the best on top."""
    canvas = np.full((height, width), _NO_CLASS, np.uint8)
    if found.masks is not None:
        places = zip(found.masks.crops, found.masks.origins.tolist(), found.class_ids.tolist(), strict=True)
        for crop, (left, top), class_id in reversed(list(places)):
            part = canvas[top : top + crop.shape[0], left : left + crop.shape[1]]
            part[np.asarray(crop[: part.shape[0], : part.shape[1]], bool)] = class_id
    return canvas


def _mask_png(class_map: NDArray[np.uint8]) -> bytes:
    height, width = class_map.shape
    scale = min(1.0, _MASK_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(class_map, size, interpolation=cv2.INTER_NEAREST)
    _, data = cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def message(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One message: the header's length (4 bytes, big-endian), the header as JSON, the payload."""
    text = msgspec.json.encode(header)
    return struct.pack(">I", len(text)) + text + payload


@dataclass(slots=True)
class _Job:
    """An image on its way to the encoder."""

    image: Image
    ticks: int
    at_ms: float
    result: FrameResult


@dataclass(frozen=True, slots=True)
class _Piece:
    """Something that viewers of one kind get.

    Attributes:
        data: the message.
        is_key: a viewer can begin here.
        is_init: it describes what follows.
    """

    data: bytes
    is_key: bool = False
    is_init: bool = False


class Viewer:
    """One socket's queue; used on the server's loop only.

    Args:
        kind: ``h264`` or ``jpeg``.

    Attributes:
        sent, lost: images that went out, and that did not because the client is slow.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sent = self.lost = 0
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0
        self._needs_key = False
        self._underway = 0
        self._changed = asyncio.Event()
        self._is_over = False

    def offer(self, piece: _Piece) -> None:
        """Takes what was encoded, or leaves it out."""
        if self.kind == "jpeg":
            self.lost += len(self._pieces)
            self._pieces.clear()
        else:
            if self._needs_key and not (piece.is_key or piece.is_init):
                self.lost += 1
                return
            if piece.is_key:
                self._needs_key = False
            if self._bytes + len(piece.data) > _VIEWER_BYTES:
                self.lost += sum(not one.is_init for one in self._pieces)
                kept = [one for one in self._pieces if one.is_init][-1:]
                self._pieces = deque(kept)
                self._bytes = sum(len(one.data) for one in kept)
                if not (piece.is_key or piece.is_init):
                    self._needs_key = True
                    self.lost += 1
                    return
        self._pieces.append(piece)
        self._bytes += len(piece.data)
        self._changed.set()

    def shown(self) -> None:
        """The client has drawn a JPEG, and can take another."""
        self._underway = max(0, self._underway - 1)
        self._changed.set()

    def end(self) -> None:
        """The stream is over."""
        self._is_over = True
        self._changed.set()

    async def next(self) -> bytes | None:
        """The next message; None at the end of the stream."""
        while True:
            if self._pieces and (self.kind != "jpeg" or self._underway < _JPEG_UNDERWAY):
                piece = self._pieces.popleft()
                self._bytes -= len(piece.data)
                self._underway += 1
                self.sent += not piece.is_init
                return piece.data
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()


@dataclass(slots=True)
class TileCounts:
    """What a tile did.

    Attributes:
        encoded: images as H.264.
        jpegs: images as JPEG.
        skipped: images that came while the encoder was busy.
    """

    encoded: int = 0
    jpegs: int = 0
    skipped: int = 0


@dataclass(slots=True)
class _Audience:
    """Who looks, in numbers that the stream's thread reads without a lock."""

    h264: int = 0
    jpeg: int = 0
    showing: int = 0
    """How often somebody came when nobody looked: each begins with a description of the stream."""
    stills: list[Callable[[FrameResult], None]] = field(default_factory=list)


class Tile(Sink):
    """Shows one stream to any number of viewers.

    Args:
        name: of the stream.
        info: its source.

    Attributes:
        info: as given.
        counts: what it did.
        size: width and height of the last frame, in pixels; None before the first.
        zones: the counts after it; None where there are none.
        is_paced: a recording is shown at its own speed, because nothing else takes its frames.
    """

    def __init__(self, name: str, info: SourceInfo) -> None:
        super().__init__(f"web page: {name}")
        self.info = info
        self.counts = TileCounts()
        self.size: tuple[int, int] | None = None
        self.zones: ZoneReport | None = None
        self.is_paced = False
        self._began_s: float | None = None
        self._audience = _Audience()
        self._viewers: list[Viewer] = []  # on the loop
        self._group: list[_Piece] = []  # on the loop: what a viewer that comes now begins with
        self._init: _Piece | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_finished = False
        self._ended = threading.Event()
        self._last_ticks = -1
        self._failed_at = float("-inf")

    # On the stream's thread.

    def write(self, result: FrameResult, image: Image) -> None:
        """Hands the frame over where somebody looks; never waits."""
        frame, audience = result.frame, self._audience
        self.size, self.zones = (frame.width, frame.height), result.zones
        if self.is_paced:
            self._wait_for(frame.time_s)
        if audience.stills:
            waiting, audience.stills = audience.stills, []
            for take in waiting:
                take(result)
        if not (audience.h264 or audience.jpeg):
            return
        ticks = max(round(frame.timestamp_ns * 1e-9 / TIME_BASE), self._last_ticks + 1)
        self._last_ticks = ticks
        job = _Job(_fitted(frame.image), ticks, time.time() * 1e3, result)
        with self._changed:
            if len(self._jobs) >= _WAITING:
                self._jobs.popleft()
                self.counts.skipped += 1
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._encode, name=self.name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def _wait_for(self, time_s: float) -> None:
        now_s = time.monotonic()
        if self._began_s is None or now_s - self._began_s - time_s > 1.0:  # the first, or it cannot keep up
            self._began_s = now_s - time_s
        self._ended.wait(max(0.0, self._began_s + time_s - now_s))

    def close(self) -> None:
        """Ends the viewers' streams."""
        with self._changed:
            self._is_finished = True
            self._ended.set()
            self._jobs.clear()
            self._changed.notify()
        self._call(self._end_viewers)

    # On the tile's own thread, which lives while somebody looks.

    def _encode(self) -> None:
        encoder: FragmentEncoder | None = None
        drawings: dict[int, _Job] = {}
        showing = 0
        last_ticks = 0
        while True:
            with self._changed:
                while not self._jobs and not self._is_finished and self._is_watched:
                    self._changed.wait()
                if self._is_finished or not self._jobs:
                    self._thread = None
                    break
                job = self._jobs.popleft()
            if self._audience.jpeg:
                self._give_jpeg(job)
            if not self._audience.h264:
                if encoder is not None:
                    encoder.close()
                encoder = None
                continue
            try:
                size = (job.image.shape[1], job.image.shape[0])
                is_after_gap = job.ticks - last_ticks > _GAP_TICKS
                last_ticks = job.ticks
                is_other = encoder is not None and (encoder.size != size or is_after_gap)
                is_new = encoder is None or is_other or showing != self._audience.showing
                if encoder is None or is_new:
                    showing = self._audience.showing
                    rate = self.info.frame_rate or DEFAULT_RATE
                    encoder = FragmentEncoder(size, rate, self.info.pixel_aspect)
                    drawings.clear()
                    header = {"kind": "init", "codec": encoder.codec, "width": size[0], "height": size[1]}
                    self._call(self._give, _Piece(message(header, encoder.init), is_init=True))
                drawings[job.ticks] = job
                for fragment in encoder.encode(job.image, job.ticks, as_key=is_new):
                    of = drawings.pop(fragment.ticks)
                    header = {
                        "kind": "frame",
                        "t": fragment.ticks,
                        "key": fragment.is_key,
                        "at": of.at_ms,
                        "d": drawing(of.result),
                    }
                    self._call(self._give, _Piece(message(header, fragment.data), fragment.is_key))
                self.counts.encoded += 1
            except Exception as error:  # of the codec: the run goes on, and so do the other outputs
                if time.monotonic() - self._failed_at > 60:
                    _LOG.error("%s: cannot encode for the page: %s", self.name, error)
                self._failed_at = time.monotonic()
                encoder = None
                time.sleep(_RESTART_S)
        if encoder is not None:
            encoder.close()

    @property
    def _is_watched(self) -> bool:
        return bool(self._audience.h264 or self._audience.jpeg)

    def _give_jpeg(self, job: _Job) -> None:
        _, data = cv2.imencode(".jpg", job.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        header = {"kind": "jpeg", "t": job.ticks, "at": job.at_ms, "d": drawing(job.result)}
        self.counts.jpegs += 1
        self._call(self._give_jpegs, _Piece(message(header, data.tobytes()), is_key=True))

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """On the loop; nothing where the server is gone."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)

    # On the server's loop.

    def join(self, viewer: Viewer) -> None:
        """A viewer begins with the group of images that is under way."""
        self._loop = asyncio.get_running_loop()
        if self._is_finished:
            viewer.end()
        self._viewers.append(viewer)
        if viewer.kind == "h264" and self._init is not None:
            for piece in [self._init, *self._group]:
                viewer.offer(piece)
        self._count()

    def leave(self, viewer: Viewer) -> None:
        """Safe to call twice."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        self._count()

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    async def still(self) -> FrameResult:
        """The next frame, with an image of its own.

        Raises:
            TimeoutError: none came in ten seconds.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[FrameResult] = loop.create_future()

        def take(result: FrameResult) -> None:
            own = dataclasses.replace(result.frame, image=result.frame.image.copy())
            found = dataclasses.replace(result, frame=own)
            with contextlib.suppress(RuntimeError):  # the server is gone
                loop.call_soon_threadsafe(_settle, future, found)

        self._audience.stills = [*self._audience.stills, take]
        try:
            return await asyncio.wait_for(future, 10.0)
        except asyncio.TimeoutError:
            raise TimeoutError from None

    def _count(self) -> None:
        h264 = sum(one.kind == "h264" for one in self._viewers)
        self._audience.showing += h264 > 0 and self._audience.h264 == 0
        self._audience.h264 = h264
        self._audience.jpeg = sum(one.kind == "jpeg" for one in self._viewers)
        if not self._audience.h264:
            self._init, self._group = None, []
        if not self._is_watched:
            with self._changed:
                self._jobs.clear()
                self._changed.notify()

    def _give(self, piece: _Piece) -> None:
        if not self._audience.h264:
            return
        if piece.is_init:
            self._init, self._group = piece, []
        elif piece.is_key:
            self._group = [piece]
        elif self._group:
            self._group.append(piece)
        for viewer in self._viewers:
            if viewer.kind == "h264":
                viewer.offer(piece)

    def _give_jpegs(self, piece: _Piece) -> None:
        for viewer in self._viewers:
            if viewer.kind == "jpeg":
                viewer.offer(piece)

    def _end_viewers(self) -> None:
        for viewer in self._viewers:
            viewer.end()


def _settle(future: asyncio.Future[FrameResult], found: FrameResult) -> None:
    if not future.done():
        future.set_result(found)


def _fitted(image: Image) -> Image:
    """A copy, because sources reuse their buffers; at most :data:`MAX_WIDTH` wide."""
    height, width = image.shape[:2]
    if width <= MAX_WIDTH:
        return np.array(image)
    small = cv2.resize(image, (MAX_WIDTH, round(height * MAX_WIDTH / width)), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
