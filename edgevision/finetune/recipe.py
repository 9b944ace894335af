"""The configuration that a data set gets: the shipped model's, with what its images ask for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgevision.config import config_folder
from edgevision.data.settings import SegmentationAugmentConfig
from edgevision.errors import CheckpointError, ConfigError, UsageError
from edgevision.finetune.prepare import Prepared
from edgevision.models.families import FAMILIES, DetectorModel, Family, with_weights
from edgevision.training.checkpoint import find_checkpoint, load_checkpoint
from edgevision.training.config import (
    DataConfig,
    DetectorTraining,
    LoopConfig,
    OptimiserConfig,
    SegmenterTraining,
    TrainingRun,
    load_run,
)
from edgevision.types import FloatArray

BASES = {"detection": "retinanet-light", "segmentation": "unet-light"}
"""The shipped model that a task starts from."""

_BY_CONFIGURATION = {
    "yolo-v3": "has its classes in the text of its network",
    "r-cnn": "looks at regions that no engine finds, so that no model file comes of it",
    "fast-rcnn": "looks at regions that no engine finds, so that no model file comes of it",
    "mask-rcnn": "learns the polygons of a COCO json",
    "classifier": "learns labels, where the data here are boxes or masks",
    "multi-label": "learns labels, where the data here are boxes or masks",
}
"""Families that labelled images alone do not train, and why."""

INPUT_SIZES = (256, 320, 416, 512, 640)
_LEAST_SIDE = 20.0  # pixels at the input that most boxes should have: the smallest anchor is 16
_MOST = 0.85  # of the boxes
_TINY = 8.0
_BATCH = 16
_VALIDATIONS = 8
_TYPICAL_LR = 0.001


def choose_input(sides: FloatArray, shapes: FloatArray, largest: int = INPUT_SIZES[-1]) -> tuple[int, str]:
    """The side of a detector's square input, and one line that says why.

    The smallest at which 85 % of the boxes have sides of 20 pixels (the geometric mean of both), because the
    time of a frame grows with the square of it; no larger than the images, in which no more can be seen.

    Args:
        sides: float32 ``[G]``: of each box, as a share of its image's longer side.
        shapes: float32 ``[N, 2]``: width and height of the images.
        largest: limit in pixels.
    """
    longest = float(np.median(shapes.max(axis=1)))
    limit = max(64, min(largest, int(np.ceil(longest / 32)) * 32))
    candidates = [size for size in INPUT_SIZES if size < limit] + [limit]
    small = float(np.quantile(sides, 1 - _MOST))
    size = next((one for one in candidates if small * one >= _LEAST_SIDE), candidates[-1])
    shown = small * size
    return size, f"input {size}x{size}: {_MOST:.0%} of the boxes are {shown:.0f} pixels wide or more there"


def small_boxes(sides: FloatArray, size: int) -> str:
    """One line where most boxes are below 8 pixels at a detector's input; empty otherwise.

    Args:
        sides: float32 ``[G]``: of each box, as a share of its image's longer side.
        size: of the input, in pixels.
    """
    tiny = float((sides * size < _TINY).mean())
    if tiny <= 0.5:
        return ""
    return (
        f"{tiny:.0%} of the boxes are below {_TINY:.0f} pixels at the input of {size}x{size}, which hardly "
        "any detector finds: take a larger input, cut the images into tiles, or come closer"
    )


def choose_window(shapes: FloatArray, area: int) -> tuple[int, int]:
    """Width and height of a segmenter's input: of the images' shape, of about an area, multiples of 32."""
    width, height = np.median(shapes, axis=0)
    scale = min(1.0, float(np.sqrt(area / (width * height))))
    sides = [max(64, round(float(side) * scale / 32) * 32) for side in (width, height)]
    return sides[0], sides[1]


def find_base(name: str, task: str) -> tuple[TrainingRun, str, str]:
    """The configuration to begin with, the checkpoint to start from or empty, and a note where it is absent.

    Args:
        name: a shipped model, a folder of a run, a checkpoint, a family, or empty for the task's own model.
        task: ``detection`` or ``segmentation``.

    Raises:
        CheckpointError: ``name`` has no checkpoint; says how to get it.
        UsageError: it is of the other task, or a family that such data cannot train.
    """
    wanted = name or BASES[task]
    family = next((one for one in FAMILIES if one.name == wanted), None)
    if family is not None:
        return _of_family(family, task)
    place = Path(wanted)
    if place.is_dir():
        wanted = str(place / "best.pt")
    try:
        path = find_checkpoint(wanted)
        config = load_checkpoint(path).config
    except CheckpointError:
        if name:
            raise
        note = (
            f"no checkpoint of {BASES[task]} here (a clone holds them in weights/): the training starts from "
            "ImageNet's weights, which torchvision downloads once; `base` names another checkpoint"
        )
        return _shipped(BASES[task]), "", note
    found = str(msgspec.to_builtins(config)["task"])
    if found != task:
        raise UsageError(
            f"{name} is a model for {found}, and the data are for {task}; leave it out for {BASES[task]}"
        )
    return config, wanted if Path(wanted).suffix == "" else str(path), ""


def _of_family(family: Family, task: str) -> tuple[TrainingRun, str, str]:
    """A family's own configuration; without a model to start from, its backbone has ImageNet's weights."""
    if family.name in _BY_CONFIGURATION:
        raise UsageError(
            f"family {family.name} {_BY_CONFIGURATION[family.name]}; train it by a configuration such as "
            f"{config_folder() / 'models' / family.configuration}"
        )
    if family.task != task:
        fitting = [one.name for one in FAMILIES if one.task == task and one.name not in _BY_CONFIGURATION]
        raise UsageError(
            f"family {family.name} is for {family.task}, and the data are for {task}; expected one of "
            f"{', '.join(fitting)}"
        )
    config = _shipped(Path(family.configuration).stem)
    begins = "ImageNet's weights, which torchvision downloads once"
    if config.initial:
        begins = config.initial
    elif with_weights(config.model, "imagenet") is config.model:
        begins = "random weights, which takes many images"
    return config, config.initial, f"family {family.name} starts from {begins}"


def _shipped(name: str) -> TrainingRun:
    try:
        return load_run(config_folder() / "models" / f"{name}.yaml")
    except ConfigError as error:
        raise CheckpointError(f"no configuration of {name}: {error}") from error


def make_run(
    prepared: Prepared, base: TrainingRun, initial: str, name: str, images: int, seed: int = 0
) -> tuple[TrainingRun, tuple[str, ...]]:
    """The whole configuration, and one line for each choice.

    Args:
        prepared: the data.
        base: the model to begin with.
        initial: its checkpoint, or empty for ImageNet's weights.
        name: of the new model.
        images: to train on in all.
        seed: of everything random.

    Raises:
        UsageError: the base is of another task than the data.
    """
    weights = "random" if initial else "imagenet"
    loop, optimiser = plan_loop(prepared, base.optimiser, images, seed)
    if not initial:
        optimiser = msgspec.structs.replace(optimiser, lr=base.optimiser.lr)
    data = DataConfig(
        (prepared.train,),
        prepared.val,
        prepared.headline,
        "whatever the images and the starting weights allow",
    )
    common = {"name": name, "classes": prepared.classes, "data": data, "optimiser": optimiser, "loop": loop}
    if isinstance(base, DetectorTraining):
        size, line = choose_input(prepared.sides, prepared.shapes)
        model = _with_input(with_weights(base.model, weights), size)
        if model.input_size != size:
            line += f"; {model.input_size}x{model.input_size} is the least that the family takes"
        run: TrainingRun = msgspec.structs.replace(
            base,
            **common,
            model=model,
            loss=msgspec.structs.replace(base.loss, certainty=None),
            initial=initial,
            distillation=None,
        )
        return run, (line,)
    if not isinstance(base, SegmenterTraining):
        raise UsageError(f"{base.name} is a classifier; expected a detector or a segmenter to begin with")
    width, height = choose_window(prepared.shapes, base.model.input_width * base.model.input_height)
    run = msgspec.structs.replace(
        base,
        **common,
        colours=prepared.colours,
        model=msgspec.structs.replace(
            with_weights(base.model, weights), input_width=width, input_height=height
        ),
        augment=_fit_crop(base.augment, width, height),
        initial=initial,
    )
    return run, (f"input {width}x{height}",)


def _with_input(model: DetectorModel, size: int) -> DetectorModel:
    """The same architecture with an input of ``size``, or of the next side that it takes."""
    sides = (size, *(side for side in INPUT_SIZES if side > size))
    found = next((one for side in sides if (one := _resized(model, side)) is not None), None)
    if found is None:
        raise UsageError(f"no input from {size} to {INPUT_SIZES[-1]} pixels fits the model that was chosen")
    return found


def _resized(model: DetectorModel, side: int) -> DetectorModel | None:
    try:
        return msgspec.structs.replace(model, input_size=side)
    except ValueError:  # too small for its windows or its maps
        return None


def _fit_crop(augment: SegmentationAugmentConfig, width: int, height: int) -> SegmentationAugmentConfig:
    return msgspec.structs.replace(
        augment,
        crop_width=min(augment.crop_width, width) if augment.crop_width else 0,
        crop_height=min(augment.crop_height, height) if augment.crop_height else 0,
    )


def plan_loop(
    prepared: Prepared, optimiser: OptimiserConfig, images: int, seed: int
) -> tuple[LoopConfig, OptimiserConfig]:
    """Batches, validations and rates for so many images, of which a small set repeats many times."""
    batch = max(2, min(_BATCH, prepared.train_images))
    images = max(images, batch)
    every = max(batch, images // _VALIDATIONS)
    steps = images / batch
    loop = LoopConfig(
        images=images,
        batch_size=batch,
        workers=max(0, min(2, (os.cpu_count() or 1) - 1)),
        seed=seed,
        validate_every=every,
        save_every=every,
    )
    return loop, msgspec.structs.replace(
        optimiser,
        lr=min(optimiser.lr, _TYPICAL_LR),
        freeze_backbone_images=0,
        warmup_images=min(optimiser.warmup_images, images // 10),
        # The average spans a tenth of the run, where the usual span would be longer than the run.
        ema_decay=min(optimiser.ema_decay, max(0.8, 1 - 10 / steps)),
    )


def with_images(run: TrainingRun, images: int, validations: int = _VALIDATIONS) -> TrainingRun:
    """The run with another length; warm-up, average and validations follow."""
    batch = run.loop.batch_size
    images = max(batch, round(images / batch) * batch)
    every = max(batch, images // max(validations, 1))
    loop = msgspec.structs.replace(run.loop, images=images, validate_every=every, save_every=every)
    optimiser = msgspec.structs.replace(
        run.optimiser,
        warmup_images=min(run.optimiser.warmup_images, images // 10),
        ema_decay=min(run.optimiser.ema_decay, max(0.8, 1 - 10 * batch / images)),
    )
    return msgspec.structs.replace(run, loop=loop, optimiser=optimiser)


def run_yaml(run: TrainingRun, comments: Sequence[str] = ()) -> str:
    """The configuration as the YAML that a training reads."""
    head = "".join(f"# {line}\n" for line in comments)
    return head + msgspec.yaml.encode(run).decode()
