"""How a stream ends, without its threads; the rest is tested through the pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine
from edgevision.model import Model
from edgevision.pipeline.lane import Lane
from edgevision.pipeline.stream import Captured, Stream
from edgevision.types import Frame
from edgevision.video.sources.arrays import ArraySource


class Closing(ArraySource):
    closes = 0

    def close(self):
        self.closes += 1
        super().close()


def lane_of(is_live):
    source = Closing([np.zeros((48, 64, 3), np.uint8)] * 3, frame_rate=25.0, is_live=is_live)
    return Lane(Stream(source=source), 0, [[Model(FakeEngine())]]), source


@pytest.mark.parametrize(("is_live", "closes"), [(True, 1), (False, 0)])
def test_ending_closes_a_live_source_which_could_wait_for_ever(is_live, closes):
    """A file is closed by the thread that reads it: it never waits for long."""
    lane, source = lane_of(is_live)
    lane.end("SIGTERM")
    assert source.closes == closes
    assert lane.stopped == "SIGTERM"


def test_the_first_reason_and_the_first_error_count():
    lane, _ = lane_of(is_live=False)
    first = OSError("first")
    lane.fail(first)
    lane.fail(OSError("second"))
    lane.end("window")
    assert (lane.error, lane.stopped) == (first, "error")


def test_frames_that_wait_are_dropped_with_a_reason():
    lane, _ = lane_of(is_live=False)
    for i in range(2):
        lane.ledger.capture()
        lane.captured.put(Captured(Frame(np.zeros((48, 64, 3), np.uint8), i, 0), 0))
    lane.end("SIGTERM")
    assert lane.ledger.entry().dropped == {"shutdown": 2}
