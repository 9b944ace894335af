"""A trained classifier to one ONNX file of the contract, with preprocessing and probabilities inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.errors import ExportError
from edgevision.export.trace import CORE_INPUT, trace
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.compose import compose, save_model
from edgevision.graph.preprocessing import add_preprocessing
from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from edgevision.models.classifier.network import Classifier
from edgevision.models.multi_label.network import MultiLabel
from edgevision.training.classification import classifier_manifest
from edgevision.training.config import ClassifierTraining

LOGITS = "logits"


def export_classifier(
    model: Classifier | MultiLabel,
    config: ClassifierTraining,
    figures: dict[str, float],
    path: Path,
    class_thresholds: Mapping[str, float] | None = None,
) -> Manifest:
    """Writes a classifier as an ONNX file of the contract.

    Args:
        model: the trained network; it is put into evaluation mode.
        config: its training configuration, for class names and provenance.
        figures: measured figures to keep in the file.
        path: the file to write.
        class_thresholds: of several labels, the probability from which a class holds, kept in the file.

    Returns:
        The manifest as stored.

    Raises:
        ExportError: the graph is invalid, or a threshold is none of the model's.
        SinkError: the file cannot be written.
    """
    manifest = classifier_manifest(config, figures, (LOGITS,), class_thresholds)
    if problem := manifest.problem():
        raise ExportError(f"{config.name} {problem}")
    size = config.model.input_size
    core = trace(model, size, size, [LOGITS])
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, INPUT_NAME, CORE_INPUT, IMAGENET_MEAN, IMAGENET_STD)
    if config.multi_label:
        after("Sigmoid", LOGITS, out="probabilities")
    else:
        after("Softmax", LOGITS, axis=1, out="probabilities")
    return save_model(compose(core, before, after, manifest), path, manifest)
