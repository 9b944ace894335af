"""Which families of models there are, and what their configurations are; read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from edgevision.errors import ConfigError, nearest
from edgevision.models.classifier.settings import ClassifierConfig
from edgevision.models.fast_rcnn.settings import FastRcnnConfig
from edgevision.models.faster_rcnn.settings import FasterRcnnConfig
from edgevision.models.fcn.settings import FcnConfig
from edgevision.models.largest_object.settings import LargestObjectConfig
from edgevision.models.mask_rcnn.settings import MaskRcnnConfig
from edgevision.models.multi_label.settings import MultiLabelConfig
from edgevision.models.overfeat.settings import OverFeatConfig
from edgevision.models.rcnn.settings import RcnnConfig
from edgevision.models.settings import BackboneConfig, DecodeConfig, RetinaNetConfig, UNetConfig
from edgevision.models.ssd.settings import SsdConfig
from edgevision.models.unpooling.settings import DeconvNetConfig, SegNetConfig
from edgevision.models.yolo_v1.settings import YoloV1Config
from edgevision.models.yolo_v3.settings import YoloV3Config

RegionModel = RcnnConfig | FastRcnnConfig | FasterRcnnConfig | MaskRcnnConfig
"""Detectors that look at regions."""

DetectorModel = (
    RetinaNetConfig
    | SsdConfig
    | YoloV1Config
    | YoloV3Config
    | LargestObjectConfig
    | OverFeatConfig
    | RegionModel
)
"""The key ``model`` of a detector's training; ``family`` in it says which."""

ClassifierModel = ClassifierConfig | MultiLabelConfig
"""The key ``model`` of a classifier's training."""

SegmenterModel = UNetConfig | FcnConfig | SegNetConfig | DeconvNetConfig
"""The same of a segmenter's training."""

Model = TypeVar("Model", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture that can be trained here.

    Attributes:
        name: the value of ``model.family``.
        task: what it answers.
        text: what it is, in one line.
        paper: where it was published.
        configuration: its YAML in ``configs/models``.
    """

    name: str
    task: str
    text: str
    paper: str
    configuration: str


FAMILIES = (
    Family(
        "retinanet", "detection", "one stage, a pyramid of maps, focal loss",
        "Lin et al. 2017, arXiv:1708.02002", "retinanet-light.yaml",
    ),
    Family(
        "ssd", "detection", "one stage, maps that halve, anchors matched by Jaccard overlap",
        "Liu et al. 2016, arXiv:1512.02325", "ssd.yaml",
    ),
    Family(
        "yolo-v1", "detection", "one stage, one prediction for each cell of a grid",
        "Redmon et al. 2016, arXiv:1506.02640", "yolo-v1.yaml",
    ),
    Family(
        "yolo-v3", "detection", "anchors on several maps, its network read from a darknet .cfg",
        "Redmon and Farhadi 2018, arXiv:1804.02767", "yolo-v3.yaml",
    ),
    Family(
        "largest-object", "detection", "one class and one box: the largest object of an image",
        "Sermanet et al. 2014, arXiv:1312.6229, section 4", "largest-object.yaml",
    ),
    Family(
        "overfeat", "detection", "a classifier of windows made convolutional, several scales, boxes merged",
        "Sermanet et al. 2014, arXiv:1312.6229", "overfeat.yaml",
    ),
    Family(
        "r-cnn", "detection", "crops of the regions of selective search, a linear classifier for each class",
        "Girshick et al. 2014, arXiv:1311.2524", "r-cnn.yaml",
    ),
    Family(
        "fast-rcnn", "detection", "regions of selective search, looked at in one map of the image",
        "Girshick 2015, arXiv:1504.08083", "fast-rcnn.yaml",
    ),
    Family(
        "faster-rcnn", "detection", "two stages: regions are proposed by the network, then looked at",
        "Ren et al. 2015, arXiv:1506.01497", "faster-rcnn.yaml",
    ),
    Family(
        "mask-rcnn", "instance-segmentation", "a Faster R-CNN that draws the shape of each object too",
        "He et al. 2017, arXiv:1703.06870", "mask-rcnn.yaml",
    ),
    Family(
        "unet", "segmentation", "encoder and decoder with skip connections",
        "Ronneberger et al. 2015, arXiv:1505.04597", "unet-light.yaml",
    ),
    Family(
        "fcn", "segmentation", "a classifier's maps scored cell by cell, enlarged by transposed convolutions",
        "Long et al. 2015, arXiv:1411.4038", "fcn.yaml",
    ),
    Family(
        "segnet", "segmentation", "encoder and decoder that puts each maximum back to its place",
        "Badrinarayanan et al. 2017, arXiv:1511.00561", "segnet.yaml",
    ),
    Family(
        "deconvnet", "segmentation", "SegNet with transposed convolutions, its own or the encoder's",
        "Noh et al. 2015, arXiv:1505.04366", "deconvnet.yaml",
    ),
    Family(
        "classifier", "classification", "one label for an image or a crop: average pooling and a softmax",
        "Lin et al. 2014, arXiv:1312.4400", "classifier.yaml",
    ),
    Family(
        "multi-label", "classification", "several labels for an image: averages and maxima, sigmoids",
        "Oquab et al. 2015, CVPR", "multi-label.yaml",
    ),
)  # fmt: skip
"""In the order in which they are listed."""

_TRAINED_AS = {"instance-segmentation": "detection"}
"""The ``task`` of a training, where it is not that of its answers."""

_DEFAULTS = {"detection": "retinanet", "segmentation": "unet", "classification": "classifier"}


def with_family(document: dict[str, Any]) -> dict[str, Any]:
    """A training's plain values with ``model.family`` set where it was left out: the first of its task."""
    model, family = document.get("model"), _DEFAULTS.get(str(document.get("task")))
    if not isinstance(model, dict) or family is None or "family" in model:
        return document
    return {**document, "model": {"family": family, **model}}


def check_family(document: dict[str, Any], origin: str) -> None:
    """Refuses a training's plain values whose ``model.family`` is none of its task.

    Args:
        document: the values, of a known ``task``.
        origin: what to call them in the message.

    Raises:
        ConfigError: the family is unknown, or is for another task; the message has those that fit.
    """
    model, task = document.get("model"), str(document.get("task"))
    name = model.get("family") if isinstance(model, dict) else None
    fitting = [one.name for one in FAMILIES if _TRAINED_AS.get(one.task, one.task) == task]
    if name is None or name in fitting:
        return
    family = next((one for one in FAMILIES if one.name == name), None)
    if family is not None:
        found, hint = f"`model.family` {name} is for {family.task}, and `task` is {task}", ""
    else:
        found, hint = f"`model.family` is '{name}'", nearest(str(name), fitting)
    raise ConfigError(
        f"{origin}: {found}; expected one of: {', '.join(fitting)} (docs/models/families.md says what "
        f"they are){hint}"
    )


def predictions(model: DetectorModel, classes: int, decode: DecodeConfig) -> int:
    """Pairs of a box and a class that a detector gives for an image, at most: what suppression chooses from.

    Args:
        model: the architecture.
        classes: number of classes.
        decode: ``level_candidates`` limits those of each level of a RetinaNet.
    """
    if not isinstance(model, RetinaNetConfig):
        return model.places * classes
    cells = (rows * columns for rows, columns in model.anchors.grids(model.input_size, model.input_size))
    return sum(min(decode.level_candidates, count * classes) for count in cells)


def without_weights(model: Model) -> Model:
    """The same architecture that starts at random: a checkpoint brings its own weights."""
    if isinstance(model, YoloV3Config):
        return msgspec.structs.replace(model, weights="random")
    return with_weights(model, "random")


def with_weights(model: Model, weights: str) -> Model:
    """The same architecture whose backbone starts from other weights; one without a backbone as it is."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, BackboneConfig):
        return model
    return msgspec.structs.replace(model, backbone=msgspec.structs.replace(backbone, weights=weights))
