"""How a stream ends, without its threads; the rest is tested through the pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine
from edgevision.model import Model
from edgevision.pipeline.lane import Lane, stream_statistics
from edgevision.pipeline.latency import PACES
from edgevision.pipeline.queue import QueueEnded
from edgevision.pipeline.stream import Captured, Prepared, Stream
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


def test_frames_that_wait_are_dropped_with_a_reason(monkeypatch):
    """Two wait to be prepared, one for the engines; its memory goes back to the model."""
    lane, _ = lane_of(is_live=False)
    ((model,),) = lane.model_sets
    discarded = []
    monkeypatch.setattr(model, "discard", discarded.append)
    frames = [Frame(np.zeros((48, 64, 3), np.uint8), i, 0) for i in range(3)]
    for _ in frames:
        lane.ledger.capture()
    batch = model.prepare([frames[0].image])
    lane.intake.put(0, Prepared(frames[0], 0, 0, (batch,)))
    for frame in frames[1:]:
        lane.captured.put(Captured(frame, 0))
    lane.end("SIGTERM")
    assert lane.ledger.entry().dropped == {"shutdown": 3}
    assert discarded == [batch]
    with pytest.raises(QueueEnded):
        lane.intake.put(0, Prepared(frames[0], 0, 0, (batch,)))


def test_a_live_stream_holds_few_frames_and_a_file_enough_to_keep_all_stages_busy():
    live, _ = lane_of(is_live=True)
    assert (live.slot.depth, live.slot.capacity) == (PACES[0].depth, 1)
    file, _ = lane_of(is_live=False)
    assert (file.slot.depth, file.slot.capacity) == (4 + 1, 2)  # and the engine's one request


def test_the_rate_is_what_was_written_by_the_time_it_took():
    lane, _ = lane_of(is_live=False)
    lane.written = 30
    assert stream_statistics(lane, 4.0, over=True).frames_per_second == 7.5
    assert stream_statistics(lane, 0.0, over=False).frames_per_second == 0.0
