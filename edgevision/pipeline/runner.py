"""The run itself: streams through models, every stage at the same time.

Each stream has a thread for capture, for the letterbox, for drawing, and for its sinks; one thread feeds the
engines with frames of all streams that use the same ones. While frame n is inferred, frame n+1 is letterboxed
and frame n-1 is drawn and encoded. Decoding, letterbox, inference, drawing and encoding release the GIL, so
they overlap.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from queue import Empty, Queue

from edgevision.model import Model
from edgevision.pipeline import reading
from edgevision.pipeline.inference import Inference, SharedEngine
from edgevision.pipeline.lane import Lane, LaneCounts, stream_statistics
from edgevision.pipeline.rendering import Rendering, Shown
from edgevision.pipeline.statistics import EngineStatistics, RunStatistics, StreamStatistics
from edgevision.pipeline.stream import StopRequest, Stream

_LOG = logging.getLogger(__name__)

_POLL_S = 0.1
_REFRESH_S = 0.02
_PROGRESS_S = 0.2
_JOIN_S = 3.0
_FINISH_S = 10.0  # for the outputs beside one that takes nothing any more
_COLLECT_S = 30.0
"""PyAV's containers and streams refer to each other, so that only Python's collector frees a decoder or an
encoder that is closed; by default it lets tens of them wait, of 50 MB each."""

REMOVED = "removed"
"""Why a stream ended that was taken out of a run; see :meth:`Pipeline.remove`."""

OnStatistics = Callable[[RunStatistics], None]


class Pipeline:
    """Runs streams until each has ended; an error in one does not touch the others.

    Streams whose models run on the same engines share them and are inferred in batches; streams with other
    engines have threads of their own, so that a slow model holds nobody else up.

    Args:
        streams: at least one, unless it is kept open; their names differ.
        models: every one runs on every frame of the streams that have none of their own.
        is_kept_open: it runs on after its streams have ended, until it is asked to stop.
        fallback: in place of ``models``, with the same classes, for streams that hold a latency.
        max_batch: maximum number of frames in a call of an engine; at most one of each stream.

    Raises:
        ValueError: there is no stream, two have one name, or one has no model.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        models: Sequence[Model],
        *,
        fallback: Sequence[Model] = (),
        max_batch: int = 8,
        is_kept_open: bool = False,
    ) -> None:
        self._models, self._fallback = models, fallback
        self._max_batch = max_batch
        self._is_kept_open = is_kept_open
        self._is_over = False
        self._holds = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._added: deque[Rendering] = deque()
        self._engines: dict[int, SharedEngine] = {}
        self._enter_engines([models, fallback])
        self._lanes = [Lane(stream, 0, self._model_sets(stream)) for stream in streams]
        names = [lane.name for lane in self._lanes]
        if (not names and not is_kept_open) or len(set(names)) < len(names):
            raise ValueError(f"a run needs streams with a name each; found {', '.join(names) or 'none'}")
        together: dict[frozenset[int], list[Lane]] = {}
        for lane in self._lanes:
            together.setdefault(_engines_of(lane), []).append(lane)
        self._inferences = {
            key: Inference(lanes, self._engines, max_batch) for key, lanes in together.items()
        }
        # Not SimpleQueue: before Python 3.13 its get waits forever where a signal uses up the timeout.
        self._shown: Shown = Queue()
        self._renderings = [Rendering(lane, self._shown) for lane in self._lanes]
        self._start: float | None = None
        self._counts: dict[str, LaneCounts] = {}  # of streams that were removed, by name
        self._run_seconds: float | None = None

    def _model_sets(self, stream: Stream) -> list[Sequence[Model]]:
        models = self._models if stream.models is None else stream.models
        fallback = self._fallback if stream.models is None else stream.fallback
        if not models:
            raise ValueError(f"'{stream.name or stream.source.info.name}' has no model")
        sets = [models, fallback] if fallback else [models]
        self._enter_engines(sets)
        return sets

    def _enter_engines(self, model_sets: Sequence[Sequence[Model]]) -> None:
        for models in model_sets:
            for model in models:
                if id(model.engine) not in self._engines:
                    self._engines[id(model.engine)] = SharedEngine(model)

    @property
    def errors(self) -> dict[str, Exception]:
        """What ended a stream, by its name; only of those that failed."""
        return {lane.name: lane.error for lane in self._lanes if lane.error is not None}

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Streams whose outputs are still being written, by threads that alone may close them.

        After :meth:`run` there are some only where it raised while an output took nothing any more.
        """
        return tuple(rendering.lane.name for rendering in self._renderings if rendering.unfinished)

    def run(
        self, stop: StopRequest | None = None, on_statistics: OnStatistics | None = None
    ) -> RunStatistics:
        """Runs to the end of every stream, or until it is asked to stop. Call it once.

        An error ends its stream; the frames before it are in the outputs. An error of a model ends all
        streams. None is raised: see :attr:`errors`.

        Args:
            stop: set its reason, from any thread, to end early.
            on_statistics: called on this thread, at most five times a second.
        """
        try:
            with self._lock:  # who adds a stream from now on starts it
                for inference in self._inferences.values():
                    self._threads += inference.start()
                self._start = time.perf_counter()
                for rendering in self._renderings:
                    self._start_threads(rendering)
            self._watch(stop or StopRequest(), on_statistics)
        except BaseException:
            for lane in self._lanes:
                lane.abandon()
                self._release_source(lane)
            raise
        finally:
            self._is_over = True
            for inference in self._inferences.values():
                inference.intake.close()
            self._join(self._threads, _JOIN_S)
            written = [one for one in self._renderings if one.is_written]
            self._join([thread for one in written for thread in one.finish()], _FINISH_S)
            for rendering in self._renderings:
                rendering.close_screens()
                if rendering.unfinished:
                    _LOG.error(
                        "%s: outputs that take nothing any more could not be finished: %s",
                        rendering.lane.name,
                        ", ".join(rendering.unfinished),
                    )
            for lane in self._lanes:
                lane.ledger.close()
            self._run_seconds = self._elapsed()
        return self.statistics()

    def add(self, stream: Stream) -> None:
        """A further stream, while the others run; from any thread. It must not have a window.

        Where a stream of its name was removed, its counts go on.

        Raises:
            ValueError: a stream that runs has its name, it has no model, or nothing runs any more.
        """
        with self._lock:
            if any(lane.name == stream.name and lane.seconds is None for lane in self._lanes):
                raise ValueError(f"a stream called '{stream.name}' runs already")
            if self._is_over:
                raise ValueError("the run is over")
            before = self._counts.pop(stream.name, None)
            lane = Lane(stream, 0, self._model_sets(stream), before)
            self._place(lane)  # before it can be found, and ended
            over = next((one for one in self._lanes if _is_gone(one)), None)
            if over is not None:
                self._lanes[self._lanes.index(over)] = lane
            else:
                self._lanes.append(lane)
            rendering = Rendering(lane, self._shown)
            self._renderings = [one for one in self._renderings if one.lane in self._lanes] + [rendering]
            if self._start is not None:
                self._added.append(rendering)
                self._start_threads(rendering)

    def _place(self, lane: Lane) -> None:
        """Lets a stream that was added be inferred with the others of its engines."""
        key = _engines_of(lane)
        inference = self._inferences.get(key)
        if inference is not None:
            over = next((one for one in inference.lanes if _is_gone(one)), None)
            if inference.add(lane, over):
                return
        self._inferences[key] = inference = Inference([lane], self._engines, self._max_batch)
        if self._start is not None:
            self._threads += inference.start()

    def set_models(self, name: str, models: Sequence[Model], fallback: Sequence[Model] = ()) -> None:
        """Other thresholds and classes for a stream, from the next frame on; from any thread.

        Args:
            name: of the stream.
            models, fallback: on the engines that it has.

        Raises:
            ValueError: there is no such stream, or it has other engines.
        """
        with self._lock:
            lane = self._running(name)
            if lane is None:
                raise ValueError(f"no stream called '{name}' runs")
            model_sets = [models, fallback] if fallback else [models]
            if [[one.engine for one in each] for each in lane.model_sets] != [
                [one.engine for one in each] for each in model_sets
            ]:
                raise ValueError(f"'{name}' runs on other engines")
            lane.model_sets = model_sets

    def release_engines(self) -> None:
        """Ends the threads of engines that no stream uses any more, so that these can be closed."""
        with self._lock:
            for key, inference in list(self._inferences.items()):
                if all(_is_gone(lane) for lane in inference.lanes):
                    del self._inferences[key]
                    inference.intake.close()
            used = {id(model.engine) for models in (self._models, self._fallback) for model in models}
            used = used.union(*self._inferences)
            for engine in [one for one in self._engines if one not in used]:
                del self._engines[engine]

    def remove(self, name: str, timeout_s: float = 10.0) -> StreamStatistics | None:
        """Ends a stream, and waits until its outputs are finished; from any thread but the run's own.

        Returns:
            How it ended; it is in no statistics any more. None where there is no such stream.

        Raises:
            TimeoutError: its outputs take longer; it is removed once they are finished.
        """
        lane = self._running(name)
        if lane is None:
            return None
        lane.end(REMOVED)
        lane.stopped = REMOVED
        deadline = time.monotonic() + timeout_s
        while lane.seconds is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)
        figures = stream_statistics(lane, lane.seconds, True)
        self._counts[name] = lane.counts()
        return figures

    def has_stream(self, name: str) -> bool:
        """Whether there is a stream of that name that was not removed, or still finishes its outputs."""
        return self._running(name) is not None

    def _running(self, name: str) -> Lane | None:
        return next((one for one in self._lanes if one.name == name and not _is_gone(one)), None)

    def _start_threads(self, rendering: Rendering) -> None:
        lane = rendering.lane
        works: list[tuple[str, Callable[[], None]]] = [
            (f"capture {lane.name}", functools.partial(reading.capture, lane)),
            (f"prepare {lane.name}", functools.partial(reading.prepare, lane)),
            (f"draw {lane.name}", rendering.draw),
            (f"write {lane.name}", rendering.write),
        ]
        threads = [threading.Thread(target=work, name=name, daemon=True) for name, work in works]
        self._threads = [one for one in self._threads if one.is_alive()] + threads
        rendering.writer = threads[-1]
        for thread in threads:
            thread.start()

    def _join(self, threads: Sequence[threading.Thread], limit_s: float) -> None:
        # A camera can block forever in its driver; its thread is a daemon and is abandoned.
        deadline = time.monotonic() + limit_s
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _watch(self, stop: StopRequest, on_statistics: OnStatistics | None) -> None:
        """Shows frames in windows, and checks for reasons to stop, until every stream has ended."""
        running = dict.fromkeys(self._renderings)
        held: list[Rendering] = []  # single images that stay in their window
        next_progress = 0.0
        next_collection = time.perf_counter() + _COLLECT_S
        while self._has_more(running, held, stop):
            self._take_added(running)
            for rendering in [*running, *held]:
                self._notice_end(rendering, stop)
                self._notice_slow(rendering)
            held = [rendering for rendering in held if rendering.lane.stopped is None]
            try:
                rendering, drawn, elapsed_ns = self._shown.get(timeout=_REFRESH_S if held else _POLL_S)
            except Empty:
                for rendering in [*running, *held]:
                    rendering.refresh()
            else:
                self._take_added(running)  # one that was added meanwhile may be over already
                if drawn is not None:
                    rendering.show(drawn, elapsed_ns)
                else:
                    del running[rendering]
                    self._notice_end(rendering, stop)
                    held += self._stream_over(rendering)
            now = time.perf_counter()
            if now >= next_collection:
                next_collection = now + _COLLECT_S
                gc.collect()
            if on_statistics is not None and now >= next_progress:
                next_progress = now + _PROGRESS_S
                on_statistics(self.statistics())

    def _take_added(self, running: dict[Rendering, None]) -> None:
        while self._added:
            running[self._added.popleft()] = None

    def _has_more(
        self, running: Collection[Rendering], held: Collection[Rendering], stop: StopRequest
    ) -> bool:
        """Whether something runs, or further streams may come; otherwise none is taken from now on."""
        with self._lock:
            self._is_over = not (running or held or self._added or self._goes_on(stop))
            return not self._is_over

    def _goes_on(self, stop: StopRequest) -> bool:
        """Whether it waits for further streams."""
        have_failed = bool(self._inferences) and all(one.has_failed for one in self._inferences.values())
        return (self._is_kept_open or self._holds > 0) and stop.reason is None and not have_failed

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts, the run does not end with its last stream: another one takes its place."""
        with self._lock:
            self._holds += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds -= 1

    def _notice_end(self, rendering: Rendering, stop: StopRequest) -> None:
        lane = rendering.lane
        reason = stop.reason or ("window" if rendering.is_closed else None)
        if reason is not None and lane.stopped is None:
            lane.end(reason)

    def _notice_slow(self, rendering: Rendering) -> None:
        """An output that does not end must not keep the stream's others open."""
        if (slow := rendering.slow) is not None:
            rendering.finish()
            _LOG.warning(
                "%s: %s takes long to finish; no other output waits for it", rendering.lane.name, slow
            )

    def _stream_over(self, rendering: Rendering) -> list[Rendering]:
        """A stream's other outputs are closed: closes its window too, unless it shows a single image."""
        lane = rendering.lane
        if lane.stopped == REMOVED:
            self._counts[lane.name] = lane.counts()  # here, for who removed it may wait no more
        lane.seconds = self._elapsed()
        self._release_source(lane)
        if lane.stream.source.info.is_image and rendering.is_watched and not (lane.error or lane.stopped):
            return [rendering]
        rendering.close_screens()
        return []

    def _release_source(self, lane: Lane) -> None:
        """Closes a live source, which would otherwise go on waiting or reconnecting."""
        if lane.stream.source.info.is_live:
            with contextlib.suppress(Exception):  # it may be closed already
                lane.stream.source.close()

    def statistics(self) -> RunStatistics:
        """The run now, or as it was at its end. From any thread."""
        seconds = self._run_seconds if self._run_seconds is not None else self._elapsed()
        engines = tuple(engine.figures() for engine in list(self._engines.values()))
        requests = sum(inference.requests for inference in list(self._inferences.values())) or 1
        busy_s = sum(engine.call.total_s for engine in engines)
        return RunStatistics(
            seconds=seconds,
            busy=min(1.0, busy_s / seconds / requests) if seconds > 0 else 0.0,
            streams=tuple(
                stream_statistics(
                    lane, seconds if lane.seconds is None else lane.seconds, lane.seconds is not None
                )
                for lane in list(self._lanes)
                if not _is_gone(lane)
            ),
            engines=engines + self._second_engines(),
        )

    def _second_engines(self) -> tuple[EngineStatistics, ...]:
        """What the streams' second models did, each once."""
        readers = [lane.stream.crops for lane in self._lanes]
        meters = dict.fromkeys(reader.model.meter for reader in readers if reader is not None)
        return tuple(meter.figures() for meter in meters)

    def _elapsed(self) -> float:
        return 0.0 if self._start is None else time.perf_counter() - self._start


def _is_gone(lane: Lane) -> bool:
    """Whether a stream was removed and is over: it is in no statistics, and its places are free."""
    return lane.stopped == REMOVED and lane.seconds is not None


def _engines_of(lane: Lane) -> frozenset[int]:
    """The ``id`` of each engine that a stream runs on."""
    return frozenset(id(model.engine) for models in lane.model_sets for model in models)


def run_stream(
    stream: Stream,
    models: Sequence[Model],
    *,
    stop: StopRequest | None = None,
    on_statistics: OnStatistics | None = None,
) -> StreamStatistics:
    """Runs one stream to its end.

    Raises:
        SourceError, EngineError, SinkError: the error that ended it; the frames before are in the outputs.
    """
    pipeline = Pipeline([stream], models)
    statistics = pipeline.run(stop, on_statistics)
    for error in pipeline.errors.values():
        raise error
    return statistics.streams[0]
