"""Cameras through OpenCV."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from cv2.utils import logging

from edgevision.errors import SourceError
from edgevision.units import frames_per_second, image_size
from edgevision.video.base import FailReason, SourceInfo
from edgevision.video.sources.feed import FeedFrame
from edgevision.video.sources.live import LiveSource
from edgevision.video.sources.options import SourceOptions, one_of, read_options

_RETRY_S = 0.01
_RATE_TOLERANCE = 0.05  # of the requested rate; 29.97 counts as 30
_QUIET = threading.Lock()
_levels: list[int] = []  # of OpenCV's log as each opening under way found it: the first one's is restored


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that :class:`CameraFeed` uses."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def read(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...
    def get(self, propId: int) -> float: ...  # noqa: N803
    def set(self, propId: int, value: float) -> bool: ...  # noqa: N803


_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
CameraFactory = Callable[[int | str], Capture]


def open_capture(device: int | str) -> Capture:
    """Opens a camera of this machine without OpenCV's warnings; the caller reports errors itself."""
    if not sys.platform.startswith("linux"):
        with _quiet():
            return cv2.VideoCapture(device)
    path = _device_file(device)
    if not path.exists():
        return cv2.VideoCapture()  # not opened; trying would make three libraries print warnings
    with _quiet():
        return cv2.VideoCapture(str(path), cv2.CAP_V4L2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMode:
    """The mode to request from a camera; None leaves a property to the camera.

    Attributes:
        size: width and height in pixels.
        rate: frames per second.
        mjpg: request Motion JPEG; most USB cameras need it for their largest sizes and rates.
    """

    size: tuple[int, int] | None = None
    rate: float | None = None
    mjpg: bool = False


def camera_device(uri: str) -> int | str | None:
    """The device of ``webcam``, ``0``, ``/dev/video0`` or ``v4l2://0``; None for any other address.

    Everything after a ``?`` or ``#`` is ignored.
    """
    uri = re.split("[?#]", uri, maxsplit=1)[0]
    if uri == "webcam":
        return 0
    address = uri[len("v4l2://") :] if uri.startswith("v4l2://") else uri
    if re.fullmatch(r"\d{1,3}", address):
        return int(address)
    if re.fullmatch(r"/dev/(video\d+|v4l/.+)", address):
        return address
    return None


def camera_mode(uri: str) -> CameraMode:
    """The mode requested by ``?size=1280x720&rate=30&format=mjpg`` at the end of a camera's address.

    Raises:
        UsageError: an unknown option or an invalid value.
    """
    readers = {"size": image_size, "rate": frames_per_second, "format": one_of("mjpg", "raw")}
    values = read_options(uri.partition("?")[2], readers, "a camera")
    return CameraMode(size=values.get("size"), rate=values.get("rate"), mjpg=values.get("format") == "mjpg")


def list_cameras() -> list[str]:
    """Device files of the cameras of this machine."""
    return sorted(str(path) for path in Path("/dev").glob("video[0-9]*"))


def open_camera(
    device: int | str,
    mode: CameraMode,
    options: SourceOptions,
    *,
    camera_factory: CameraFactory = open_capture,
) -> LiveSource:
    """A camera as a live source, which reconnects after it was unplugged.

    Raises:
        SourceError: there is no such camera; the message lists those that exist.
        SourceTimeoutError: its driver does not respond.
    """
    return LiveSource(
        _name(device),
        partial(CameraFeed, device, mode, camera_factory),
        options,
        advice="check its cable, and whether another program uses it",
    )


class CameraFeed:
    """One connection to a camera.

    Args:
        device: index or device file.
        mode: the mode to request; notes report where the camera differs from it.
        camera_factory: opens the device; returns ``cv2.VideoCapture`` or an object with the same interface.

    Raises:
        SourceError: it cannot be opened, or (while iterating) it was unplugged.
    """

    def __init__(self, device: int | str, mode: CameraMode, camera_factory: CameraFactory) -> None:
        name = _name(device)
        self._file = _device_file(device) if _device_file(device).exists() else None
        self._capture = camera_factory(device)
        if not self._capture.isOpened():
            self._capture.release()
            found = ", ".join(list_cameras())
            raise SourceError(
                f"cannot open {name}; found {found or 'no camera on this machine'}; "
                + ("choose one of them, or close the program that uses it" if found else "connect a camera")
            )
        self._request(mode)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)) or None
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) or None
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.info = SourceInfo(name, True, width, height, rate if 0 < rate < 1000 else None)
        self.notes = self._differences(mode)

    def __iter__(self) -> Iterator[FeedFrame | FailReason | None]:
        bad = 0
        while True:
            good, image = self._capture.read()
            arrived_ns = time.monotonic_ns()
            if not good or image is None:
                bad += 1
                if self._file is not None and not self._file.exists():
                    raise SourceError(f"{self.info.name} was unplugged")
                time.sleep(_RETRY_S)
                yield None
                continue
            for _ in range(bad):  # frames follow, so those were damaged and the camera works
                yield FailReason.UNDECODABLE
            bad = 0
            if image.ndim == 2:
                image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
            driver_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            yield FeedFrame(image, round(driver_ms * 1e6) if driver_ms > 0 else arrived_ns, arrived_ns)

    def _request(self, mode: CameraMode) -> None:
        # V4L2 offers sizes by pixel format and rates by size, so the order matters.
        if mode.mjpg:
            self._capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        if mode.size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, mode.size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, mode.size[1])
        if mode.rate is not None:
            self._capture.set(cv2.CAP_PROP_FPS, mode.rate)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # keeps only the newest frame

    def _differences(self, mode: CameraMode) -> list[str]:
        info = self.info
        found = []
        if mode.mjpg and int(self._capture.get(cv2.CAP_PROP_FOURCC)) != _MJPG:
            found.append("another format than JPEG")
        if mode.size is not None and mode.size != (info.width, info.height):
            found.append(f"{info.width}x{info.height} instead of {mode.size[0]}x{mode.size[1]}")
        if mode.rate is not None and abs((info.frame_rate or 0) - mode.rate) > _RATE_TOLERANCE * mode.rate:
            found.append(f"{info.frame_rate or 0:g} frames per second instead of {mode.rate:g}")
        if not found:
            return []
        return [
            f"{info.name} delivers {' and '.join(found)}; list its modes with 'v4l2-ctl --list-formats-ext'"
        ]

    def close(self) -> None:
        self._capture.release()


def _name(device: int | str) -> str:
    return f"camera {device}" if isinstance(device, int) else device


def _device_file(device: int | str) -> Path:
    return Path(f"/dev/video{device}" if isinstance(device, int) else device)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with _QUIET:
        _levels.append(logging.getLogLevel())
        logging.setLogLevel(0)
    try:
        yield
    finally:
        with _QUIET:
            before = _levels.pop()
            if not _levels:
                logging.setLogLevel(before)
