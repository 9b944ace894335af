"""The stages after the engine: reading its outputs, tracking, drawing, and the sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Queue

from edgevision.closeable import close_beside
from edgevision.drawing.overlay import render
from edgevision.drawing.zones import draw_zones
from edgevision.pipeline.lane import Lane
from edgevision.pipeline.queue import QueueEmpty, QueueEnded
from edgevision.pipeline.statistics import Stage
from edgevision.pipeline.stream import Answered, Drawn, SourceLost
from edgevision.types import FrameResult, Result
from edgevision.video.base import ConnectionState, Screen, Sink

LOST_AFTER_S = 2.0
"""How long a live source that reconnects has given no frame until what it showed counts as gone."""

_LOOK_S = 0.5
_CLOSE_S = 5.0  # to finish an output takes less, unless its disk or its peer takes nothing any more

Shown = Queue["tuple[Rendering, Drawn | None, int]"]
"""For the main thread: a frame to show and the nanoseconds that the other sinks took, or None at the end."""


class Rendering:
    """Takes the engines' outputs of a stream to its sinks.

    :meth:`draw` and :meth:`write` run on a thread each, and sinks with a window on the main thread, where
    windows must live.

    Args:
        lane: the stream.
        shown: passes frames, and the end, to the main thread.

    Attributes:
        writer: the thread of :meth:`write`, once there is one.
    """

    def __init__(self, lane: Lane, shown: Shown) -> None:
        self.lane = lane
        self._shown = shown
        sinks = lane.stream.sinks
        self._screens = [sink for sink in sinks if isinstance(sink, Screen)]
        self._others = [sink for sink in sinks if not isinstance(sink, Screen)]
        self._status = ""
        self._has_failed = False
        self.writer: threading.Thread | None = None
        self._finishers: list[threading.Thread] | None = None
        self._closing_s: float | None = None  # when the writer began to close an output
        self._lock = threading.Lock()
        self._inside: Sink | None = None  # what the writer is using; with a finisher, all that it may use
        self._finished: list[Sink] = []

    @property
    def is_written(self) -> bool:
        """Whether :attr:`writer` is at work."""
        return self.writer is not None and self.writer.is_alive()

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The outputs that a thread is not done with: nobody else may close them."""
        is_finishing = any(one.is_alive() for one in self._finishers or ())
        if not self.is_written and not is_finishing:
            return ()
        return tuple(sink.name for sink in self._others if sink not in self._finished)

    @property
    def slow(self) -> str | None:
        """What :attr:`writer` has not finished in time, unless the others are finished beside it."""
        since_s, inside = self._closing_s, self._inside
        is_late = since_s is not None and time.monotonic() - since_s > _CLOSE_S
        return inside.name if inside is not None and is_late and self._finishers is None else None

    def finish(self) -> list[threading.Thread]:
        """Closes the outputs but the one that :attr:`writer` does not come back from.

        Returns:
            A thread for each, so that none waits for another; the writer will close the other one, and do
            nothing else.
        """
        with self._lock:
            if self._finishers is None:
                self._has_failed = self._has_failed or self._closing_s is None
                threads = [
                    close_beside(partial(self._close_one, sink), f"finish {self.lane.name}")
                    for sink in self._others
                    if sink is not self._inside and sink not in self._finished
                ]
                # Where the system has no room for a thread, who opened the output closes it.
                self._finishers = [thread for thread in threads if thread is not None]
        return self._finishers

    def draw(self) -> None:
        """Reads the engines' outputs, tracks and draws, until the stream ends."""
        lane = self.lane
        can_be_lost = lane.stream.source.report.connection is not None
        last_s, is_lost = time.monotonic(), True  # nothing was seen yet
        try:
            while True:
                try:
                    answered = lane.answers.get(_LOOK_S if can_be_lost and not is_lost else None)
                except QueueEmpty:
                    if self._is_away() and time.monotonic() - last_s >= LOST_AFTER_S:
                        is_lost = True
                        self._lose()
                    continue
                last_s, is_lost = time.monotonic(), False
                try:
                    drawn = self._drawn(answered)
                except Exception as error:
                    lane.fail(error)
                    lane.release()
                else:
                    lane.drawn.put(drawn)
        except QueueEnded:
            lane.drawn.finish()

    def _is_away(self) -> bool:
        connection = self.lane.stream.source.report.connection
        return connection is not None and connection.state is ConnectionState.RECONNECTING

    def _lose(self) -> None:
        scene = self.lane.stream.scene
        if scene is not None:
            scene.lose()
        self.lane.drawn.put(SourceLost())

    def _drawn(self, answered: Answered) -> Drawn:
        lane, stream, prepared = self.lane, self.lane.stream, answered.prepared
        image = prepared.frame.image
        result = FrameResult(prepared.frame, self._results(answered), stream=lane.name)
        scene = stream.scene
        if scene is not None:
            with lane.clock.measure(Stage.TRACK):
                result = scene.track(result)
        if stream.crops is not None:
            with lane.clock.measure(Stage.CROPS):
                result = stream.crops.update(result)
        if scene is not None:
            result = scene.watch(result)
        if stream.overlays:
            with lane.clock.measure(Stage.OVERLAY):
                image = render(result, stream.overlays, self._status)
                if scene is not None and scene.layout is not None and result.zones is not None:
                    draw_zones(image, scene.layout, result.zones)
        return Drawn(result, image, prepared.captured_ns, answered.taken_ns, prepared.model_set)

    def _results(self, answered: Answered) -> tuple[Result, ...]:
        lane, prepared = self.lane, answered.prepared
        models = lane.model_sets[prepared.model_set]
        try:
            with lane.clock.measure(Stage.POSTPROCESS):
                results = tuple(
                    model.finish(batch, outputs)[0]
                    for model, batch, outputs in zip(models, prepared.batches, answered.outputs, strict=True)
                )
        except Exception:
            lane.ledger.fail()
            raise
        lane.ledger.infer()
        return results

    def write(self) -> None:
        """Gives each frame to the sinks without a screen, and closes them at the end.

        The main thread is told of the end once no frame is being prepared any more.
        """
        lane = self.lane
        try:
            while True:
                drawn = lane.drawn.get()
                if isinstance(drawn, SourceLost):
                    self._call(self._usable(), lambda sink: sink.source_lost())
                    continue
                start_ns = time.perf_counter_ns()
                self._write_to(drawn, self._usable())
                elapsed_ns = time.perf_counter_ns() - start_ns
                if self._screens:
                    self._shown.put((self, drawn, elapsed_ns))
                else:
                    self._done(drawn, elapsed_ns)
        except QueueEnded:
            pass
        finally:
            for sink in self._usable():
                self._closing_s = time.monotonic()
                self._close_one(sink)
            for finisher in self._finishers or ():
                finisher.join()
            self.lane.is_prepared.wait()  # another stream may take its place in the intake from then on
            self._shown.put((self, None, 0))

    def _usable(self) -> Iterator[Sink]:
        """The outputs without a screen, for the writer, which is in the one that it was given last."""
        for sink in self._others:
            with self._lock:
                if self._finishers is not None and sink is not self._inside:
                    continue
                self._inside = sink
            yield sink
            with self._lock:
                if self._finishers is None:
                    self._inside = None

    def show(self, drawn: Drawn, elapsed_ns: int) -> None:
        """Gives a frame to the screens, after the other sinks took ``elapsed_ns``; on the main thread."""
        start_ns = time.perf_counter_ns()
        self._write_to(drawn, self._screens)
        self._done(drawn, elapsed_ns + time.perf_counter_ns() - start_ns)

    def _write_to(self, drawn: Drawn, sinks: Iterable[Sink]) -> None:
        self._call(sinks, lambda sink: sink.write(drawn.result, drawn.image))

    def _call(self, sinks: Iterable[Sink], function: Callable[[Sink], None]) -> None:
        if self._has_failed:
            return
        try:
            for sink in sinks:
                function(sink)
        except Exception as error:
            self._has_failed = True  # all outputs end at this frame
            self.lane.fail(error)

    def _done(self, drawn: Drawn, sinks_ns: int) -> None:
        lane = self.lane
        if not self._has_failed:
            latency_ms = (time.perf_counter_ns() - drawn.captured_ns) / 1e6
            lane.clock.add(Stage.SINKS, sinks_ns)
            lane.latency.add(latency_ms)
            lane.tally.add(drawn.result)
            lane.last_latency_ms, lane.time_s = latency_ms, drawn.result.frame.time_s
            lane.written += 1
            rate = lane.rate.tick()
            if lane.stream.show_status:
                self._status = f"{rate:.1f} fps  {latency_ms:.0f} ms"
        lane.done(drawn)

    # On the main thread.

    @property
    def is_watched(self) -> bool:
        """There is a screen, and it is open."""
        return bool(self._screens) and not self.is_closed

    @property
    def is_closed(self) -> bool:
        """A window was closed by its viewer."""
        return any(sink.closed for sink in self.lane.stream.sinks)

    def refresh(self) -> None:
        """Keeps the screens alive while no frame comes."""
        try:
            for screen in self._screens:
                screen.refresh()
        except Exception as error:
            self.lane.fail(error)

    def close_screens(self) -> None:
        self._close(self._screens)

    def _close(self, sinks: Iterable[Sink]) -> None:
        for sink in sinks:
            self._close_one(sink)

    def _close_one(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception as error:
            self.lane.fail(error)
        self._finished.append(sink)
