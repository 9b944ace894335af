import sys
import threading

import numpy as np
import pytest

from edgevision.pipeline import StopRequest, ThreadBudget
from edgevision.session.models import ModelPool, load_as_it_is
from edgevision.session.request import RunRequest
from edgevision.session.shared import CallbackSink, OnFrame, Shared
from edgevision.session.spec import StreamSpec
from edgevision.types import Frame, FrameResult

RESULT = FrameResult(Frame(np.zeros((4, 4, 3), np.uint8), 0, 0), ())


def test_an_output_belongs_to_the_first_that_claims_it():
    request = RunRequest(streams=[StreamSpec(source="demo")])
    shared = Shared(
        request=request, models=ModelPool(request, load_as_it_is), budget=ThreadBudget.of(1), several=False
    )
    assert [shared.claim("a.mp4"), shared.claim("b.mp4"), shared.claim("a.mp4")] == [True, True, False]


def test_a_function_is_never_called_twice_at_the_same_time():
    inside, most, calls = 0, 0, 0

    def look(result):
        nonlocal inside, most, calls
        inside += 1
        most, calls = max(most, inside), calls + 1
        threading.Event().wait(0.002)
        inside -= 1

    sink = CallbackSink(OnFrame(look, StopRequest()))
    threads = [
        threading.Thread(target=lambda: [sink.write(RESULT, RESULT.frame.image) for _ in range(5)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, calls) == (1, 20)


def test_an_error_goes_to_the_stream_and_an_exit_to_the_whole_run():
    def fail(result):
        raise ValueError("a mistake of the caller")

    stop = StopRequest()
    with pytest.raises(ValueError, match="a mistake"):
        OnFrame(fail, stop)(RESULT)
    assert stop.reason is None
    on_frame = OnFrame(lambda result: sys.exit(3), stop)
    on_frame(RESULT)
    assert stop.reason == "exit"
    assert isinstance(on_frame.exit, SystemExit)
    on_frame(RESULT)  # not called again
