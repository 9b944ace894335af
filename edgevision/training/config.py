"""What one training run is: a complete, frozen structure, read from one YAML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from edgevision.bounds import (
    Byte,
    Count,
    CountOrNone,
    NonNegative,
    Positive,
    Seed,
    Share,
    ShareBelowOne,
    ShareBetween,
)
from edgevision.config import apply_override, build_config, read_document
from edgevision.contract.manifest import Resize
from edgevision.data.classes import parse_groups
from edgevision.data.classification.sources import (
    ClassificationSource,
    FolderSource,
    ImageLabelSource,
)
from edgevision.data.detection.sources import DetectionSource
from edgevision.data.segmentation.dataset import SegmentationSource
from edgevision.data.settings import AugmentConfig, ClassificationAugmentConfig, SegmentationAugmentConfig
from edgevision.errors import ConfigError, UsageError, nearest
from edgevision.models.families import (
    ClassifierModel,
    DetectorModel,
    SegmenterModel,
    check_family,
    with_family,
)
from edgevision.models.multi_label.settings import MultiLabelConfig
from edgevision.models.settings import (
    DecodeConfig,
    DetectionLossConfig,
    DistillationConfig,
    SegmentationDistillationConfig,
    SegmentationLossConfig,
)
from edgevision.models.yolo_v3.settings import with_cfg

Source = TypeVar("Source")


def check_classes(classes: tuple[str, ...]) -> None:
    """Raises ValueError where a model's classes are none, nameless, or the same twice."""
    if not classes or not all(classes):
        raise ValueError("classes is empty or has an empty name; expected one name for each class")
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise ValueError(f"classes has {', '.join(twice)} more than once; expected each name once")


def check_run(run: TrainingRun) -> None:
    """Raises ValueError for what no task can have: its name, its classes, how images are resized."""
    name, resize = run.name, run.resize
    if name in ("", ".", "..") or name != name.strip() or set(name) & set("/\\") or not name.isprintable():
        raise ValueError(f"name is {name!r}; expected one that a folder can have, such as my-model")
    check_classes(run.classes)
    if not 0 <= resize.fill <= 255:
        raise ValueError(f"resize.fill is {resize.fill}; expected a whole number from 0 to 255")
    if not 0 < resize.share <= 1:
        raise ValueError(f"resize.share is {resize.share}; expected a number above 0, up to 1")
    if resize.rule == "crop" and not isinstance(run, ClassifierTraining):
        raise ValueError("resize.rule is crop, which is for classification; expected letterbox or stretch")


class DataConfig(msgspec.Struct, Generic[Source], frozen=True, forbid_unknown_fields=True):
    """Where the images of a training come from; ``Source`` is what names one data set of its task.

    Attributes:
        train: sources mixed into one stream.
        val: the source that is measured and never trained on.
        description: one line about the data and its labels, kept in the exported model.
        licence: one line about what the data allows, kept in the exported model.
    """

    train: tuple[Source, ...]
    val: Source
    description: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("train is empty; expected one source or more")


class OptimiserConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) and its learning rate.

    Attributes:
        lr: highest learning rate.
        lr_factors: the share of ``lr`` that parts of the model learn at, by the start of their parameters'
            names, such as ``{backbone: 0.1, backbone.stages.0: 0.0}``; the longest that fits decides, and
            0 freezes the part for ever, BatchNorm statistics included.
        freeze_backbone_images: images over which the backbone stays frozen before it learns too.
        weight_decay: of weights with two dimensions or more; biases and norms have none.
        schedule: ``cosine`` falls to ``final_lr_factor``; ``constant`` stays; ``one_cycle`` rises from
            1/25 of ``lr`` and falls to ``final_lr_factor``, with less momentum where the rate is high
            (Smith 2018, arXiv:1803.09820).
        warmup_images: images over which the rate of ``cosine`` and ``constant`` rises from near 0.
        rise: the share of a ``one_cycle`` run in which the rate rises.
        final_lr_factor: where the rate ends, as a share of ``lr``.
        clip_norm: largest norm of all gradients together; 0 for no limit.
        ema_decay: of the averaged weights that are validated and exported; 0 for none.
    """

    lr: Positive
    lr_factors: dict[str, Annotated[float, Meta(ge=0, le=100)]] = {}
    freeze_backbone_images: CountOrNone = 0
    weight_decay: NonNegative = 0.05
    schedule: Literal["cosine", "constant", "one_cycle"] = "cosine"
    warmup_images: CountOrNone = 1600
    rise: ShareBetween = 0.3
    final_lr_factor: Share = 0.01
    clip_norm: NonNegative = 10.0
    ema_decay: ShareBelowOne = 0.998


class QuantiseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training with the rounding of int8; see :mod:`edgevision.training.quantise`.

    Attributes:
        percentile: share of a convolution's input magnitudes that its range holds, in per cent.
        images: of the training, that ranges are measured on before the first step and then kept: they go into
            the exported file, and ``edgevision calibrate`` takes them. 0 measures each batch anew.
        ranges: for the name of each convolution, the greatest magnitude of its input that int8 holds; written
            by the training where ``images`` is above 0.
    """

    percentile: Annotated[float, Meta(ge=90, le=100)] = 99.99
    images: CountOrNone = 0
    ranges: dict[str, NonNegative] = {}


class LoopConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to train, in what batches, and how often to validate and save.

    Attributes:
        images: images to train on, in all.
        batch_size: images a step; processes of a distributed run share them.
        workers: processes that read ahead; 0 reads in the training process.
        cache: ``auto`` keeps decoded images in memory while half of what is free suffices; ``none``.
        precision: of the arithmetic: ``fp32``, ``bf16``, or ``fp16`` with scaled gradients
            (Micikevicius et al. 2018, arXiv:1710.03740); ``auto`` takes ``bf16`` or ``fp16`` on a GPU
            and ``fp32`` on a CPU. On a CPU depthwise convolutions stay in float32.
        seed: of everything random.
        validate_every: images between validations.
        save_every: images between checkpoints.
        tensorboard: write TensorBoard events into the run's folder.
        compile: fuse the network's operations with ``torch.compile``: two minutes at the start, a third less
            time a step on a CPU afterwards. Needs a C++ compiler.
    """

    images: Count
    batch_size: Count = 16
    workers: CountOrNone = 2
    cache: Literal["auto", "none"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Seed = 0
    validate_every: Count = 8000
    save_every: Count = 2000
    tensorboard: bool = False
    compile: bool = False


class DetectorTraining(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="detection", tag_field="task"
):
    """A detector's training run.

    Attributes:
        name: the model's short name; outputs go to ``runs/<name>``.
        classes: class names in the order of the model's outputs.
        model: the architecture; ``family`` in it says which, RetinaNet if it is left out.
        loss: RetinaNet's; other families have theirs in ``model``.
        initial: a checkpoint of the same architecture to start from: a path, or a name in the repository's
            folder ``weights``, or empty; its classes and anchors may be others, see
            :mod:`edgevision.training.initial`.
        distillation: a larger detector that teaches cell by cell; None for labels alone.
        quantise: train with the rounding of int8, to calibrate the result afterwards; RetinaNet only; None
            for float.
    """

    name: str
    classes: tuple[str, ...]
    model: DetectorModel
    resize: Resize
    decode: DecodeConfig
    augment: AugmentConfig
    data: DataConfig[DetectionSource]
    optimiser: OptimiserConfig
    loop: LoopConfig
    loss: DetectionLossConfig = DetectionLossConfig()
    initial: str = ""
    distillation: DistillationConfig | None = None
    quantise: QuantiseConfig | None = None

    def __post_init__(self) -> None:
        check_run(self)


class SegmenterTraining(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="segmentation", tag_field="task"
):
    """A segmenter's training run.

    Attributes:
        name: the model's short name; outputs go to ``runs/<name>``.
        classes: class names in the order of the model's outputs; the data's classes are found by name, and
            pixels of any other class are ignored.
        model: the architecture; ``family`` in it says which, UNet if it is left out.
        colours: RGB of each class; empty for colours that edgevision chooses.
        initial: a checkpoint of the same architecture to start from: a path, or a name in the repository's
            folder ``weights``, or empty; its classes may be others.
        distillation: another segmenter that teaches pixel by pixel; None for labels alone.
        quantise: train with the rounding of int8, to calibrate the result afterwards; None for float.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[Byte, Byte, Byte], ...]
    model: SegmenterModel
    resize: Resize
    loss: SegmentationLossConfig
    augment: SegmentationAugmentConfig
    data: DataConfig[SegmentationSource]
    optimiser: OptimiserConfig
    loop: LoopConfig
    initial: str = ""
    distillation: SegmentationDistillationConfig | None = None
    quantise: QuantiseConfig | None = None

    def __post_init__(self) -> None:
        check_run(self)
        if self.colours and len(self.colours) != len(self.classes):
            raise ValueError(
                f"{len(self.colours)} colours for {len(self.classes)} classes; expected one a class or none"
            )
        if self.data.val.unlabelled:
            raise ValueError("data.val is unlabelled; expected labels to measure on")
        if self.distillation is not None:
            groups = self.distillation.groups
            try:
                parse_groups(groups)
            except UsageError as error:
                is_cut = any("=" not in text for text in groups)  # YAML splits a list at its commas
                hint = '; in quotes, as in ["road=road,mark", "rest=*"]' if is_cut else ""
                raise ValueError(f"distillation.groups: {error}{hint}") from error
        if self.distillation is None and any(source.unlabelled for source in self.data.train):
            raise ValueError(
                "data.train has unlabelled images, which teach nothing by themselves; expected a key "
                "'distillation' with a teacher"
            )


class ClassifierTraining(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="classification", tag_field="task"
):
    """A classifier's training run.

    Attributes:
        name: the model's short name; outputs go to ``runs/<name>``.
        classes: class names in the order of the model's outputs.
        model: the architecture; ``family`` in it says which, and whether an image has one label or several.
        resize: how an image, or a part of one, becomes the input.
        initial: a checkpoint of the same architecture to start from: a path, or empty; its classes may be
            others.
    """

    name: str
    classes: tuple[str, ...]
    model: ClassifierModel
    resize: Resize
    augment: ClassificationAugmentConfig
    data: DataConfig[ClassificationSource]
    optimiser: OptimiserConfig
    loop: LoopConfig
    initial: str = ""

    def __post_init__(self) -> None:
        check_run(self)
        if len(self.classes) < 2 and not self.multi_label:
            raise ValueError("classes has one name; expected two or more, for one of them is chosen")
        wrong = FolderSource if self.multi_label else ImageLabelSource
        if any(isinstance(source, wrong) for source in (*self.data.train, self.data.val)):
            raise ValueError(
                "a source of kind folders gives an image one label; expected kind labels for the family "
                "multi-label"
                if self.multi_label
                else "a source of kind labels gives an image several labels; expected kind crops or folders "
                "for the family classifier"
            )

    @property
    def multi_label(self) -> bool:
        """Several classes may hold at once."""
        return isinstance(self.model, MultiLabelConfig)


TrainingRun = DetectorTraining | SegmenterTraining | ClassifierTraining


_KINDS: dict[str, type[DetectorTraining] | type[SegmenterTraining] | type[ClassifierTraining]] = {
    "detection": DetectorTraining,
    "segmentation": SegmenterTraining,
    "classification": ClassifierTraining,
}


def load_run(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> TrainingRun:
    """Reads the configuration of a training run of any task.

    Args:
        path: the YAML file.
        overrides: ``"loop.images=3000"``: a dotted key and a YAML value, applied over the file.

    Raises:
        ConfigError: see :func:`edgevision.config.load_config`; or ``task`` is missing or unknown.
    """
    return _built(read_document(path, overrides), str(path))


def apply_overrides(run: TrainingRun, overrides: Sequence[str]) -> TrainingRun:
    """A run with single keys changed, as :func:`load_run` does it to a file.

    Raises:
        ConfigError: a key is unknown, or a value is wrong.
    """
    if not overrides:
        return run
    document = msgspec.to_builtins(run)
    for override in overrides:
        apply_override(document, override)
    return _built(document, run.name)


def _built(document: dict[str, Any], origin: str) -> TrainingRun:
    task = document.get("task")
    kind = _KINDS.get(str(task))
    if kind is None:
        found = "no key 'task'" if task is None else f"unknown task '{task}'"
        raise ConfigError(
            f"{origin}: {found}; expected {' or '.join(_KINDS)}{nearest(str(task), _KINDS) if task else ''}"
        )
    check_family(document, origin)
    return build_config(with_cfg(with_family(document)), kind, origin)
