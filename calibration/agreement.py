"""Yardsticks that need no labels: how far another model's answers are from the float model's.

The float model's own answers on frames that the ranges were not measured on stand in for labels. What
disagrees with them is not always worse, so such a drop is larger than the one that labels would show.
"""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import iou
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.sampling.frames import CalibrationSet
from edgevision.calibration.simulate import SimulatedEngine
from edgevision.contract.manifest import BOX_TASKS
from edgevision.data.classes import map_classes
from edgevision.engines.base import Engine
from edgevision.errors import CalibrationError, DataError, UsageError
from edgevision.evaluation.detection import evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.labelled import wanted_classes
from edgevision.evaluation.predict import PixelCounts, Predictions
from edgevision.evaluation.segmentation import confusion_matrix, segmentation_figures
from edgevision.evaluation.yardstick import (
    DetectionMeasurement,
    Measurement,
    SegmentationMeasurement,
    Yardstick,
)
from edgevision.model import Model
from edgevision.progress import OnDone
from edgevision.types import IGNORE_ID, Detections, Image, Result, SegmentationMap

HELD_OUT = 128
"""Most frames that are held out from the ranges."""

PREDICTS = (
    "For a detector, labels are drawn from its scores, as if these were the probabilities that its boxes "
    "are right. Measured once, on the fifth retinanet-light, with 160 frames of photographs and two clips, "
    "53 held out, over the twenty classes of VOC: this drop was 0.014, 0.018, 0.021, 0.024, 0.037 and 0.037 "
    "for six ways of choosing ranges where `ap50_mean` on 222 labelled photographs fell by 0.007, 0.005, "
    "0.002, 0.009, 0.024 and 0.030 (each is known to 0.02 or so). So it says some 0.01 too much, and shows "
    "ranges that lose 0.03 and more; smaller losses need labels. For a segmenter it is the mean IoU with the "
    "float model's map, which overstates the loss by far: unet-light, with 48 frames and 16 held out, was "
    "0.064 from it where the mean IoU on labels fell by 0.003."
)
"""How well such a drop predicts that on labels, measured."""

CERTAIN = 0.5
"""The score of an object that an int8 model must not lose, with all others like it."""

CHECKED = 24
"""Frames that are looked at for such objects."""

_CERTAIN_LEAST = 3
_SHARE = 4  # a frame in this many is held out, where there are few
_FEWEST = 8
_DRAWS = 4  # of labels


def hold_out(frames: CalibrationSet, most: int | None = None) -> tuple[CalibrationSet, CalibrationSet]:
    """The frames to measure ranges on, and a quarter of them, at most 128, to compare answers on.

    Args:
        frames: all.
        most: how many were asked for; where there are as many, the sources may hold more.

    Raises:
        DataError: there are too few.
    """
    count = min(HELD_OUT, len(frames) // _SHARE)
    if count < _FEWEST:
        more = "raise `frames`" if most is not None and len(frames) >= most else "name more sources"
        raise DataError(
            f"found {len(frames)} distinct frames; expected {_SHARE * _FEWEST} or more, a quarter of which "
            f"is held out for `max_drop` without labels; {more}, or name labelled data with `data`"
        )
    held = {int(place) for place in np.linspace(0, len(frames) - 1, count).round()}
    rest = [place for place in range(len(frames)) if place not in held]
    return frames.part(rest), frames.part(sorted(held))


def open_agreement(
    model: FloatModel, frames: CalibrationSet, min_boxes: int, classes: str | None = None
) -> Yardstick:
    """The yardstick for a model's task.

    Args:
        model: the float model, whose answers are right by definition.
        frames: to compare on.
        min_boxes: boxes that a class needs to count; fewer where no class has as many.
        classes: of a detector, compare these only, see :func:`edgevision.data.classes.parse_classes`; None
            for all.

    Raises:
        UsageError: there is none for the task, or the model lacks a class.
    """
    wanted = compared_classes(model, classes)
    if model.manifest.task == "segmentation":
        return SegmentationAgreement(model, frames)
    return DetectionAgreement(model, frames, min_boxes, wanted)


def compared_classes(model: FloatModel, classes: str | None) -> tuple[str, ...] | None:
    """The model's names of the classes that its answers are compared on; None for all.

    It needs no frame, so that an impossible request is refused before any is read.

    Args:
        model: the float model.
        classes: as in :func:`open_agreement`.

    Raises:
        UsageError: there is no yardstick for the task, or the model lacks a class.
    """
    task = model.manifest.task
    if task == "segmentation" and classes is not None:
        raise UsageError(
            "`classes` without labels is for models that find objects; a segmenter's maps are compared "
            "whole; name labelled data with `data`"
        )
    if task != "segmentation" and task not in BOX_TASKS:
        raise UsageError(
            f"{model.path} is a {task} model; `max_drop` without labels is for models that find objects or "
            "segment; name labelled data with `data`"
        )
    return _own_names(model, classes)


def check_keeps_objects(
    model: FloatModel, found: Engine, frames: CalibrationSet, most: int = CHECKED, least: int = _CERTAIN_LEAST
) -> None:
    """Refuses an int8 model that loses every object that the float model is certain of.

    It needs no labels and no budget. An object is kept by a box of its class with an IoU of 0.5 or more and
    half its score. Models of whole images pass.

    Args:
        model: the float model.
        found: the int8 model, as an engine.
        frames: those of the calibration.
        most: frames to look at, spread evenly.
        least: objects that there must be; fewer can be lost by chance.

    Raises:
        CalibrationError: none is kept.
    """
    if model.manifest.task not in BOX_TASKS:
        return
    certain = Model(SimulatedEngine(model.graph, model.manifest), CERTAIN)
    other = Model(found, CERTAIN / 2)
    places = {int(place) for place in np.linspace(0, len(frames.frames) - 1, most).round()}
    objects = 0
    for batch in itertools.compress(frames.batches(1), map(places.__contains__, itertools.count())):
        wanted, answer = certain(batch[0]), other(batch[0])
        assert isinstance(wanted, Detections)
        assert isinstance(answer, Detections)
        objects += len(wanted)
        near = iou(wanted.boxes, answer.boxes) >= 0.5
        alike = wanted.class_ids[:, None] == answer.class_ids[None]
        strong = answer.scores[None] >= wanted.scores[:, None] / 2
        if (near & alike & strong).any():
            return
    if objects >= least:
        raise CalibrationError(
            f"the int8 model loses every one of the {objects} objects that the float model finds with a "
            f"score of {CERTAIN:g} or more in {len(places)} of the calibration frames, so nothing is "
            "written; try `method` auto or percentile, more frames of the kind that the model will see, or "
            "`max_drop`, which gives layers back to float"
        )


class _Agreement(Yardstick):
    """What both have in common: frames in memory's place on disk, and the float model's answers."""

    is_labelled = False

    def __init__(
        self, model: FloatModel, frames: CalibrationSet, wanted: Sequence[str] | None = None
    ) -> None:
        self.source = f"the float model's answers on {len(frames)} frames held out"
        self._frames, self._classes, self._wanted = frames, model.manifest.classes, wanted
        self._float = Model(SimulatedEngine(model.graph, model.manifest), 0.0, wanted)
        self._truth: list[Result] | None = None

    @property
    def images(self) -> int:
        return len(self._frames)

    @property
    def files(self) -> list[Path]:
        return []

    def sample(self, count: int) -> list[Image]:
        return []  # of the same sources as the frames of the ranges: there is nothing to compare

    def measure(self, engine: Engine, on_image: OnDone = lambda done: None) -> Measurement:
        if self._truth is None:
            self._truth = [self._float(frame) for frame in self._each()]
        model, found, times_ms = Model(engine, 0.0, self._wanted), [], []
        for done, frame in enumerate(self._each(), start=1):
            started = time.perf_counter()
            found.append(model(frame))
            times_ms.append((time.perf_counter() - started) * 1e3)
            on_image(done)
        return self._compare(found, self._truth, float(np.median(times_ms)))

    def _each(self) -> Iterator[Image]:
        for batch in self._frames.batches(1):
            yield batch[0]

    @abstractmethod
    def _compare(self, found: list[Result], truth: list[Result], ms_per_image: float) -> Measurement:
        """The figure, of answers to the same frames."""


class DetectionAgreement(_Agreement):
    """``ap50_mean`` on labels that are drawn from the float model's scores.

    Each of its boxes is an object with its score for a probability, in each of four draws. Its confident
    boxes alone, all of them taken for objects, do not show what int8 loses: the ranges of ``minmax``, which
    cost the first detector that shipped 0.046 on labels, lost 0.004 of them, and those that cost 0.003 lost
    0.015.
    """

    task, figure, unit = "detection", "ap50_mean_of_float", "box"

    def __init__(
        self, model: FloatModel, frames: CalibrationSet, min_boxes: int, wanted: Sequence[str] | None = None
    ) -> None:
        super().__init__(model, frames, wanted)
        self._min_boxes = min_boxes

    def _compare(self, found: list[Result], truth: list[Result], ms_per_image: float) -> DetectionMeasurement:
        answers = [one for one in found if isinstance(one, Detections)]
        drawn = _draw([one for one in truth if isinstance(one, Detections)])
        predictions = {place: answers[place % len(answers)] for place in drawn}
        counts = Counter(int(label) for one in drawn.values() for label in one.class_ids)
        if not counts:
            raise DataError(
                f"the float model finds next to nothing in {len(answers)} frames held out, so its answers "
                "cannot stand in for labels; name frames that show what it detects, or labelled data with "
                "`data`"
            )
        least = min(self._min_boxes * _DRAWS, max(counts.values()))
        evaluation = evaluate_detections(predictions, drawn, self._classes, least)
        return DetectionMeasurement(Predictions(predictions, (), ms_per_image), evaluation)


class SegmentationAgreement(_Agreement):
    """Mean IoU against the float model's class maps."""

    task, figure, unit = "segmentation", "miou_of_float", "pixel"

    def _compare(
        self, found: list[Result], truth: list[Result], ms_per_image: float
    ) -> SegmentationMeasurement:
        matrices: list[NDArray[np.int64]] = [
            confusion_matrix(wanted.class_map, one.class_map, len(self._classes), IGNORE_ID)
            for one, wanted in zip(found, truth, strict=True)
            if isinstance(one, SegmentationMap) and isinstance(wanted, SegmentationMap)
        ]
        counts = PixelCounts(np.stack(matrices), self._classes, (), ms_per_image)
        return SegmentationMeasurement(
            counts, segmentation_figures(counts.matrices.sum(axis=0), self._classes)
        )


def _own_names(model: FloatModel, classes: str | None) -> tuple[str, ...] | None:
    """Classes that a user names, as the model spells them."""
    if classes is None:
        return None
    own = model.manifest.classes
    wanted = wanted_classes(classes, {str(model.path): own}, own, model.path)
    return tuple(map_classes(own, wanted))


def _draw(truth: list[Detections]) -> dict[int, GroundTruth]:
    """Labels drawn from scores: for each draw all frames, numbered on; the same whenever it is called."""
    generator = np.random.default_rng(0)
    drawn = {}
    for place, one in enumerate(truth * _DRAWS):
        kept = generator.random(len(one)) < one.scores
        boxes = one.boxes[kept].astype(np.float64)
        drawn[place] = GroundTruth(boxes, one.class_ids[kept], np.zeros(len(boxes), bool))
    return drawn
