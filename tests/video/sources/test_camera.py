import logging
import threading
import time

import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.video import open_source
from edgevision.video.base import FailReason
from edgevision.video.sources import camera
from edgevision.video.sources.camera import camera_device
from edgevision.video.sources.options import SourceOptions
from tests.support.video import eventually


class FakeCapture:
    """Looks like cv2.VideoCapture: gives these images (None: a failed read), then only failures."""

    def __init__(self, images, opened=True):
        self.images, self.opened, self.released, self.settings = list(images), opened, 0, {}

    def isOpened(self):  # noqa: N802
        return self.opened

    def read(self):
        image = self.images.pop(0) if self.images else None
        return image is not None, image

    def release(self):
        self.released += 1

    def get(self, key):
        return {3: 640.0, 4: 480.0, 5: 30.0}.get(key, 0.0)

    def set(self, key, value):
        self.settings[key] = value
        return True


PICTURE = np.full((480, 640, 3), 7, np.uint8)


@pytest.mark.parametrize(
    ("uri", "device"),
    [
        ("webcam", 0),
        ("0", 0),
        ("12", 12),
        ("/dev/video3", "/dev/video3"),
        ("v4l2://1", 1),
        ("v4l2:///dev/video2", "/dev/video2"),
        ("/dev/v4l/by-id/usb-cam", "/dev/v4l/by-id/usb-cam"),
        ("clip.mp4", None),
        ("demo", None),
        ("2024.mp4", None),
    ],
)
def test_addresses(uri, device):
    assert camera_device(uri) == device


def test_frames_come_live_with_rising_times():
    capture = FakeCapture([PICTURE, None, PICTURE])
    opened = []
    with open_source("webcam", camera_factory=lambda device: opened.append(device) or capture) as source:
        frames = iter(source)
        first, second = next(frames), next(frames)
    assert opened == [0]
    assert source.info.is_live
    assert (source.info.name, source.info.width, source.info.height, source.info.frame_rate) == (
        "camera 0",
        640,
        480,
        30.0,
    )
    assert (first.index, first.timestamp_ns, second.index) == (0, 0, 1)
    assert second.timestamp_ns > 0
    assert first.image is PICTURE
    assert capture.settings == {38: 1.0}  # one frame buffered, so that images are current
    assert capture.released == 1
    assert list(frames) == []


def test_gray_cameras_give_colour():
    with open_source("0", camera_factory=lambda _: FakeCapture([PICTURE[..., 0]])) as source:
        assert next(iter(source)).image.shape == (480, 640, 3)


def test_no_camera_names_those_that_exist(monkeypatch):
    capture = FakeCapture([], opened=False)
    monkeypatch.setattr(camera, "list_cameras", lambda: ["/dev/video2", "/dev/video4"])
    with pytest.raises(SourceError, match=r"^cannot open camera 0; found /dev/video2, /dev/video4; choose"):
        open_source("0", camera_factory=lambda _: capture)
    assert capture.released == 1


def test_no_camera_at_all(monkeypatch):
    monkeypatch.setattr(camera, "list_cameras", list)
    with pytest.raises(SourceError, match="found no camera on this machine; connect a camera"):
        open_source("0", camera_factory=lambda _: FakeCapture([], opened=False))


def test_the_real_opencv_says_it_in_one_line_and_no_more(capfd):
    with pytest.raises(SourceError, match=r"^cannot open /dev/video97"):
        open_source("/dev/video97")
    assert capfd.readouterr() == ("", "")


def test_a_camera_that_falls_silent_times_out():
    options = SourceOptions(read_timeout_s=0.05, max_attempts=0)
    with open_source("0", options, camera_factory=lambda _: FakeCapture([PICTURE])) as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(SourceTimeoutError, match=r"lost camera 0: no data for 0\.05 s; check its cable"):
            next(frames)
    assert source.report.read == 1


def test_a_device_is_never_released_under_a_reading_thread():
    reading, go_on = threading.Event(), threading.Event()

    class Slow(FakeCapture):
        busy = released_while_reading = False

        def read(self):
            self.busy = True
            reading.set()
            go_on.wait(10)
            self.busy = False
            return super().read()

        def release(self):
            self.released_while_reading |= self.busy
            super().release()

    capture = Slow([PICTURE])
    source = open_source("0", camera_factory=lambda _: capture)
    thread = threading.Thread(target=lambda: list(source))
    thread.start()
    assert reading.wait(10)
    start = time.monotonic()
    source.close()
    thread.join(10)
    assert not thread.is_alive()  # nobody waits for a driver that hangs
    assert time.monotonic() - start < 2
    assert capture.released == 0
    go_on.set()
    assert eventually(lambda: capture.released == 1)
    assert not capture.released_while_reading


class Usb:
    """Cameras as V4L2 shows them through OpenCV: a device file while plugged in, and reads that fail at once
    after it is pulled. Each opening gives the next camera."""

    def __init__(self, path, *cameras):
        self.path, self.cameras, self.opened = path, list(cameras), []
        path.touch()

    def __call__(self, device):
        assert device == str(self.path)
        if not self.path.exists():
            return FakeCapture([], opened=False)
        images = self.cameras.pop(0)
        usb = self

        class Plugged(FakeCapture):
            def read(self):
                if not self.images:
                    usb.path.unlink(missing_ok=True)
                return super().read()

        self.opened.append(Plugged(images))
        return self.opened[-1]


def test_a_camera_that_is_unplugged_and_plugged_in_again(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "edgevision")
    monkeypatch.setattr(camera, "list_cameras", list)
    usb = Usb(tmp_path / "video5", [PICTURE] * 3, [PICTURE] * 2)
    options = SourceOptions(read_timeout_s=30)
    source = camera.open_camera(str(usb.path), camera.CameraMode(), options, camera_factory=usb)
    with source:
        frames = iter(source)
        for _ in range(3):
            next(frames)
        plug_in = threading.Timer(0.8, usb.path.touch)
        plug_in.start()
        assert next(frames).index == 3  # no time-out was waited for: the device file was gone
        plug_in.join()
    assert usb.opened[0].released == 1  # else the kernel would give the next one another number
    assert source.connection.reconnects == 1
    assert source.connection.failed_attempts >= 1
    assert caplog.messages[0] == f"{usb.path} was unplugged; reconnecting"
    assert "found no camera on this machine" in caplog.messages[1]


def test_broken_images_of_a_camera_are_counted_once_it_goes_on():
    capture = FakeCapture([PICTURE, None, None, PICTURE])
    with open_source("0", camera_factory=lambda _: capture) as source:
        frames = iter(source)
        next(frames), next(frames)
        assert source.report.failed == {FailReason.UNDECODABLE: 2}


class Picky(FakeCapture):
    """Gives 640x480 at 30 frames a second whatever it is asked for, in YUYV."""

    def get(self, key):
        return float(cv2.VideoWriter.fourcc(*"YUYV")) if key == cv2.CAP_PROP_FOURCC else super().get(key)


def test_what_a_camera_is_asked_for_in_the_order_that_v4l2_needs():
    capture = FakeCapture([PICTURE])
    with open_source("v4l2://0?size=640x480&rate=30&format=mjpg", camera_factory=lambda _: capture):
        pass
    assert list(capture.settings.items()) == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, 30.0),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("size=1280x720", "delivers 640x480 instead of 1280x720"),
        ("rate=60", "delivers 30 frames per second instead of 60"),
        ("rate=29.97", None),
        ("size=640x480", None),
        ("format=raw", None),
        (
            "format=mjpg&size=1920x1080&rate=60",
            "delivers another format than JPEG and 640x480 instead of 1920x1080 "
            "and 30 frames per second instead of 60",
        ),
    ],
)
def test_a_camera_that_gives_something_else_says_so(query, note):
    with open_source(f"webcam?{query}", camera_factory=lambda _: Picky([PICTURE])) as source:
        next(iter(source))
    assert len(source.report.notes) == (note is not None)
    assert all(line.startswith(f"camera 0 {note}") for line in source.report.notes)


def test_the_drivers_own_times_are_used():
    class Clocked(FakeCapture):
        moments = iter([1000.0, 1040.0, 1080.0])

        def get(self, key):
            return next(self.moments) if key == cv2.CAP_PROP_POS_MSEC else super().get(key)

    with open_source("0", camera_factory=lambda _: Clocked([PICTURE] * 3)) as source:
        frames = iter(source)
        assert [round(next(frames).time_s, 3) for _ in range(3)] == [0, 0.04, 0.08]


def test_cameras_that_open_at_once_leave_the_log_of_opencv_as_it_was():
    found = cv2.utils.logging.getLogLevel()
    first, second = camera._quiet(), camera._quiet()
    try:
        cv2.utils.logging.setLogLevel(3)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert cv2.utils.logging.getLogLevel() == 0
        second.__exit__(None, None, None)
        assert cv2.utils.logging.getLogLevel() == 3
    finally:
        cv2.utils.logging.setLogLevel(found)
