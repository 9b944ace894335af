"""Windows while no frame comes: a camera that is silent, a single image that somebody looks at."""

import dataclasses
import threading

import numpy as np

from edgevision.engines.fake import FakeEngine
from edgevision.model import Model
from edgevision.pipeline import StopRequest, Stream, run_stream
from edgevision.video.base import Sink
from edgevision.video.sources.arrays import ArraySource

PICTURE = np.zeros((64, 64, 3), np.uint8)


def run(source, sinks, stop=None):
    return run_stream(Stream(source=source, sinks=sinks), [Model(FakeEngine())], stop=stop)


class FileSink(Sink):
    """Counts what it is given."""

    def __init__(self):
        super().__init__("file")
        self.written = self.closes = 0

    def write(self, result, image):
        self.written += 1

    def close(self):
        self.closes += 1


class ScreenSink(FileSink):
    """Looked at by a person who closes it at a chosen refresh."""

    def __init__(self, close_at_refresh=None):
        super().__init__()
        self.refreshes, self.close_at_refresh = 0, close_at_refresh

    def refresh(self):
        assert not self.closes, "refreshed after it was closed"
        self.refreshes += 1
        self.closed = self.closed or self.refreshes == self.close_at_refresh


def still():
    source = ArraySource([PICTURE])
    source.info = dataclasses.replace(source.info, is_image=True)
    return source


def test_a_window_stays_alive_while_a_camera_is_silent():
    silence = threading.Event()

    class Silent(ArraySource):
        def __iter__(self):
            yield from super().__iter__()
            silence.wait(20)

        def close(self):
            silence.set()
            super().close()

    window = ScreenSink(close_at_refresh=3)
    source = Silent([PICTURE] * 2, frame_rate=1000, is_live=True)
    threading.Timer(5, silence.set).start()
    assert run(source, [window]).stopped == "window"
    silence.set()


def test_a_single_image_stays_in_its_window_until_that_is_closed():
    window, file = ScreenSink(close_at_refresh=5), FileSink()
    report = run(still(), [window, file])
    assert window.refreshes == 5
    assert (report.written, report.stopped, file.written) == (1, "window", 1)
    assert run(still(), [file]).stopped == "end"


def test_a_signal_ends_the_looking_at_a_image():
    stop = StopRequest()
    threading.Timer(0.3, lambda: setattr(stop, "reason", "SIGINT")).start()
    window = ScreenSink()
    assert run(still(), [window], stop=stop).stopped == "SIGINT"
    assert window.refreshes > 2


def test_a_film_is_not_held_at_its_end():
    window = ScreenSink()
    assert run(ArraySource([PICTURE] * 3), [window]).stopped == "end"
