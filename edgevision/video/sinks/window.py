"""A window on this machine's screen: the only place that calls OpenCV's GUI."""

from __future__ import annotations

import os
import sys
import time

import cv2

from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult, Image
from edgevision.video.base import Sink

_ESCAPE = 27
_LARGEST = (1600, 900)
_LOOK_MS = 20
_LONGEST_WAIT_S = 5.0  # a request to stop is not noticed meanwhile


def why_no_display() -> str | None:
    """One line that says why no window can open here, or None where one can."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "this session has no display (DISPLAY is not set)"
    gui = next(
        (line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), ""
    )
    if gui.split(":")[-1].strip() == "NONE":
        return "this OpenCV was built without windows (opencv-python-headless)"
    return None


class WindowSink(Sink):
    """Shows each image. ``q``, Esc or the close button set ``closed``, which ends the stream.

    All calls must come from one thread, on macOS the main one.

    Args:
        title: of the window.
        paced: show each image at its time, as a player does, instead of as soon as it comes. A late image
            is shown at once, and no time is made up.

    Raises:
        SinkError: there is no display, or OpenCV has no windows.
    """

    def __init__(self, title: str, *, paced: bool = False) -> None:
        reason = why_no_display()
        if reason:
            raise SinkError(f"cannot open a window: {reason}; name a file as `output` instead")
        super().__init__("window")
        self._title = title
        self._paced = paced
        self._open = False
        self._shown_s = self._time_s = 0.0

    def write(self, result: FrameResult, image: Image) -> None:
        frame = result.frame
        if self.closed:
            return
        if self._open and self._paced and not self._waited_for(frame):
            return
        try:
            if not self._open:
                self._create(image)
            cv2.imshow(self._title, image)
        except cv2.error as error:
            raise self._failure(error) from error
        self._shown_s, self._time_s = time.monotonic(), frame.time_s
        self.refresh()

    def refresh(self) -> None:
        """Lets the window system handle events, and notices ``q``, Esc and the close button."""
        if self._open:
            self._look(1)

    def _waited_for(self, frame: Frame) -> bool:
        """Waits for the frame's time; False where the window was closed meanwhile."""
        moment_s = self._shown_s + min(frame.time_s - self._time_s, _LONGEST_WAIT_S)
        while not self.closed and (left_s := moment_s - time.monotonic()) > 0:
            self._look(max(1, min(_LOOK_MS, int(left_s * 1e3))))
        return not self.closed

    def _look(self, wait_ms: int) -> None:
        try:
            key = cv2.waitKey(wait_ms) & 0xFF
            gone = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error as error:
            raise self._failure(error) from error
        self.closed = self.closed or gone or key in (ord("q"), ord("Q"), _ESCAPE)

    def _failure(self, error: cv2.error) -> SinkError:
        return SinkError(f"the window cannot show images: {error.err or error}")

    def _create(self, image: Image) -> None:
        # OpenCV's Qt warns repeatedly that its wheel has no fonts; no text is drawn with it here.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        height, width = image.shape[:2]
        scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
        cv2.resizeWindow(self._title, max(1, round(width * scale)), max(1, round(height * scale)))
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                cv2.destroyWindow(self._title)
                cv2.waitKey(1)  # lets the window system act on it
            except cv2.error:
                pass  # it was closed by its button
