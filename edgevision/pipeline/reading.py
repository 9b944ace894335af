"""The stages before the engine: capture and letterbox, on a thread each."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable

from edgevision.pipeline.lane import Lane
from edgevision.pipeline.latency import MAIN
from edgevision.pipeline.ledger import DropReason
from edgevision.pipeline.queue import Policy, QueueEnded
from edgevision.pipeline.statistics import Stage
from edgevision.pipeline.stream import Captured, Prepared


def capture(lane: Lane) -> None:
    """Reads the source to its end, or until the lane ends, and closes it."""
    source = lane.stream.source
    try:
        frames = iter(source)
        for _ in _frame_count(lane):
            start_ns = time.perf_counter_ns()
            frame = next(frames, None)
            captured_ns = time.perf_counter_ns()
            lane.ledger.source_failed(source.report.failed)
            if frame is None:
                break
            lane.clock.add(Stage.DECODE, captured_ns - start_ns)
            lane.ledger.capture()
            try:
                # Not assigned to a name, which would keep the image until the next one is displaced.
                if lane.captured.put(Captured(frame, captured_ns)) is not None:
                    lane.ledger.drop(DropReason.NEWER_FRAME)
            except QueueEnded:
                lane.ledger.drop(DropReason.SHUTDOWN)
                break
    except Exception as error:
        lane.record_error(error)  # what was read before is still inferred and written
    finally:
        lane.captured.finish()
        with contextlib.suppress(Exception):  # what went wrong before matters more
            source.close()


def _frame_count(lane: Lane) -> Iterable[int]:
    # A live source is read until enough frames are inferred, because some are dropped.
    if lane.policy is Policy.KEEP_NEWEST or lane.stream.max_frames is None:
        return itertools.count()
    return range(lane.stream.max_frames)


def prepare(lane: Lane) -> None:
    """Letterboxes each frame for the models that will infer it."""
    try:
        while True:
            prepared = _letterbox(lane, lane.captured.get())
            try:
                displaced = lane.intake.put(lane.number, prepared)
            except QueueEnded:
                lane.drop(prepared, DropReason.SHUTDOWN)
                break
            if displaced is not None:
                lane.drop(displaced, DropReason.NEWER_FRAME)
                displaced = None  # otherwise its image would be kept until the next one comes
    except QueueEnded:
        pass
    except Exception as error:
        lane.fail(error)
    finally:
        lane.intake.finish(lane.number)
        lane.is_prepared.set()


def _letterbox(lane: Lane, captured: Captured) -> Prepared:
    model_set = MAIN if lane.controller is None else lane.controller.model_set
    with lane.clock.measure(Stage.PREPROCESS):
        batches = tuple(model.prepare([captured.frame.image]) for model in lane.model_sets[model_set])
    return Prepared(captured.frame, captured.captured_ns, model_set, batches)
