"""What a classifier's labels of whole images come to."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgevision.data.classification.dataset import ClassificationSet
from edgevision.data.images import decode_image
from edgevision.engines.base import Engine
from edgevision.errors import DataError, UsageError
from edgevision.evaluation.average_precision import Curve, curve
from edgevision.evaluation.bootstrap import Interval, label_interval, map_interval
from edgevision.evaluation.classification import (
    ClassificationFigures,
    one_label_figures,
    ranks_of,
    several_label_figures,
)
from edgevision.evaluation.mistaken import Threshold
from edgevision.evaluation.plots import plot_confusion_matrix, plot_precision_recall
from edgevision.evaluation.predict import OTHER, Guesses, guess_labels
from edgevision.evaluation.report import ClassificationReport, Provenance, classification_report
from edgevision.evaluation.segmentation import confusion_matrix
from edgevision.evaluation.yardstick import Measurement, Yardstick
from edgevision.model import Model
from edgevision.progress import OnDone
from edgevision.types import Image


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationMeasurement(Measurement):
    """What a classifier said, and the figures of it."""

    guesses: Guesses
    figures: ClassificationFigures
    multi_label: bool

    @property
    def skipped(self) -> tuple[str, ...]:
        return self.guesses.skipped

    @property
    def ms_per_image(self) -> float:
        return self.guesses.ms_per_image

    @property
    def figure(self) -> Literal["top1", "map"]:
        """What is measured of this model."""
        return "map" if self.multi_label else "top1"

    @property
    def value(self) -> float:
        value = self.figures.map if self.multi_label else self.figures.top1
        return 0.0 if value is None else value

    def required(self) -> float:
        return self.value

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(name for name, one in self.figures.per_class.items() if not one.images)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of the set's classes: ``[I, C]``."""
        return self.guesses.probabilities[:, self.guesses.columns]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Images whose label is the best guess: ``[I]``."""
        best = self.guesses.probabilities.argmax(axis=1)
        return np.asarray(best == self.guesses.columns[self.guesses.labels.argmax(axis=1)])

    def interval(self) -> Interval:
        if self.multi_label:
            return map_interval(self.scores, self.guesses.labels)
        return label_interval(self.hits)

    def gain_over(self, first: Measurement) -> Interval:
        assert isinstance(first, ClassificationMeasurement)
        if first.multi_label != self.multi_label or not np.array_equal(
            first.guesses.labels, self.guesses.labels
        ):
            raise UsageError(
                "two classifiers can be compared only on the same images and labels, and if both give one "
                "label or both give several"
            )
        if self.multi_label:
            return map_interval(self.scores, self.guesses.labels, first.scores)
        return label_interval(self.hits, first.hits)

    def report(
        self, origin: Provenance, interval: Interval | None, compared_with: Provenance | None
    ) -> ClassificationReport:
        return classification_report(self.figures, origin, self.figure, interval, compared_with)

    def curves(self) -> dict[str, Curve]:
        if not self.multi_label:
            return {}
        found = {}
        for k, (name, one) in enumerate(self.figures.per_class.items()):
            if one.ap is not None:
                order = np.argsort(-self.scores[:, k], kind="stable")
                hits = self.guesses.labels[order, k]
                found[name] = curve(self.scores[order, k], hits, np.zeros_like(hits), int(hits.sum()))
        return found

    def plot(self, folder: Path, title: str, suffix: str, at: Threshold) -> None:
        guesses = self.guesses
        if self.multi_label:
            per_class = self.figures.per_class
            curves = {f"{name} {per_class[name].ap:.2f}": found for name, found in self.curves().items()}
            plot_precision_recall(folder / f"precision_recall{suffix}.png", curves, title)
            return
        classes = (*self.figures.per_class, OTHER)
        own = np.full(guesses.probabilities.shape[1], len(classes) - 1)
        own[guesses.columns] = np.arange(len(guesses.columns))
        best = own[guesses.probabilities.argmax(axis=1)]
        matrix = confusion_matrix(guesses.labels.argmax(axis=1)[None], best[None], len(classes))
        plot_confusion_matrix(
            folder / f"confusion{suffix}.png", matrix, classes, f"{title}: guesses for each class, per cent"
        )


class ClassificationYardstick(Yardstick):
    """Top-1, or mean average precision of several labels, on labelled images.

    Args:
        data: the set, in the classes that are evaluated.
        source: what the user called it.
        multi_label: an image may have several labels.
        label_file: that they were read from; None where folders are labels.
    """

    task = "classification"

    def __init__(
        self, data: ClassificationSet, source: str, multi_label: bool, label_file: Path | None = None
    ) -> None:
        self.data, self.source, self.multi_label = data, source, multi_label
        self.figure = "map" if multi_label else "top1"
        self.unit = "image" if data.boxes is None else "crop"
        self._label_file = label_file

    @property
    def images(self) -> int:
        return len(self.data.paths)

    @property
    def files(self) -> list[Path]:
        labels = [] if self._label_file is None else [self._label_file]
        return [*labels, *dict.fromkeys(self.data.paths)]

    def measure(self, engine: Engine, on_image: OnDone = lambda done: None) -> ClassificationMeasurement:
        if engine.manifest.multi_label != self.multi_label:
            several = "several labels" if engine.manifest.multi_label else "one label"
            raise DataError(f"{engine.manifest.name} gives an image {several}; the other model does not")
        guesses = guess_labels(Model(engine, 0.0), self.data, on_image)
        classes = self.data.classes
        if self.multi_label:
            scores = guesses.probabilities[:, guesses.columns]
            figures = several_label_figures(scores, guesses.labels, classes)
        else:
            labels = guesses.labels.argmax(axis=1)
            ranks = ranks_of(guesses.probabilities, guesses.columns[labels])
            figures = one_label_figures(ranks, labels, classes)
        return ClassificationMeasurement(guesses, figures, self.multi_label)

    def sample(self, count: int) -> list[Image]:
        rows = np.linspace(0, len(self.data.paths) - 1, min(count, len(self.data.paths))).round().astype(int)
        images = []
        for row in rows.tolist():
            with contextlib.suppress(DataError):  # evaluation names what it cannot read
                images.append(self.data.cut(row, decode_image(self.data.paths[row])))
        return images
