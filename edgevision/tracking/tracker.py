"""Track ids, which stay with objects from frame to frame: an adapter to the ``trackers`` library.

The method is ByteTrack (Zhang et al., 2022, https://arxiv.org/abs/2110.06864): boxes are predicted by a
Kalman filter and matched by overlap, first those of good scores, then what is left with weak ones, so that
an object that is partly hidden keeps its id.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.types import Detections, FloatArray, IntArray, ObjectArray

RECOVER_THRESHOLD = 0.15
"""The threshold of a model whose detections are tracked: weak boxes continue tracks, see
:class:`Tracker`. Lower values gave hardly fewer ids, and boxes around nothing: docs/tracking.md."""

MAX_CANDIDATES = 500
"""The most detections of one frame that are matched. The effort grows faster than their number: 500
take up to 0.1 s a frame, 10,000 took 26 s."""

_LOG = logging.getLogger(__name__)

_CLASS_DISTANCE = 100_000.0
"""Pixels; wider than any image."""

_CONFIRMATIONS = 2  # detections in a row
_DEFAULT_RATE = 25.0
_LIBRARY_RATE = 30.0  # the library counts lost frames in units of 1/30 s


class Tracker:
    """Gives the objects of one stream ids that stay with them.

    Call :meth:`update` for every frame in order, including those without detections, because time passes in
    them. A track gets its id with two consecutive detections of at least ``conf_threshold``. It continues
    with any detection given, however low its score, and without one for ``patience_s``; those below
    ``conf_threshold`` keep its id alive but are not returned. The class of a track never changes: boxes of
    different classes are never matched. Of more than :data:`MAX_CANDIDATES` detections in a frame, only
    those of the highest scores are matched; the first such frame is logged as a warning.

    Args:
        frame_rate: of the source, frames a second; None where it is unknown. Sets only the scale of the
            motion model: time comes with each frame, so frames may be dropped and the rate may vary.
        conf_threshold: detections below it are used for matching, but never returned.
        patience_s: how long a track lives without a detection, in seconds of the source.
        first_id, id_step: ids are ``first_id``, ``first_id + id_step`` and so on, so that the ids of several
            models on one stream differ.

    Raises:
        UsageError: the library is not installed, or ``patience_s`` is negative or not finite.

    Example:
        >>> tracker = Tracker(conf_threshold=0.35)  # doctest: +SKIP
        >>> found = tracker.update(detector([frame.image])[0], frame.time_s)  # doctest: +SKIP
    """

    def __init__(
        self,
        frame_rate: float | None = None,
        conf_threshold: float = 0.35,
        patience_s: float = 1.0,
        first_id: int = 1,
        id_step: int = 1,
    ) -> None:
        if not (math.isfinite(patience_s) and patience_s >= 0):
            raise UsageError(f"`patience_s` {patience_s} is not valid; expected 0 or more seconds")
        with needs_extra("track", "tracking"):
            from trackers import ByteTrackTracker  # takes two seconds, so only where something is tracked
        self.conf_threshold = conf_threshold
        self._first_id, self._id_step = first_id, id_step
        self._issued = 0
        self._has_warned = False
        self._ids: dict[int, int] = {}  # from the library's track ids to ours
        self._in_row: dict[int, int] = {}  # of the others: consecutive detections of conf_threshold or more
        self._frame_s = 1 / (frame_rate or _DEFAULT_RATE)
        self._last_s: float | None = None
        self._clock_s = 0.0
        self._library = ByteTrackTracker(
            lost_track_buffer=round(patience_s * _LIBRARY_RATE),
            frame_rate=1 / self._frame_s,
            track_activation_threshold=conf_threshold,
            high_conf_det_threshold=conf_threshold,
        )

    def update(self, found: Detections, time_s: float) -> Detections:
        """Takes one frame's detections and returns those of ``conf_threshold`` or more, with track ids.

        Args:
            found: the detections, down to :data:`RECOVER_THRESHOLD`; may be empty.
            time_s: of the frame on the source's clock, in seconds. A clock that does not move forward
                is taken to have moved by one frame.

        Returns:
            The detections of ``conf_threshold`` or more in their order, with ``track_ids``, None where there
            is no track yet. Weaker ones only carry tracks on: most of them are false (docs/tracking.md).
        """
        candidates = self._candidates(found)
        track_ids = np.full(len(found), None, object)
        track_ids[candidates] = self._track_ids(found[candidates], self._advance(time_s))
        return dataclasses.replace(found, track_ids=track_ids)[found.scores >= self.conf_threshold]

    def _candidates(self, found: Detections) -> NDArray[np.intp]:
        """Rows of the detections to match, in their order: the strongest where there are too many."""
        if len(found) <= MAX_CANDIDATES:
            return np.arange(len(found))
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "a frame has %d detections; of more than %d, only those of the highest scores are tracked",
                len(found),
                MAX_CANDIDATES,
            )
        return np.sort(np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES])

    def _advance(self, time_s: float) -> float:
        """Seconds on a clock that always moves forward, which the library requires."""
        if self._last_s is not None:
            elapsed = time_s - self._last_s
            self._clock_s += elapsed if elapsed > 0 else self._frame_s
        self._last_s = time_s
        return self._clock_s

    def _track_ids(self, found: Detections, clock_s: float) -> ObjectArray:
        from supervision import Detections as LibraryDetections

        given = LibraryDetections(
            xyxy=_separate_classes(found.boxes, found.class_ids),
            confidence=found.scores,
            class_id=found.class_ids,
            data={"row": np.arange(len(found))},
        )
        answer = self._library.update(given, timestamp=clock_s)
        track_ids = np.full(len(found), None, object)
        strong: dict[int, bool] = {}
        if len(answer):  # in the library's own order
            rows, tracks = np.asarray(answer.data["row"]), np.asarray(answer.tracker_id)
            rows, tracks = rows[tracks >= 0], tracks[tracks >= 0]
            strong = dict(zip(tracks.tolist(), found.scores[rows] >= self.conf_threshold, strict=True))
            self._confirm(strong)
            track_ids[rows] = [self._ids.get(track) for track in strong]
        self._forget(strong)
        return track_ids

    def _confirm(self, strong: Mapping[int, bool]) -> None:
        """Gives ids to those of the library's tracks in this frame that qualify.

        The library begins a track where a weak detection follows a single strong one. Such pairs are often
        false detections, which weak boxes would then continue for a long time.

        Args:
            strong: for each track, whether its detection is of ``conf_threshold`` or more.
        """
        for track, is_strong in strong.items():
            if track in self._ids:
                continue
            # The library reports a track from its second detection on; its first was a strong one.
            self._in_row[track] = self._in_row.get(track, 1) + 1 if is_strong else 0
            if self._in_row[track] >= _CONFIRMATIONS:
                self._ids[track] = self._first_id + self._id_step * self._issued
                self._issued += 1
                del self._in_row[track]

    def _forget(self, seen: Collection[int]) -> None:
        """Drops the tracks that the library has dropped, so that memory stays bounded."""
        alive = {int(track.tracker_id) for track in self._library.tracks}
        self._ids = {track: number for track, number in self._ids.items() if track in alive}
        self._in_row = {
            track: n if track in seen else 0 for track, n in self._in_row.items() if track in alive
        }


def _separate_classes(
    boxes: FloatArray, class_ids: IntArray
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Boxes moved sideways by class, so that those of different classes never overlap: ``[N, 4]``."""
    moved = boxes.astype(np.float64)
    moved[:, [0, 2]] += class_ids[:, None] * _CLASS_DISTANCE
    return moved
