"""What joins the frames of one stream: numbers that stay with objects, and zones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgevision.tracking import ZoneLayout, ZoneMonitor
from edgevision.tracking.sightings import sightings
from edgevision.tracking.tracker import Tracker
from edgevision.types import Detections, Frame, Result, ZoneReport


class Scene:
    """Tracks each model's detections, and watches zones where there are some. One for each stream.

    Args:
        classes: each model's class names, in the order of the results.
        conf_threshold: see :class:`~edgevision.tracking.tracker.Tracker`; the detectors run down to
            :data:`~edgevision.tracking.tracker.RECOVER_THRESHOLD`.
        frame_rate: of the source; None where unknown.
        layout: zones and lines; None for ids only.

    Attributes:
        layout: as given.
        report: zones after the last frame.

    Raises:
        UsageError: the tracker library is not installed.
    """

    def __init__(
        self,
        classes: Sequence[Sequence[str]],
        conf_threshold: float,
        frame_rate: float | None = None,
        layout: ZoneLayout | None = None,
    ) -> None:
        self.layout = layout
        self.report = ZoneReport()
        self._classes = classes
        self._trackers = [
            Tracker(frame_rate, conf_threshold, first_id=1 + i, id_step=len(classes))
            for i in range(len(classes))
        ]
        self._monitor = None if layout is None else ZoneMonitor(layout)

    def update(self, frame: Frame, results: Sequence[Result]) -> tuple[Result, ...]:
        """The same results with track ids, and zones where there are some. Class maps pass through.

        Call it for every frame that was inferred, in order, from one thread.
        """
        tracked: list[Result] = [
            tracker.update(result, frame.time_s) if isinstance(result, Detections) else result
            for tracker, result in zip(self._trackers, results, strict=True)
        ]
        if self._monitor is not None:
            seen = sightings(tracked, self._classes)
            self.report = self._monitor.update(seen, frame.time_s, (frame.width, frame.height))
            tracked = [
                dataclasses.replace(result, zones=self.report) if isinstance(result, Detections) else result
                for result in tracked
            ]
        return tuple(tracked)
