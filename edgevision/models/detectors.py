"""The detector families: for each kind of configuration its network, criterion and decoder.

A reader of one family needs its own folder only; what trains, measures and exports asks here.
"""

from __future__ import annotations

import torch
from torch import nn

from edgevision.contract.manifest import Manifest
from edgevision.errors import ConfigError
from edgevision.models.decode import DetectionDecoder
from edgevision.models.dense import Decoder, DenseDecoder
from edgevision.models.detection_losses import DetectionLoss
from edgevision.models.families import DetectorModel
from edgevision.models.fast_rcnn.criterion import FastRcnnLoss
from edgevision.models.fast_rcnn.network import FastRcnn
from edgevision.models.fast_rcnn.settings import FastRcnnConfig
from edgevision.models.faster_rcnn.criterion import FasterRcnnLoss
from edgevision.models.faster_rcnn.network import FasterRcnn
from edgevision.models.faster_rcnn.settings import FasterRcnnConfig
from edgevision.models.largest_object.criterion import LargestObjectLoss
from edgevision.models.largest_object.decoding import LargestObjectDecoding
from edgevision.models.largest_object.network import LargestObject
from edgevision.models.largest_object.settings import LargestObjectConfig
from edgevision.models.mask_rcnn.criterion import MaskRcnnLoss
from edgevision.models.mask_rcnn.decoding import MaskRcnnDecoding, TorchMaskEngine
from edgevision.models.mask_rcnn.network import MaskRcnn
from edgevision.models.mask_rcnn.settings import MaskRcnnConfig
from edgevision.models.overfeat.criterion import OverFeatLoss
from edgevision.models.overfeat.decoding import OverFeatDecoding
from edgevision.models.overfeat.network import OverFeat
from edgevision.models.overfeat.settings import OverFeatConfig
from edgevision.models.rcnn.network import Rcnn, RcnnDecoding
from edgevision.models.rcnn.settings import RcnnConfig
from edgevision.models.regions import RegionDecoder, RegionDecoding
from edgevision.models.retinanet import RetinaNet
from edgevision.models.settings import DecodeConfig, DetectionLossConfig, RetinaNetConfig
from edgevision.models.ssd.criterion import SsdLoss
from edgevision.models.ssd.decoding import SsdDecoding
from edgevision.models.ssd.network import Ssd
from edgevision.models.ssd.settings import SsdConfig
from edgevision.models.torch_engine import TorchDetectorEngine, TorchEngine
from edgevision.models.yolo_v1.criterion import YoloV1Loss
from edgevision.models.yolo_v1.decoding import YoloDecoding
from edgevision.models.yolo_v1.network import YoloV1
from edgevision.models.yolo_v3.criterion import YoloV3Loss
from edgevision.models.yolo_v3.decoding import YoloV3Decoding
from edgevision.models.yolo_v3.network import YoloV3
from edgevision.models.yolo_v3.settings import YoloV3Config
from edgevision.models.yolo_v3.weights import load_weights

DetectorNetwork = RetinaNet | Ssd | YoloV1 | YoloV3 | LargestObject | OverFeat | FasterRcnn | FastRcnn | Rcnn
"""The network of any family."""


def build_network(model: DetectorModel, classes: int) -> DetectorNetwork:
    """The network with its starting weights.

    Raises:
        CheckpointError, ConfigError: see :func:`edgevision.models.backbone.build_backbone`; or there is no
            class, or a darknet ``.cfg`` is made for other classes, or its weights do not fit.
    """
    if classes < 1:
        raise ConfigError("a detector needs at least one class")
    if isinstance(model, RetinaNetConfig):
        return RetinaNet(model, classes)
    if isinstance(model, YoloV3Config):
        return _yolo_v3(model, classes)
    if isinstance(model, MaskRcnnConfig):
        return MaskRcnn(model, classes)
    if isinstance(model, FasterRcnnConfig):
        return FasterRcnn(model, classes)
    if isinstance(model, FastRcnnConfig):
        return FastRcnn(model, classes)
    if isinstance(model, RcnnConfig):
        return Rcnn(model, classes)
    if isinstance(model, SsdConfig):
        return Ssd(model, classes)
    if isinstance(model, LargestObjectConfig):
        return LargestObject(model, classes)
    return OverFeat(model, classes) if isinstance(model, OverFeatConfig) else YoloV1(model, classes)


def build_criterion(model: DetectorModel, loss: DetectionLossConfig, classes: int) -> nn.Module:
    """The criterion, called with raw predictions and a list of targets.

    Args:
        model: the architecture, which holds the loss of every family but RetinaNet.
        loss: RetinaNet's.
        classes: number of classes.

    Raises:
        ConfigError: ``loss`` is set for another family, or the family is not trained in steps.
    """
    if isinstance(model, RetinaNetConfig):
        return DetectionLoss(loss, model.anchors, model.input_size, classes)
    if loss != DetectionLossConfig():
        raise ConfigError("loss: is that of family retinanet; other families have theirs in `model`")
    if isinstance(model, YoloV3Config):
        return YoloV3Loss(model)
    if isinstance(model, MaskRcnnConfig):
        return MaskRcnnLoss(model)
    if isinstance(model, FasterRcnnConfig):
        return FasterRcnnLoss(model)
    if isinstance(model, FastRcnnConfig):
        return FastRcnnLoss(model)
    if isinstance(model, RcnnConfig):
        raise ConfigError("family r-cnn is fitted, not trained in steps, so it has no criterion")
    if isinstance(model, SsdConfig):
        return SsdLoss(model, classes)
    if isinstance(model, LargestObjectConfig):
        return LargestObjectLoss(model)
    return OverFeatLoss(model, classes) if isinstance(model, OverFeatConfig) else YoloV1Loss(model, classes)


def build_decoder(model: DetectorModel, classes: int, decode: DecodeConfig) -> Decoder:
    """The decoder in torch: the reference of the exported graph."""
    if isinstance(model, RetinaNetConfig):
        return DetectionDecoder(model, classes, decode)
    if isinstance(model, FasterRcnnConfig | FastRcnnConfig | RcnnConfig):
        return RegionDecoder(build_decoding(model, classes), model.input_size, decode)
    return DenseDecoder(build_decoding(model, classes), model.input_size, decode)


def build_decoding(model: DetectorModel, classes: int) -> nn.Module:
    """From raw predictions to :class:`~edgevision.models.dense.DenseAnswers`; traced into the graph.

    Families that look at regions answer :class:`~edgevision.models.regions.RegionBoxes`.

    Raises:
        ConfigError: the family is RetinaNet, whose decoding is written as a graph.
    """
    if isinstance(model, RetinaNetConfig):
        raise ConfigError("family retinanet has a decoder of its own")
    if isinstance(model, YoloV3Config):
        return YoloV3Decoding(model.plan())
    if isinstance(model, FasterRcnnConfig | FastRcnnConfig):
        return RegionDecoding(model.input_size)
    if isinstance(model, RcnnConfig):
        return RcnnDecoding(model.input_size)
    if isinstance(model, SsdConfig):
        return SsdDecoding(model, classes)
    if isinstance(model, LargestObjectConfig):
        return LargestObjectDecoding(model)
    if isinstance(model, OverFeatConfig):
        return OverFeatDecoding(model, classes)
    return YoloDecoding(model, classes)


def build_engine(
    network: nn.Module,
    model: DetectorModel,
    decode: DecodeConfig,
    manifest: Manifest,
    device: torch.device | None = None,
) -> TorchEngine:
    """A network behind the engine protocol, in evaluation mode, as a checkpoint is measured.

    Args:
        network: of ``model``.
        model: the architecture.
        decode: thresholds.
        manifest: the contract that an export would carry.
        device: where the network is.
    """
    if isinstance(model, MaskRcnnConfig):
        return TorchMaskEngine(network, MaskRcnnDecoding(model.input_size, decode), manifest, device)
    decoder = build_decoder(model, len(manifest.classes), decode)
    return TorchDetectorEngine(network, decoder, manifest, device)


def _yolo_v3(model: YoloV3Config, classes: int) -> YoloV3:
    plan = model.plan()
    if plan.classes != classes:
        filters = ", ".join(str(len(head.anchors) * (5 + classes)) for head in plan.heads)
        raise ConfigError(
            f"model.cfg is made for {plan.classes} classes, the run has {classes}; set classes={classes} in "
            f"each [yolo] and filters={filters} in the [convolutional] before it"
        )
    network = YoloV3(plan)
    if model.weights != "random":
        load_weights(network.darknet, model.weights, partial=True)
    return network
