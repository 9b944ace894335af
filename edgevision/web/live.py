"""One stream, live: encoded once however many look on, and not at all while nobody looks.

The stream's thread hands over an image and its result only while somebody looks; another thread encodes
(:mod:`edgevision.web.encoding`), unless a recording has done so already; and the server's loop gives each
viewer what was encoded. A viewer that does not read loses whole groups of images, never a part of one, and
holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from edgevision.recording.encoder import EncodedImage
from edgevision.types import FrameResult, Image, ZoneReport
from edgevision.video.base import Sink, SourceInfo
from edgevision.video.codec.h264 import TIME_BASE
from edgevision.web.encoding import Audience, Encoding, EncodingCounts, Job, SharedEncoding
from edgevision.web.viewer import Piece, Viewer

MAX_WIDTH = 1920
"""Wider images are made smaller for the page; boxes are shares of the image."""
_SHARED_TICKS = round(1 / TIME_BASE)  # a recording that gave nothing for so long gives nothing


class Tile(Sink):
    """Shows one stream to any number of viewers.

    Args:
        name: of the stream.
        info: its source.

    Attributes:
        info: as given.
        size: width and height of the last frame, in pixels; None before the first.
        zones: the counts after it; None where there are none.
        is_paced: a recording is shown at its own speed, because nothing else takes its frames.
    """

    def __init__(self, name: str, info: SourceInfo) -> None:
        super().__init__(f"web page: {name}")
        self.info = info
        self.size: tuple[int, int] | None = None
        self.zones: ZoneReport | None = None
        self.is_paced = False
        self._began_s: float | None = None
        self._audience = Audience()
        self._encoding = Encoding(self.name, info, self._audience, self._pass_on)
        self._shared = SharedEncoding(info, self._audience, self._pass_on, self._encoding.counts)
        self._shared_pts: int | None = None
        self._viewers: list[Viewer] = []  # on the loop
        self._group: list[Piece] = []  # on the loop: what a viewer that comes now begins with
        self._init: Piece | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_finished = False
        self._ended = threading.Event()
        self._last_ticks = -1

    @property
    def counts(self) -> EncodingCounts:
        """What was encoded for the page."""
        return self._encoding.counts

    # On the stream's thread.

    def write(self, result: FrameResult, image: Image) -> None:
        """Hands the frame over where somebody looks; never waits."""
        frame, audience = result.frame, self._audience
        self.size, self.zones = (frame.width, frame.height), result.zones
        if self.is_paced:
            self._wait_for(frame.time_s)
        while audience.stills:  # the loop may append meanwhile
            audience.stills.popleft()(result)
        ticks = max(round(frame.timestamp_ns * 1e-9 / TIME_BASE), self._last_ticks + 1)
        self._last_ticks = ticks
        is_shared = self._shared_pts is not None and ticks - self._shared_pts < _SHARED_TICKS
        if audience.jpeg or (audience.h264 and not is_shared):
            self._encoding.put(Job(_fitted(frame.image), ticks, time.time() * 1e3, result, not is_shared))

    def take(self, image: EncodedImage, size: tuple[int, int]) -> None:
        """Takes what a recording has encoded; see :meth:`SharedEncoding.take`."""
        if size[0] <= MAX_WIDTH:
            self._shared_pts = image.pts
            self._shared.take(image, size)

    def _wait_for(self, time_s: float) -> None:
        now_s = time.monotonic()
        if self._began_s is None or now_s - self._began_s - time_s > 1.0:  # the first, or it cannot keep up
            self._began_s = now_s - time_s
        self._ended.wait(max(0.0, self._began_s + time_s - now_s))

    def close(self) -> None:
        """Ends the viewers' streams."""
        self._is_finished = True
        self._ended.set()
        self._encoding.close()
        self._call(self._end_viewers)

    # On the thread that encodes.

    def _pass_on(self, piece: Piece) -> None:
        self._call(self._give, piece)

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

        self._audience.stills.append(take)
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
        if not self._audience.is_there:
            self._encoding.stop()

    def _give(self, piece: Piece) -> None:
        if piece.kind == "h264":
            if not self._audience.h264:
                return
            if piece.is_init:
                self._init, self._group = piece, []
            elif piece.is_key:
                self._group = [piece]
            elif self._group:
                self._group.append(piece)
        for viewer in self._viewers:
            if viewer.kind == piece.kind:
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
