"""The statistics of a stream, read off its lane."""

from __future__ import annotations

from edgevision.engines.base import describe
from edgevision.pipeline.lane import Lane
from edgevision.pipeline.statistics import StreamState, StreamStatistics
from edgevision.video.base import Accountable, ConnectionState


def stream_statistics(lane: Lane, seconds: float, over: bool) -> StreamStatistics:
    """The stream now, from any thread.

    Args:
        lane: the stream.
        seconds: how long it has run.
        over: True once its outputs are closed.
    """
    source, sinks = lane.stream.source, lane.stream.sinks
    report, connection = source.report, source.report.connection
    detectors = [detector for model in lane.models for detector in model]
    notes = [note for detector in detectors for note in detector.notes]
    notes += report.notes + [note for sink in sinks for note in sink.notes]
    return StreamStatistics(
        name=lane.name,
        source=source.info.name,
        is_live=source.info.is_live,
        state=_state(lane, over),
        models={detector.manifest.name: describe(detector.engine) for detector in detectors},
        frames=lane.ledger.entry(),
        written=lane.written,
        skipped=report.skipped,
        time_s=lane.time_s,
        detections=lane.tally.detections(),
        class_shares=lane.tally.shares(),
        seconds=seconds,
        frames_per_second=lane.written / seconds if seconds > 0 else 0.0,
        recent_frames_per_second=lane.rate.rate(),
        latency=lane.latency.figures(),
        last_latency_ms=lane.last_latency_ms,
        stages=lane.clock.figures(),
        queues={
            "preprocess": len(lane.captured),
            "inference": lane.intake.waiting(lane.number),
            "overlay": len(lane.answers),
            "sinks": len(lane.drawn),
        },
        mean_batch=lane.batched / lane.answered_frames if lane.answered_frames else 0.0,
        reconnects=connection.reconnects if connection else 0,
        failed_attempts=connection.failed_attempts if connection else 0,
        latency_control=lane.controller.figures() if lane.controller else None,
        deliveries=tuple(one for sink in sinks if isinstance(sink, Accountable) for one in sink.deliveries()),
        stopped=(lane.stopped or ("error" if lane.error else "end")) if over else None,
        error=str(lane.error) if lane.error else None,
        problem=report.problem,
        notes=tuple(dict.fromkeys(notes)),
    )


def _state(lane: Lane, over: bool) -> StreamState:
    if over:
        return StreamState.FAILED if lane.error else StreamState.ENDED
    connection = lane.stream.source.report.connection
    lost = connection is not None and connection.state is ConnectionState.RECONNECTING
    return StreamState.RECONNECTING if lost else StreamState.RUNNING
