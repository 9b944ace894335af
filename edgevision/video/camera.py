"""Cameras through OpenCV."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from cv2.utils import logging

from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.types import Frame
from edgevision.video.base import SourceInfo, SourceReport

_RETRY_S = 0.01
_CLOSE_S = 1.0


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that a camera needs."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def read(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...
    def get(self, propId: int) -> float: ...  # noqa: N803
    def set(self, propId: int, value: float) -> bool: ...  # noqa: N803


CameraFactory = Callable[[int | str], Capture]


def open_capture(device: int | str) -> Capture:
    """A camera of this machine, without OpenCV's warnings: what went wrong is said in our own line."""
    if not sys.platform.startswith("linux"):
        with _quiet():
            return cv2.VideoCapture(device)
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if not path.exists():
        return cv2.VideoCapture()  # opened nothing; asking for it would make three libraries complain
    with _quiet():
        return cv2.VideoCapture(str(path), cv2.CAP_V4L2)


def camera_device(uri: str) -> int | str | None:
    """What to open for ``webcam``, ``0``, ``/dev/video0`` or ``v4l2://0``; None for anything else."""
    if uri == "webcam":
        return 0
    address = uri[len("v4l2://") :] if uri.startswith("v4l2://") else uri
    if re.fullmatch(r"\d{1,3}", address):
        return int(address)
    if re.fullmatch(r"/dev/(video\d+|v4l/.+)", address):
        return address
    return None


def list_cameras() -> list[str]:
    """Video devices of this machine, by their files."""
    return sorted(str(path) for path in Path("/dev").glob("video[0-9]*"))


class CameraSource:
    """A camera, live: a frame that nobody takes in time is lost, and one is buffered at the most.

    Args:
        device: index or device file.
        camera_factory: opens it; ``cv2.VideoCapture`` or something that looks like it.
        timeout_s: how long to wait for a frame.

    Raises:
        SourceError: there is no such camera; the message lists those that exist.
        SourceTimeoutError: (while iterating) it delivers nothing.
    """

    def __init__(
        self, device: int | str, *, camera_factory: CameraFactory = open_capture, timeout_s: float = 5.0
    ) -> None:
        self.report = SourceReport()
        name = f"camera {device}" if isinstance(device, int) else device
        self._timeout_s = timeout_s
        self._closed = False
        self._lock = threading.Lock()  # OpenCV must not release what another thread is reading
        self._capture = camera_factory(device)
        if not self._capture.isOpened():
            self._capture.release()
            found = ", ".join(list_cameras())
            raise SourceError(
                f"{name} cannot be opened; found {found or 'no camera on this machine'}; "
                + (
                    "choose one of them, or end the program that uses it"
                    if found
                    else "connect one and try again"
                )
            )
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.info = SourceInfo(
            name=name,
            is_live=True,
            width=int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)) or None,
            height=int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) or None,
            frame_rate=rate if 0 < rate < 1000 else None,
        )

    def __iter__(self) -> Iterator[Frame]:
        start_ns: int | None = None
        while not self._closed:
            image = self._read()
            now_ns = time.monotonic_ns()
            if image is None:
                return
            start_ns = now_ns if start_ns is None else start_ns
            frame = Frame(image, self.report.read, now_ns - start_ns, self.info.name)
            self.report.read += 1
            yield frame

    def _read(self) -> np.ndarray | None:
        """The next picture, or None once closed."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            with self._lock:
                if self._closed:
                    return None
                good, image = self._capture.read()
            if good and image is not None:
                return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
            if time.monotonic() > deadline:
                raise SourceTimeoutError(
                    f"{self.info.name} delivered no frame for {self._timeout_s:g} s; "
                    "check its cable, and that no other program uses it"
                )
            time.sleep(_RETRY_S)

    def close(self) -> None:
        """Releases the device; where its driver holds a reading thread, the end of the process does."""
        if self._closed:
            return
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE_S):
            try:
                self._capture.release()
            finally:
                self._lock.release()

    def __enter__(self) -> CameraSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(before)
