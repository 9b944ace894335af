"""What one training run is: a complete, frozen structure, read from one YAML file."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgevision.data.augment import AugmentConfig
from edgevision.manifest import Resize
from edgevision.models.decode import DecodeConfig
from edgevision.models.losses import DetectionLossConfig
from edgevision.models.retinanet import RetinaNetConfig


class CocoSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A COCO json with its pictures.

    Attributes:
        annotations: the json file, relative to the working folder.
        images: the folder of the pictures.
        weight: how often each of its pictures is drawn, relative to the other sources.
    """

    annotations: str
    images: str
    weight: float = 1.0


class DetectionDataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the pictures come from.

    Attributes:
        train: sources mixed into one stream.
        val: the source that is measured and never trained on.
        description: one line about the data and its labels, kept in the exported model.
        licence: one line about what the data allows, kept in the exported model.
    """

    train: tuple[CocoSource, ...]
    val: CocoSource
    description: str
    licence: str


class OptimiserConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) and its learning rate.

    Attributes:
        lr: highest learning rate.
        backbone_lr_factor: the backbone's share of it; 0 freezes the backbone, BatchNorm included.
        weight_decay: of weights with two dimensions or more; biases and norms have none.
        schedule: ``cosine`` falls to ``final_lr_factor``; ``constant`` stays.
        warmup_images: images over which the rate rises linearly from near 0.
        final_lr_factor: where the cosine ends, as a share of ``lr``.
        clip_norm: largest norm of all gradients together; 0 for no limit.
        ema_decay: of the averaged weights that are validated and exported; 0 for none.
    """

    lr: float
    backbone_lr_factor: float = 1.0
    weight_decay: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_images: int = 1600
    final_lr_factor: float = 0.01
    clip_norm: float = 10.0
    ema_decay: float = 0.998


class LoopConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, how much at once, and how often to look.

    Attributes:
        images: images to train on, in all.
        batch_size: images a step.
        workers: processes that read ahead; 0 reads in the training process.
        seed: of everything random.
        validate_every: images between validations.
        save_every: images between checkpoints.
    """

    images: int
    batch_size: int = 16
    workers: int = 2
    seed: int = 0
    validate_every: int = 8000
    save_every: int = 2000


class DetectorTraining(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="detection", tag_field="task"
):
    """A detector's training run.

    Attributes:
        name: the model's short name; outputs go to ``runs/<name>``.
        classes: class names in the order of the model's outputs.
        initial: a checkpoint of the same architecture to start from, or empty.
    """

    name: str
    classes: tuple[str, ...]
    model: RetinaNetConfig
    resize: Resize
    loss: DetectionLossConfig
    decode: DecodeConfig
    augment: AugmentConfig
    data: DetectionDataConfig
    optimiser: OptimiserConfig
    loop: LoopConfig
    initial: str = ""
