"""Numbers that stay with objects from frame to frame: an adapter to the ``trackers`` library.

The method is ByteTrack (Zhang et al., 2022, https://arxiv.org/abs/2110.06864): boxes are predicted by a
Kalman filter and matched by overlap, first those of good scores, then what is left with weak ones, so that
an object that is half hidden keeps its number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping

import numpy as np

from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.types import Detections, FloatArray, IntArray, ObjectArray

RECOVER_THRESHOLD = 0.15
"""Run the detector down to this score where a tracker follows: weak boxes carry tracks on, see
:class:`Tracker`. Lower ones gave hardly fewer numbers, and boxes that fit nothing: docs/tracking.md."""

_CLASS_DISTANCE = 100_000.0
"""Pixels; wider than any picture."""

_TO_BEGIN = 2  # detections in a row
_DEFAULT_RATE = 25.0
_LIBRARY_RATE = 30.0  # the library counts its patience in frames of 1/30 s


class Tracker:
    """Gives the objects of one stream numbers that stay with them.

    Call :meth:`update` for every frame in order, those without detections too, for time goes on in them.
    A track gets its number with two detections in a row of at least ``conf_threshold``. It goes on through
    any detection given, however weak its score, and through frames without one for ``patience_s``. Tracks
    never change their class: boxes of different classes are never matched.

    Args:
        frame_rate: of the source, frames a second; None where it is unknown. Sets only the scale of the
            motion model: time comes with each frame, so dropped frames and varying rates are no trouble.
        conf_threshold: detections below it are given back only where they belong to a track.
        patience_s: how long a track lives without a detection, in seconds of the source.
        first_id, id_step: the numbers given are ``first_id``, ``first_id + id_step`` and so on, so that
            the trackers of several models on one stream can share them out.

    Raises:
        UsageError: the library is not installed, or a number is impossible.

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
            raise UsageError(f"a track's patience of {patience_s} s is impossible; expected 0 or more")
        with needs_extra("track", "tracking"):
            from trackers import ByteTrackTracker  # two seconds of imports, so only who tracks pays them
        self.conf_threshold = conf_threshold
        self._first_id, self._id_step = first_id, id_step
        self._given = 0
        self._numbers: dict[int, int] = {}  # of the library's tracks that have a number here
        self._in_row: dict[int, int] = {}  # for the others: detections of conf_threshold or more until now
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
        """Takes one frame's detections and gives those that count back, in their order, with track ids.

        Args:
            found: the detections; may be empty. Give those down to :data:`RECOVER_THRESHOLD` too.
            time_s: of the frame on the source's clock, in seconds. A clock that does not move forward
                is taken to have moved by one frame.

        Returns:
            The detections of ``conf_threshold`` or more and those of any score that belong to a track, with
            ``track_ids``, None where there is no track yet.
        """
        track_ids = self._track_ids(found, self._advance(time_s))
        has_track = np.array([track_id is not None for track_id in track_ids], np.bool_)
        kept = (found.scores >= self.conf_threshold) | has_track
        return dataclasses.replace(found, track_ids=track_ids)[kept]

    def _advance(self, time_s: float) -> float:
        """Seconds on a clock that always moves forward, as the library demands."""
        if self._last_s is not None:
            elapsed = time_s - self._last_s
            self._clock_s += elapsed if elapsed > 0 else self._frame_s
        self._last_s = time_s
        return self._clock_s

    def _track_ids(self, found: Detections, clock_s: float) -> ObjectArray:
        from supervision import Detections as LibraryDetections

        given = LibraryDetections(
            xyxy=_apart(found.boxes, found.class_ids),
            confidence=found.scores,
            class_id=found.class_ids,
            data={"row": np.arange(len(found))},
        )
        answer = self._library.update(given, timestamp=clock_s)
        track_ids = np.full(len(found), None, object)
        strong: dict[int, bool] = {}
        if len(answer):  # in an order of the library's own
            rows, tracks = np.asarray(answer.data["row"]), np.asarray(answer.tracker_id)
            rows, tracks = rows[tracks >= 0], tracks[tracks >= 0]
            strong = dict(zip(tracks.tolist(), found.scores[rows] >= self.conf_threshold, strict=True))
            self._confirm(strong)
            track_ids[rows] = [self._numbers.get(track) for track in strong]
        self._forget(strong)
        return track_ids

    def _confirm(self, strong: Mapping[int, bool]) -> None:
        """Gives numbers to those of the library's tracks in this frame that have earned one.

        The library begins a track where a weak detection follows a single strong one. Detectors see such
        pairs where there is nothing, and weak boxes would then keep them alive for long.

        Args:
            strong: for each track, whether its detection is of ``conf_threshold`` or more.
        """
        for track, is_strong in strong.items():
            if track in self._numbers:
                continue
            # The library tells of a track from its second detection on; its first was a strong one.
            self._in_row[track] = self._in_row.get(track, 1) + 1 if is_strong else 0
            if self._in_row[track] >= _TO_BEGIN:
                self._numbers[track] = self._first_id + self._id_step * self._given
                self._given += 1
                del self._in_row[track]

    def _forget(self, seen: Collection[int]) -> None:
        """Lets go of what the library has let go of, for runs of many days."""
        alive = {int(track.tracker_id) for track in self._library.tracks}
        self._numbers = {track: number for track, number in self._numbers.items() if track in alive}
        self._in_row = {
            track: n if track in seen else 0 for track, n in self._in_row.items() if track in alive
        }


def _apart(boxes: FloatArray, class_ids: IntArray) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Boxes moved sideways by class, so that those of different classes never overlap: ``[N, 4]``."""
    moved = boxes.astype(np.float64)
    moved[:, [0, 2]] += class_ids[:, None] * _CLASS_DISTANCE
    return moved
