import numpy as np
import pytest

from edgevision.types import Frame, FrameResult
from edgevision.video.base import Sink
from edgevision.video.sinks.memory import ListSink


def test_a_list_sink_keeps_results_and_what_was_drawn():
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 7, 0)
    result, drawn = FrameResult(frame, ()), np.ones((4, 6, 3), np.uint8)
    with ListSink() as sink:
        sink.write(result, drawn)
    assert (sink.name, sink.closed, sink.notes) == ("list", False, [])
    assert sink.results == [result]
    assert sink.images[0] is drawn


def test_a_sink_has_defaults_for_all_but_write():
    class Silent(Sink):
        def write(self, result, image):
            pass

    with Silent("mine") as sink:
        assert (sink.name, sink.closed, sink.notes, sink.deliveries()) == ("mine", False, [], ())
    with pytest.raises(TypeError, match="abstract"):
        Sink("nothing")
