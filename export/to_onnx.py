"""A training checkpoint to one ONNX file of the contract: frames in, final answers out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgevision.contract.manifest import Manifest
from edgevision.errors import UsageError
from edgevision.export.classifier import export_classifier
from edgevision.export.detector import export_detector
from edgevision.export.segmenter import export_segmenter
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import ClassifierTraining, DetectorTraining
from edgevision.training.networks import load_classifier, load_detector, load_segmenter


def export_checkpoint(
    checkpoint: Checkpoint, path: Path, class_thresholds: Mapping[str, float] | None = None
) -> Manifest:
    """Writes a checkpoint's averaged weights as an ONNX file, whatever its task.

    Args:
        checkpoint: as it was loaded.
        path: the file to write.
        class_thresholds: of a classifier of several labels, the probability from which each class holds.

    Raises:
        CheckpointError: the weights do not fit the checkpoint's configuration.
        ExportError: the graph is invalid, or a threshold is of a class that the model lacks.
        UsageError: thresholds were given for a model of another kind.
        SinkError: the file cannot be written.
    """
    config = checkpoint.config
    if class_thresholds and not (isinstance(config, ClassifierTraining) and config.multi_label):
        raise UsageError(
            f"{config.name} is no classifier of several labels, whose classes have thresholds of their own; "
            "leave `thresholds` out and give `conf` to the run"
        )
    if isinstance(config, DetectorTraining):
        return export_detector(load_detector(checkpoint), config, checkpoint.figures, path)
    if isinstance(config, ClassifierTraining):
        return export_classifier(
            load_classifier(checkpoint), config, checkpoint.figures, path, class_thresholds
        )
    return export_segmenter(load_segmenter(checkpoint), config, checkpoint.figures, path)
