import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult
from edgevision.video import open_sink
from edgevision.video.base import SourceInfo
from edgevision.video.sinks import window

INFO = SourceInfo("demo", False)

PROGRAM = """
import sys, time
import numpy as np
from edgevision.types import Frame, FrameResult
from edgevision.video import open_sink
from edgevision.video.base import SourceInfo
image = np.full((120, 160, 3), (0, 0, 255), np.uint8)
with open_sink("window", info=SourceInfo("test", False)) as sink:
    end = time.monotonic() + float(sys.argv[1])
    index = 0
    while time.monotonic() < end and not sink.closed:
        sink.write(FrameResult(Frame(image, index, index), ()), image)
        index += 1
        time.sleep(0.02)
    print("closed" if sink.closed else "open", index > 2, flush=True)
"""


def test_no_display_is_said_in_one_line(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(window.sys, "platform", "linux")
    with pytest.raises(
        SinkError,
        match=r"^cannot open a window: this session has no display .* name a file as `output` instead$",
    ):
        open_sink("window", info=INFO)


def test_headless_opencv_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(window.cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(SinkError, match="opencv-python-headless"):
        open_sink("window", info=INFO)


class Clock:
    """Time that passes only while somebody waits for a key."""

    def __init__(self):
        self.now = 100.0

    def wait_key(self, wait_ms):
        self.now += wait_ms / 1e3
        return -1


@pytest.fixture
def shown(monkeypatch):
    """OpenCV's windows replaced by a list of the times at which images were shown."""
    clock, times = Clock(), []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(window.cv2, "getBuildInformation", lambda: "  GUI:  QT5\n")
    monkeypatch.setattr(window.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(window.cv2, "waitKey", clock.wait_key)
    monkeypatch.setattr(window.cv2, "imshow", lambda *_: times.append(clock.now))
    monkeypatch.setattr(window.cv2, "getWindowProperty", lambda *_: 1.0)
    for name in ("namedWindow", "resizeWindow", "destroyWindow"):
        monkeypatch.setattr(window.cv2, name, lambda *_: None)
    return clock, times


def show(times_s, paced, clock=None, busy_s=0.0):
    image = np.zeros((4, 4, 3), np.uint8)
    with open_sink("window", info=INFO, paced=paced) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(FrameResult(Frame(image, index, round(time_s * 1e9)), ()), image)
            if clock:
                clock.now += busy_s
    return sink


def test_a_paced_window_keeps_each_frames_own_time(shown):
    _, times = shown
    show([0, 0.04, 0.14, 0.64], paced=True)
    assert np.diff(times) == pytest.approx([0.04, 0.1, 0.5], abs=0.005)


def test_a_paced_window_that_is_late_neither_waits_nor_hurries(shown):
    clock, times = shown
    show([0, 0.04, 0.08], True, clock, busy_s=0.3)
    assert np.diff(times) == pytest.approx([0.3, 0.3], abs=0.005)


def test_any_other_window_shows_at_once(shown):
    _, times = shown
    show([0, 5, 50], paced=False)
    assert times[-1] - times[0] < 0.01


def test_q_ends_the_waiting(shown, monkeypatch):
    clock, times = shown
    monkeypatch.setattr(window.cv2, "waitKey", lambda ms: clock.wait_key(ms) if ms == 1 else ord("q"))
    assert show([0, 4], paced=True).closed
    assert len(times) == 1


@pytest.fixture
def display():
    """A screen of its own, without a window manager."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed")
    if window.why_no_display() == "this OpenCV was built without windows (opencv-python-headless)":
        pytest.skip("this OpenCV has no windows")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as stream:
        number = stream.readline().strip()
    yield {**os.environ, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    server.terminate()
    server.wait(10)


def test_a_window_shows_images(display):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "0.5"],
        env=display,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("open True\n", "")


@pytest.mark.skipif(not shutil.which("import"), reason="ImageMagick is not installed")
def test_the_image_is_on_the_screen(display):
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, "90"], env=display, stdout=subprocess.PIPE)
    try:
        for _ in range(400):
            time.sleep(0.2)
            shot = subprocess.run(
                ["import", "-window", "root", "-depth", "8", "rgb:-"],
                env=display,
                capture_output=True,
                check=True,
            )
            pixels = np.frombuffer(shot.stdout, np.uint8).reshape(480, 640, 3)
            red = (pixels == (255, 0, 0)).all(2).sum()
            if red > 100 * 100:
                break
        assert red > 100 * 100
    finally:
        program.kill()
        program.wait(10)


@pytest.mark.skipif(not shutil.which("xdotool"), reason="xdotool is not installed")
def test_q_closes(display):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "30"], env=display, stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 25
        while program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.3)
            subprocess.run(
                ["xdotool", "search", "--name", "edgevision", "windowfocus", "key", "q"],
                env=display,
                check=False,
                capture_output=True,
            )
        assert program.stdout.read().startswith("closed ")
    finally:
        program.kill()
        program.wait(10)
