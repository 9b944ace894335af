"""Track ids, which stay with objects from frame to frame: an adapter to the ``trackers`` library.

The method is ByteTrack (Zhang et al., 2022, https://arxiv.org/abs/2110.06864): boxes are predicted by a
Kalman filter and matched by overlap, first those of good scores, then what is left with weak ones, so that
an object that is partly hidden keeps its id. What earns an id is decided here: see :class:`Tracker`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import area, intersection
from edgevision.errors import UsageError
from edgevision.extras import needs_extra
from edgevision.types import Detections, FloatArray, IntArray, ObjectArray

RECOVER_THRESHOLD = 0.15
"""The threshold of a model whose detections are tracked: weak boxes continue tracks, see
:class:`Tracker`. Lower values gave hardly fewer ids, and boxes around nothing: docs/guides/zones.md."""

MAX_CANDIDATES = 500
"""The most detections of one frame that are matched. The effort grows faster than their number: 500
take up to 0.1 s a frame, 10,000 took 26 s."""

_LOG = logging.getLogger(__name__)

_CLASS_DISTANCE = 100_000.0
"""Pixels; wider than any image."""

_IN_ROW = 2
"""Detections in a row of the threshold or more that any id takes."""

_CLEAR = 0.15
"""How far above the threshold a detection is evidence for an object, and how much evidence is enough; both as
a part of the way from the threshold to 1. At a threshold of 0.35: more than 0.4475, and 0.0975 in total."""

_OWN = 0.3
"""Below this part of the same way, a box that overlaps a better one is taken to be of the same object."""

_SHARED = 0.4
"""Of the smaller of two boxes; the overlap from which they may be of one object."""

_MOVED = 1.0
"""In shorter sides of its box: how far an object of weak detections moves until it has its id."""

_DEFAULT_RATE = 25.0
_LIBRARY_RATE = 30.0  # the library counts lost frames in units of 1/30 s


@dataclass(slots=True)
class _Tentative:
    """A track of the library that has no id yet.

    Attributes:
        start: centre of its first box that the library reported, ``(x, y)`` in pixels.
        in_row: consecutive detections of the threshold or more, the latest among them.
        evidence: cumulative sum of how far the scores lay above the reference value, never below 0.
    """

    start: FloatArray
    in_row: int
    evidence: float = 0.0


def load_library() -> Any:
    """The class that matches boxes to tracks. It loads at the first call, which takes two seconds.

    Raises:
        UsageError: the library is not installed.
    """
    with needs_extra("track", "tracking"):
        from trackers import ByteTrackTracker
    return ByteTrackTracker


class Tracker:
    """Gives the objects of one stream ids that stay with them.

    Call :meth:`update` for every frame in order, including those without detections, because time passes in
    them. A track gets its id once it has two consecutive detections of at least ``conf_threshold`` and either

    - enough evidence: the scores' distances above ``conf_threshold + 0.15 * (1 - conf_threshold)`` are summed
      from frame to frame, the sum kept at 0 or more (Page, "Continuous Inspection Schemes", 1954), until it
      reaches ``0.15 * (1 - conf_threshold)``; a clear object is there in its second frame, or
    - moved by the shorter side of its box. What stays weak and never moves is mostly a false detection of the
      background, which is the same in every frame.

    It continues with any detection given, however low its score, and without one for ``patience_s``; those
    below ``conf_threshold`` keep its id alive but are not returned. The class of a track never changes: boxes
    of different classes are never matched. A weak box that overlaps a better one of its class continues a
    track but begins none. Of more than :data:`MAX_CANDIDATES` detections in a frame, only those of the
    highest scores are matched; the first such frame is logged as a warning.

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
        library = load_library()
        self.conf_threshold = conf_threshold
        self._first_id, self._id_step = first_id, id_step
        self._issued = 0
        self._has_warned = False
        self._ids: dict[int, int] = {}  # from the library's track ids to ours
        self._tentative: dict[int, _Tentative] = {}  # the library's other tracks
        self._scale = 1 - conf_threshold
        self._frame_s = 1 / (frame_rate or _DEFAULT_RATE)
        self._last_s: float | None = None
        self._clock_s = 0.0
        self._library = library(
            lost_track_buffer=round(patience_s * _LIBRARY_RATE),
            frame_rate=1 / self._frame_s,
            track_activation_threshold=conf_threshold,
            high_conf_det_threshold=conf_threshold,
        )

    def set_threshold(self, conf_threshold: float) -> None:
        """Another threshold, from the next frame on; ids go on. From the thread that calls :meth:`update`."""
        self.conf_threshold, self._scale = conf_threshold, 1 - conf_threshold
        self._library.track_activation_threshold = conf_threshold
        self._library.high_conf_det_threshold = conf_threshold

    def update(self, found: Detections, time_s: float) -> Detections:
        """Takes one frame's detections and returns those of ``conf_threshold`` or more, with track ids.

        Args:
            found: the detections, down to :data:`RECOVER_THRESHOLD`; may be empty.
            time_s: of the frame on the source's clock, in seconds. A clock that does not move forward
                is taken to have moved by one frame.

        Returns:
            The detections of ``conf_threshold`` or more in their order, with ``track_ids``, None where there
            is no track yet. Weaker ones only carry tracks on: most of them are false (docs/guides/zones.md).
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
            confidence=np.where(self._are_second_hand(found), 0, found.scores),
            class_id=found.class_ids,
            data={"row": np.arange(len(found))},
        )
        answer = self._library.update(given, timestamp=clock_s)
        track_ids = np.full(len(found), None, object)
        rows: dict[int, int] = {}  # of the library's tracks that were seen
        if len(answer):  # in the library's own order
            tracks, their_rows = np.asarray(answer.tracker_id), np.asarray(answer.data["row"])
            is_track = tracks >= 0
            rows = dict(zip(tracks[is_track].tolist(), their_rows[is_track].tolist(), strict=True))
        self._forget(rows)
        for track, row in rows.items():
            if track not in self._ids:
                self._consider(track, found.boxes[row], float(found.scores[row]))
            track_ids[row] = self._ids.get(track)
        return track_ids

    def _are_second_hand(self, found: Detections) -> NDArray[np.bool_]:
        """Weak boxes that overlap a better one of their class: part of its object, or another box around it.

        The library matches them last, as it does those below the threshold, and begins no track with them.
        An object that is half hidden behind another keeps its id that way.
        """
        scores, class_ids, areas = found.scores, found.class_ids, area(found.boxes)
        shared = intersection(found.boxes, found.boxes)
        is_shared = shared > _SHARED * np.minimum(areas[:, None], areas[None, :])
        is_better = (scores[None, :] > scores[:, None]) & (class_ids[None, :] == class_ids[:, None])
        is_weak = scores < self.conf_threshold + _OWN * self._scale
        return np.asarray((is_shared & is_better).any(axis=1) & is_weak, np.bool_)

    def _consider(self, track: int, box: FloatArray, score: float) -> None:
        """Takes a detection of a track without an id, and gives it one where that is due."""
        centre = np.asarray((box[:2] + box[2:]) / 2, np.float32)
        # The library reports a track from its second detection on; its first had the threshold or more.
        one = self._tentative.setdefault(track, _Tentative(centre, in_row=1))
        one.in_row = one.in_row + 1 if score >= self.conf_threshold else 0
        clear = _CLEAR * self._scale
        one.evidence = max(one.evidence + score - (self.conf_threshold + clear), 0.0)
        has_moved = bool(np.hypot(*(centre - one.start)) >= _MOVED * (box[2:] - box[:2]).min())
        if one.in_row >= _IN_ROW and (has_moved or one.evidence >= clear):
            self._ids[track] = self._first_id + self._id_step * self._issued
            self._issued += 1
            del self._tentative[track]

    def _forget(self, seen: Mapping[int, int]) -> None:
        """Drops what the library dropped, so that memory stays bounded, and what a gap interrupted."""
        alive = {int(track.tracker_id) for track in self._library.tracks}
        self._ids = {track: number for track, number in self._ids.items() if track in alive}
        self._tentative = {track: one for track, one in self._tentative.items() if track in alive}
        for track, one in self._tentative.items():
            if track not in seen:
                one.in_row, one.evidence = 0, 0.0


def _separate_classes(
    boxes: FloatArray, class_ids: IntArray
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Boxes moved sideways by class, so that those of different classes never overlap: ``[N, 4]``."""
    moved = boxes.astype(np.float64)
    moved[:, [0, 2]] += class_ids[:, None] * _CLASS_DISTANCE
    return moved
