"""A second model, on what the first found: its answers become attributes of the detections."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence

import numpy as np

from edgevision.boxes import LEAST_CROP_PX, pixel_edges
from edgevision.model import Model
from edgevision.pipeline.meters import EngineMeter
from edgevision.types import (
    Attribute,
    Classification,
    Detections,
    FloatArray,
    FrameResult,
    Image,
    Result,
    no_attributes,
)

_AT_ONCE = 8
"""Crops in one call: an engine keeps buffers for each number, and more hardly make a call faster."""

_REMEMBERED = 4096
"""Tracks whose answers are kept; the least recently seen are forgotten."""


class SharedModel:
    """One model that the streams of a run take turns with.

    Args:
        model: a classifier, or a model that finds objects.
        beside: one on the same engine, whose turns and meter it shares; None for none.

    Attributes:
        model: as given.
        meter: its calls, and the crops in them.
    """

    def __init__(self, model: Model, beside: SharedModel | None = None) -> None:
        self.model = model
        self.meter: EngineMeter = EngineMeter(model) if beside is None else beside.meter
        self._lock: threading.Lock = threading.Lock() if beside is None else beside._lock

    def with_model(self, model: Model) -> SharedModel:
        """Another threshold or other classes on the same engine."""
        return SharedModel(model, self)

    def __call__(self, images: Sequence[Image]) -> list[Result]:
        """Infers images of any size, some at a time. For any thread."""
        found: list[Result] = []
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            with self._lock:
                begun_ns = time.perf_counter_ns()
                found += self.model(part)
                self.meter.add(len(part), time.perf_counter_ns() - begun_ns)
        return found


class CropReader:
    """Runs a second model on the boxes of one stream's detections.

    Args:
        model: shared with the other streams.
        on: classes of the first models whose detections are looked at; None for all.
        every_track: look at each tracked object once, in the first frame in which it has a number, and keep
            the answer; objects without a number are not looked at. Otherwise every detection of every frame.

    Attributes:
        model: as given.
    """

    def __init__(
        self, model: SharedModel, on: Collection[str] | None = None, every_track: bool = False
    ) -> None:
        self.model = model
        self._on = None if on is None else frozenset(on)
        self._every_track = every_track
        self._known: OrderedDict[int, tuple[Attribute, ...]] = OrderedDict()

    def update(self, result: FrameResult) -> FrameResult:
        """The same frame with the attributes of its detections; everything else passes through.

        Call it for every frame in order, from one thread.

        Raises:
            EngineError: the second model failed.
        """
        image = result.frame.image
        given: list[Result] = [
            self._described(image, one) if isinstance(one, Detections) else one for one in result.results
        ]
        return dataclasses.replace(result, results=tuple(given))

    def _described(self, image: Image, found: Detections) -> Detections:
        attributes = no_attributes(len(found))
        wanted = [row for row, name in enumerate(found.row_names) if self._on is None or name in self._on]
        tracks: dict[int, int] = {}
        if self._every_track:
            tracks = _numbered(found, wanted)
            for row, track in tracks.items():
                if track in self._known:
                    attributes[row] = self._known[track]
                    self._known.move_to_end(track)
            wanted = [row for row, track in tracks.items() if track not in self._known]
        height, width = image.shape[:2]
        edges = pixel_edges(found.boxes, width, height)
        wanted = [row for row in wanted if (edges[row, 2:] - edges[row, :2] >= LEAST_CROP_PX).all()]
        crops: list[Image] = [image[y1:y2, x1:x2] for x1, y1, x2, y2 in edges[wanted].tolist()]
        for row, answer in zip(wanted, self.model(crops), strict=True):
            attributes[row] = _attributes(answer, edges[row, :2].astype(np.float32))
            if self._every_track:
                self._known[tracks[row]] = _without_boxes(attributes[row])
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return dataclasses.replace(found, attributes=attributes)


def _numbered(found: Detections, rows: Sequence[int]) -> dict[int, int]:
    """Of these rows those that have a track id, with it."""
    if found.track_ids is None:
        return {}
    return {row: found.track_ids[row] for row in rows if found.track_ids[row] is not None}


def _attributes(answer: Result, origin: FloatArray) -> tuple[Attribute, ...]:
    """What a model said of a crop, whose first pixel lies at ``origin``, x and y."""
    if isinstance(answer, Classification):
        return tuple(Attribute(one.name, one.score, one.model) for one in answer.labels())
    if isinstance(answer, Detections):
        x, y = origin.tolist()
        return tuple(
            Attribute(
                one.name,
                one.score,
                one.model,
                (one.box[0] + x, one.box[1] + y, one.box[2] + x, one.box[3] + y),
            )
            for one in answer
        )
    raise ValueError("a class map says nothing of an object as a whole")


def _without_boxes(attributes: Sequence[Attribute]) -> tuple[Attribute, ...]:
    """As they are kept for later frames, in which the object is elsewhere."""
    return tuple(Attribute(one.name, one.score, one.model) for one in attributes)
