"""What connects the frames of one stream: track ids and zones."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from edgevision.tracking import ZoneLayout, ZoneMonitor
from edgevision.tracking.counts import SceneCounter, SceneCounts
from edgevision.tracking.sightings import sightings
from edgevision.tracking.tracker import Tracker
from edgevision.types import Detections, FrameResult, Result


class Scene:
    """Tracks each model's detections, and watches zones where there are some. One for each stream.

    Args:
        models: how many models run, which is how many results a frame has.
        conf_threshold: see :class:`~edgevision.tracking.tracker.Tracker`; the models run down to
            :data:`~edgevision.tracking.tracker.RECOVER_THRESHOLD`.
        frame_rate: of the source; None where unknown.
        layout: zones and lines; None for ids only.

    Attributes:
        layout: as given.
        counter: what was counted until now.

    Raises:
        UsageError: the tracking library is not installed.
    """

    def __init__(
        self,
        models: int,
        conf_threshold: float,
        frame_rate: float | None = None,
        layout: ZoneLayout | None = None,
    ) -> None:
        self.layout = layout
        self.counter = SceneCounter()
        self._trackers = [
            Tracker(frame_rate, conf_threshold, first_id=1 + i, id_step=models) for i in range(models)
        ]
        self._monitor = None if layout is None else ZoneMonitor(layout)
        self._next: list[ZoneLayout | None] = []
        self._next_threshold: float | None = None

    @property
    def next_layout(self) -> ZoneLayout | None:
        """The layout of the next frame."""
        waiting = list(self._next)
        return waiting[-1] if waiting else self.layout

    def change_layout(self, layout: ZoneLayout | None) -> None:
        """Other zones, from the next frame on; from any thread. None for none."""
        self._next.append(layout)

    def change_threshold(self, conf_threshold: float) -> None:
        """Another threshold, from the next frame on, with the same ids; from any thread."""
        self._next_threshold = conf_threshold

    def update(self, result: FrameResult) -> FrameResult:
        """The same frame with track ids, and zones where there are some: :meth:`track` and :meth:`watch`.

        Call it for every frame that was inferred, in order, from one thread.
        """
        return self.watch(self.track(result))

    def track(self, result: FrameResult) -> FrameResult:
        """The same frame with track ids. Class maps and labels pass through."""
        frame = result.frame
        while self._next:
            self.layout = self._next.pop(0)
            self._monitor = None if self.layout is None else ZoneMonitor(self.layout, self._monitor)
        threshold, self._next_threshold = self._next_threshold, None
        if threshold is not None:
            for tracker in self._trackers:
                tracker.set_threshold(threshold)
        tracked: list[Result] = [
            tracker.update(one, frame.time_s) if isinstance(one, Detections) else one
            for tracker, one in zip(self._trackers, result.results, strict=True)
        ]
        return dataclasses.replace(result, results=tuple(tracked))

    def watch(self, result: FrameResult) -> FrameResult:
        """The same frame, which was tracked, with its objects counted, and zones where there are some."""
        frame, seen, zones = result.frame, sightings(result), None
        if self._monitor is not None:
            zones = self._monitor.update(seen, frame.time_s, (frame.width, frame.height))
        objects = self.counter.add(seen, zones, frame.time_s)
        return dataclasses.replace(result, zones=zones, objects=objects)

    def lose(self) -> None:
        """The source is away: whoever was in a zone has left it. The next frame's report has their exits.

        From the thread that calls :meth:`update`.
        """
        self.counter.lose(None if self._monitor is None else self._monitor.lose())

    def counts(self) -> SceneCounts | None:
        """What was counted until now; from any thread."""
        return self.counter.counts(self.layout)


class LateScene:
    """A stream that is not tracked, and can be from a moment on: until it gets zones it changes nothing.

    Args:
        make: the scene that it becomes, of a threshold.
        conf_threshold: see :class:`Scene`.

    Attributes:
        layout: zones and lines; None until it has some.
        counter: what was counted until now.
    """

    def __init__(self, make: Callable[[float], Scene], conf_threshold: float) -> None:
        self._make, self._conf_threshold = make, conf_threshold
        self.counter = SceneCounter()
        self._scene: Scene | None = None
        self._lock = threading.Lock()

    @property
    def layout(self) -> ZoneLayout | None:
        return None if self._scene is None else self._scene.layout

    @property
    def next_layout(self) -> ZoneLayout | None:
        """See :attr:`Scene.next_layout`."""
        return None if self._scene is None else self._scene.next_layout

    def change_threshold(self, conf_threshold: float) -> None:
        """See :meth:`Scene.change_threshold`."""
        with self._lock:
            self._conf_threshold = conf_threshold
            if self._scene is not None:
                self._scene.change_threshold(conf_threshold)

    def change_layout(self, layout: ZoneLayout | None) -> None:
        """See :meth:`Scene.change_layout`; the first one begins to track.

        Raises:
            UsageError: the tracking library is not installed.
        """
        with self._lock:
            scene = self._make(self._conf_threshold) if self._scene is None else self._scene
            scene.counter = self.counter
            scene.change_layout(layout)
            self._scene = scene

    def update(self, result: FrameResult) -> FrameResult:
        """See :meth:`Scene.update`."""
        return result if self._scene is None else self._scene.update(result)

    def track(self, result: FrameResult) -> FrameResult:
        """See :meth:`Scene.track`."""
        return result if self._scene is None else self._scene.track(result)

    def watch(self, result: FrameResult) -> FrameResult:
        """See :meth:`Scene.watch`."""
        return result if self._scene is None else self._scene.watch(result)

    def lose(self) -> None:
        """See :meth:`Scene.lose`."""
        if self._scene is not None:
            self._scene.lose()

    def counts(self) -> SceneCounts | None:
        """See :meth:`Scene.counts`; None until it is tracked."""
        return None if self._scene is None else self._scene.counts()
