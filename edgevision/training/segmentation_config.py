"""A segmenter's training run: a complete, frozen structure, read from one YAML file."""

from __future__ import annotations

import msgspec

from edgevision.contract.manifest import Resize
from edgevision.data.segmentation.augment import SegmentationAugmentConfig
from edgevision.models.segmentation_losses import SegmentationLossConfig
from edgevision.models.unet import UNetConfig
from edgevision.training.config import LoopConfig, OptimiserConfig, check_classes


class SegmentationSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One split of a folder of labelled pictures; :mod:`edgevision.data.segmentation.dataset` states the
    layout.

    Attributes:
        folder: relative to the working folder.
        split: names the list ``<split>.txt`` and the folders ``images/<split>`` and ``labels/<split>``.
        exclude: prefixes of file names that are left out, such as a video sequence kept for validation.
        only: where given, nothing but file names with one of these prefixes.
        weight: how often each of its pictures is drawn, relative to the other sources.
    """

    folder: str
    split: str
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    weight: float = 1.0


class SegmentationDataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the pictures come from.

    Attributes:
        train: sources mixed into one stream.
        val: the source that is measured and never trained on.
        description: one line about the data and its labels, kept in the exported model.
        licence: one line about what the data allows, kept in the exported model.
    """

    train: tuple[SegmentationSource, ...]
    val: SegmentationSource
    description: str
    licence: str

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("train is empty; expected one source or more")


class SegmenterTraining(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="segmentation", tag_field="task"
):
    """A segmenter's training run.

    Attributes:
        name: the model's short name; outputs go to ``runs/<name>``.
        classes: class names in the order of the model's outputs; the data's classes are found by name, and
            pixels of any other class are ignored.
        colours: RGB of each class; empty for colours that edgevision chooses.
        initial: a checkpoint of the same architecture to start from, or empty; its classes may be others.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    model: UNetConfig
    resize: Resize
    loss: SegmentationLossConfig
    augment: SegmentationAugmentConfig
    data: SegmentationDataConfig
    optimiser: OptimiserConfig
    loop: LoopConfig
    initial: str = ""

    def __post_init__(self) -> None:
        check_classes(self.classes)
        if self.colours and len(self.colours) != len(self.classes):
            raise ValueError(
                f"{len(self.colours)} colours for {len(self.classes)} classes; expected one a class or none"
            )
