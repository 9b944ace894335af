"""Results of one source, pulled frame by frame: for a loop in somebody else's program."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Generator, Iterator, Sequence

from edgevision.model import Model
from edgevision.pipeline.crops import CropReader
from edgevision.pipeline.queue import BoundedQueue, Policy, QueueEnded
from edgevision.tracking.scene import Scene
from edgevision.types import Frame, FrameResult
from edgevision.video import Source

_LOG = logging.getLogger(__name__)
_AHEAD = 2
_JOIN_S = 3.0


class ReadAhead:
    """Reads a source on a thread of its own, a little ahead; a context manager that is iterated once.

    Of a file every frame comes. Of a live source the newest: what nobody took in time makes room for it.

    Args:
        source: closed at the end.
        every: only each frame whose index is a multiple of this.
    """

    def __init__(self, source: Source, every: int = 1) -> None:
        self._source, self._every = source, every
        is_live = source.info.is_live
        policy = Policy.KEEP_NEWEST if is_live else Policy.WAIT
        self._frames: BoundedQueue[Frame] = BoundedQueue(1 if is_live else _AHEAD, policy)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name=f"read {source.info.name}", daemon=True)

    def _read(self) -> None:
        try:
            for frame in self._source:
                if frame.index % self._every == 0:
                    self._frames.put(frame)
        except QueueEnded:
            pass  # nobody wants more
        except Exception as error:
            self._error = error  # raised where the frames are taken
        finally:
            self._frames.finish()
            with contextlib.suppress(Exception):  # what went wrong before matters more
                self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yields each frame.

        Raises:
            SourceError: it cannot go on; every frame before was yielded.
        """
        while True:
            try:
                frame = self._frames.get()
            except QueueEnded:
                break
            yield frame
        if self._error is not None:
            raise self._error

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.abort()
        if self._source.info.is_live:
            self._source.close()  # or its thread would wait for a frame that may never come
        self._thread.join(_JOIN_S)  # a camera can block for ever in its driver


def pull_results(
    source: Source,
    models: Sequence[Model],
    *,
    scene: Scene | None = None,
    crops: CropReader | None = None,
    every: int = 1,
    max_frames: int | None = None,
) -> Generator[FrameResult, None, None]:
    """Yields the result of each frame; closing the generator closes the source.

    Args:
        source: open; read on a thread of its own while the caller works.
        models: every one runs on every frame, on the caller's thread.
        scene: the tracker and the zones.
        crops: a second model on what was found.
        every: only each frame whose index is a multiple of this.
        max_frames: end after this many; None reads to the end.

    Raises:
        SourceError: the source cannot go on.
        EngineError: a model failed.
    """
    taken = 0
    with ReadAhead(source, every) as frames:
        for frame in frames:
            result = FrameResult(frame, tuple(model(frame.image) for model in models))
            if scene is not None:
                result = scene.track(result)
            if crops is not None:
                result = crops.update(result)
            yield result if scene is None else scene.watch(result)
            taken += 1
            if taken == max_frames:
                return
    _log_damage(source)


def _log_damage(source: Source) -> None:
    report = source.report
    if report.problem is not None:
        _LOG.warning("%s", report.problem)
    if report.skipped and not source.info.is_live:
        _LOG.warning("%s: %d frames could not be decoded", source.info.name, report.skipped)
