"""The network of a checkpoint, ready to answer: its averaged weights loaded, in evaluation mode."""

from __future__ import annotations

from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.classifier.network import Classifier
from edgevision.models.classifiers import build_classifier
from edgevision.models.detectors import DetectorNetwork, build_engine, build_network
from edgevision.models.families import without_weights
from edgevision.models.multi_label.network import MultiLabel
from edgevision.models.segmentation import Segmenter
from edgevision.models.segmenters import build_segmenter
from edgevision.models.torch_engine import (
    TorchClassifierEngine,
    TorchEngine,
    TorchSegmenterEngine,
)
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.classification import classifier_manifest
from edgevision.training.config import ClassifierTraining, DetectorTraining, SegmenterTraining
from edgevision.training.detection import detector_manifest
from edgevision.training.segmentation import segmenter_manifest


def checkpoint_engine(checkpoint: Checkpoint) -> TorchEngine:
    """The checkpoint behind the runtime's engine protocol, in PyTorch on the CPU.

    Raises:
        CheckpointError: its weights do not fit its configuration.
    """
    config = checkpoint.config
    if isinstance(config, DetectorTraining):
        return build_engine(load_detector(checkpoint), config.model, config.decode, detector_manifest(config))
    if isinstance(config, ClassifierTraining):
        return TorchClassifierEngine(load_classifier(checkpoint), classifier_manifest(config))
    return TorchSegmenterEngine(load_segmenter(checkpoint), segmenter_manifest(config))


def load_detector(checkpoint: Checkpoint) -> DetectorNetwork:
    """The checkpoint's detector.

    Raises:
        CheckpointError: it holds no detector, or its weights do not fit its configuration.
    """
    config = checkpoint.config
    if not isinstance(config, DetectorTraining):
        raise CheckpointError(f"the checkpoint of {config.name} holds no detector")
    model = build_network(without_weights(config.model), len(config.classes))
    _fill(model, checkpoint)
    return model


def load_segmenter(checkpoint: Checkpoint) -> Segmenter:
    """The checkpoint's segmenter.

    Raises:
        CheckpointError: it holds no segmenter, or its weights do not fit its configuration.
    """
    config = checkpoint.config
    if not isinstance(config, SegmenterTraining):
        raise CheckpointError(f"the checkpoint of {config.name} holds no segmenter")
    model = build_segmenter(without_weights(config.model), len(config.classes))
    _fill(model, checkpoint)
    return model


def load_classifier(checkpoint: Checkpoint) -> Classifier | MultiLabel:
    """The checkpoint's classifier.

    Raises:
        CheckpointError: it holds no classifier, or its weights do not fit its configuration.
    """
    config = checkpoint.config
    if not isinstance(config, ClassifierTraining):
        raise CheckpointError(f"the checkpoint of {config.name} holds no classifier")
    model = build_classifier(without_weights(config.model), len(config.classes))
    _fill(model, checkpoint)
    return model


def _fill(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Loads the averaged weights and leaves training mode."""
    try:
        model.load_state_dict(checkpoint.average)
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint's weights do not fit its own configuration: {error}"
        ) from error
    model.eval()
