"""A training checkpoint to one ONNX file of the contract: frames in, final answers out."""

from __future__ import annotations

from pathlib import Path

from edgevision.contract.manifest import Manifest
from edgevision.export.classifier import export_classifier
from edgevision.export.detector import export_detector
from edgevision.export.segmenter import export_segmenter
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import ClassifierTraining, DetectorTraining
from edgevision.training.networks import load_classifier, load_detector, load_segmenter


def export_checkpoint(checkpoint: Checkpoint, path: Path) -> Manifest:
    """Writes a checkpoint's averaged weights as an ONNX file, whatever its task.

    Raises:
        CheckpointError: the weights do not fit the checkpoint's configuration.
        ExportError: the graph is invalid.
        SinkError: the file cannot be written.
    """
    config = checkpoint.config
    if isinstance(config, DetectorTraining):
        return export_detector(load_detector(checkpoint), config, checkpoint.figures, path)
    if isinstance(config, ClassifierTraining):
        return export_classifier(load_classifier(checkpoint), config, checkpoint.figures, path)
    return export_segmenter(load_segmenter(checkpoint), config, checkpoint.figures, path)
