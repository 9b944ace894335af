"""The network of a checkpoint, ready to answer: its weights loaded, in evaluation mode."""

from __future__ import annotations

import msgspec

from edgevision.errors import ExportError
from edgevision.models.retinanet import RetinaNet, RetinaNetConfig
from edgevision.models.unet import UNet
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import DetectorTraining, SegmenterTraining


def load_detector(checkpoint: Checkpoint) -> RetinaNet:
    """The checkpoint's network with its averaged weights, in evaluation mode.

    Raises:
        ExportError: it holds no detector, or its weights do not fit its configuration.
    """
    config = checkpoint.config
    if not isinstance(config, DetectorTraining):
        raise ExportError(f"the checkpoint of {config.name} holds no detector")
    model = RetinaNet(_without_weights(config), len(config.classes))
    try:
        model.load_state_dict(checkpoint.average)
    except RuntimeError as error:
        raise ExportError(f"the checkpoint's weights do not fit its own configuration: {error}") from error
    return model.eval()


def _without_weights(config: DetectorTraining) -> RetinaNetConfig:
    backbone = msgspec.structs.replace(config.model.backbone, weights="random")
    return msgspec.structs.replace(config.model, backbone=backbone)


def load_segmenter(checkpoint: Checkpoint) -> UNet:
    """The checkpoint's network with its averaged weights, in evaluation mode.

    Raises:
        ExportError: it holds no segmenter, or its weights do not fit its configuration.
    """
    config = checkpoint.config
    if not isinstance(config, SegmenterTraining):
        raise ExportError(f"the checkpoint of {config.name} holds no segmenter")
    backbone = msgspec.structs.replace(config.model.backbone, weights="random")
    model = UNet(msgspec.structs.replace(config.model, backbone=backbone), len(config.classes))
    try:
        model.load_state_dict(checkpoint.average)
    except RuntimeError as error:
        raise ExportError(f"the checkpoint's weights do not fit its own configuration: {error}") from error
    return model.eval()
