"""The task of a training run: which data, model and criterion its configuration asks for."""

from __future__ import annotations

from edgevision.training.classification import ClassificationTask
from edgevision.training.config import ClassifierTraining, DetectorTraining, TrainingRun
from edgevision.training.detection import DetectionTask
from edgevision.training.loop import Task, torch_errors
from edgevision.training.segmentation import SegmentationTask


def build_task(run: TrainingRun, strict: bool = False) -> Task:
    """The task of ``run``, with its data and starting weights loaded.

    Args:
        run: the training.
        strict: stop at single bad labels and images, which are left out and named otherwise.

    Raises:
        DataError, CheckpointError, ConfigError: data or starting weights are missing or do not fit.
        TrainingError: torch cannot build the model.
    """
    with torch_errors("building the model"):
        if isinstance(run, DetectorTraining):
            return DetectionTask(run, strict)
        if isinstance(run, ClassifierTraining):
            return ClassificationTask(run, strict)
        return SegmentationTask(run, strict)
