"""Training a segmenter: the loop's :class:`~edgevision.training.loop.Task` for all its families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from edgevision.contract.manifest import Manifest
from edgevision.data.classes import parse_groups
from edgevision.data.copies import find_shared
from edgevision.data.memory import cache_limit
from edgevision.data.segmentation.augment import SegmentationAugment
from edgevision.data.segmentation.check import SegmentationCheck, check_segmentation, class_frequencies
from edgevision.data.segmentation.dataset import load_source
from edgevision.data.segmentation.loading import SegmentationBatch, SegmentationData, segmentation_loader
from edgevision.data.stream import StreamSampler, fit_workers
from edgevision.errors import ConfigError, DataError
from edgevision.evaluation.predict import count_pixels
from edgevision.evaluation.segmentation import segmentation_figures
from edgevision.model import Model
from edgevision.models.backbone import normalise
from edgevision.models.segmentation_distillation import SegmentationDistillation, StageMaps, of_size
from edgevision.models.segmentation_losses import SegmentationLoss
from edgevision.models.segmenters import build_segmenter
from edgevision.models.torch_engine import TorchSegmenterEngine
from edgevision.models.unet import UNet
from edgevision.training.checkpoint import start_from
from edgevision.training.config import SegmenterTraining
from edgevision.training.distributed import World
from edgevision.training.quantise import rounding, with_ranges
from edgevision.training.segmenter_teacher import SegmenterTeacher
from edgevision.types import IGNORE_ID


class SegmentationTask:
    """Data, model and criterion of one run.

    Every image is looked at once before training; those that cannot be used are left out and named.

    Args:
        config: the run.
        strict: stop at images that cannot be used.

    Raises:
        DataError, CheckpointError, ConfigError, ModelError: data, starting weights or a teacher are missing
            or do not fit.

    Attributes:
        notes: one line for each image left out and each class without a pixel, and one where images
            are in two splits.
    """

    metric = "miou"

    def __init__(self, config: SegmenterTraining, strict: bool = False) -> None:
        self.config = config
        self._teacher = _open_teacher(config)  # reading all images takes longer
        checks = [check_segmentation(load_source(source, config.classes)) for source in config.data.train]
        val = check_segmentation(load_source(config.data.val, config.classes))
        if not val.pixels.any():
            raise DataError(
                f"{val.usable.name}: no pixel of {', '.join(config.classes)}; expected some, to choose "
                "the best checkpoint"
            )
        unusable = [problem for check in (*checks, val) for problem in check.problems]
        if strict and unusable:
            raise DataError(f"{len(unusable)} images or label maps cannot be used: {unusable[0]}")
        batch = config.loop.batch_size * 4 * config.model.input_width * config.model.input_height
        self._workers, less = fit_workers(config.loop.workers, batch + 2 * 4096)
        self.notes: Sequence[str] = (
            *([less] if less else []),
            *_notes(checks, "training"),
            *_notes([val], "validation"),
            *_shared(checks, val),
        )
        self._sets = [check.usable for check in checks]
        self._weights = [
            source.weight
            for source, one in zip(config.data.train, self._sets, strict=True)
            for _ in one.images
        ]
        self._val = val.usable
        torch.manual_seed(config.loop.seed)
        model = build_segmenter(config.model, len(config.classes))
        if config.initial:
            note = start_from(model, config.initial, config.classes, model.class_layers)
            self.notes = (*self.notes, note) if note else self.notes
        self.model: nn.Module = model
        quantise = with_ranges(model, model.class_layers, config.quantise, self._first_images)
        self.config = msgspec.structs.replace(config, quantise=quantise)
        self._rounding = rounding(model, model.class_layers, quantise)
        self._criterion = SegmentationLoss(config.loss, len(config.classes), class_frequencies(checks))
        self._stages = StageMaps(())
        if config.distillation is not None and self._teacher is not None:
            self._distillation = SegmentationDistillation(config.distillation, self._teacher.group_of)
            if self._teacher.hint_shapes:
                self._stages = StageMaps(model.stages if isinstance(model, UNet) else ())
                self._check_hints(model, self._teacher.hint_shapes)

    def _check_hints(self, model: nn.Module, shapes: Sequence[Sequence[int]]) -> None:
        """Raises ConfigError where the decoder has no map for a hint, or one that would fit anything."""
        model_config = self.config.model
        width, height = self.config.augment.trained_size(model_config.input_width, model_config.input_height)
        is_training = model.training
        with torch.inference_mode(), self._stages as stages:
            model.eval()(torch.zeros(1, 3, height, width))
        model.train(is_training)
        for shape in shapes:
            own = of_size(stages.maps, shape)
            cells = self.config.loop.batch_size * own.shape[-1] * own.shape[-2]
            if cells <= own.shape[1]:
                raise ConfigError(
                    f"distillation.hints: a batch has {cells} cells of the map with {own.shape[-1]}x"
                    f"{own.shape[-2]}, whose {own.shape[1]} channels explain any hint there; expected more "
                    "cells: a larger loop.batch_size, or a hint that is finer"
                )
        stages.maps.clear()

    def batches(self, start: int, world: World) -> Iterator[SegmentationBatch]:
        config, model, loop = self.config, self.config.model, self.config.loop
        size = (model.input_width, model.input_height)
        augment = SegmentationAugment(config.augment, *size, config.resize.fill, IGNORE_ID)
        limit = cache_limit(self._workers.processes, world.size) if loop.cache == "auto" else 0
        data = SegmentationData(self._sets, *size, config.resize, augment, loop.seed, limit)
        sampler = StreamSampler(self._weights, loop.seed, start, world.size, world.rank)
        loader = segmentation_loader(data, sampler, loop.batch_size // world.size, *self._workers)
        return cast("Iterator[SegmentationBatch]", iter(loader))

    def _first_images(self) -> list[Tensor]:
        """What ranges are measured on: the first images of the training, in the network's form."""
        quantise, size = self.config.quantise, self.config.loop.batch_size
        count = 0 if quantise is None else -(-quantise.images // size)
        return [normalise(batch.images) for batch in islice(self.batches(0, World()), count)]

    def losses(self, model: nn.Module, batch: SegmentationBatch, device: torch.device) -> dict[str, Tensor]:
        images = normalise(batch.images.to(device, non_blocking=True))
        labels = batch.labels.to(device, non_blocking=True).long()
        with self._rounding, self._stages as stages:
            logits = model(images.contiguous(memory_format=torch.channels_last))
        losses = cast("dict[str, Tensor]", self._criterion.to(device)(logits, labels))
        if self._teacher is not None:
            losses |= self._distillation(logits, stages.maps, self._teacher(batch.images))
        return losses

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        engine = TorchSegmenterEngine(model, segmenter_manifest(self.config), device)
        counted = count_pixels(Model(engine), self._val)
        figures = segmentation_figures(counted.matrices.sum(axis=0), counted.classes)
        measured = {"miou": figures.miou, "dice": figures.dice, "pixel_accuracy": figures.pixel_accuracy}
        return {name: round(value, 4) for name, value in measured.items()}


def _open_teacher(config: SegmenterTraining) -> SegmenterTeacher | None:
    if config.distillation is None:
        return None
    teacher, hints = config.distillation.teacher, config.distillation.hints
    size = config.augment.trained_size(config.model.input_width, config.model.input_height)
    return SegmenterTeacher(teacher, config.classes, *size, hints, parse_groups(config.distillation.groups))


def segmenter_manifest(
    config: SegmenterTraining, figures: dict[str, float] | None = None, heads: tuple[str, ...] = ()
) -> Manifest:
    """The contract of a segmenter trained with ``config``.

    Args:
        config: the training run.
        figures: what was measured.
        heads: names of the tensors that the class map is made from, in an exported graph.
    """
    return Manifest(
        name=config.name,
        task="segmentation",
        classes=config.classes,
        input_width=config.model.input_width,
        input_height=config.model.input_height,
        resize=config.resize,
        heads=heads,
        colours=config.colours,
        training_data=config.data.description,
        licence=config.data.licence,
        figures=figures or {},
    )


def _notes(checks: list[SegmentationCheck], purpose: str) -> list[str]:
    notes = []
    for check in checks:
        if check.problems:
            notes.append(f"{check.usable.name}: {len(check.problems)} images are left out of {purpose}")
            notes += check.problems
        if check.absent:
            notes.append(f"{check.usable.name}: no {purpose} pixel of {', '.join(check.absent)}")
    return notes


def _shared(checks: list[SegmentationCheck], val: SegmentationCheck) -> list[str]:
    trained = [image.image for check in checks for image in check.usable.images]
    shared = find_shared([image.image for image in val.usable.images], trained)
    if not shared:
        return []
    copy, first = shared[0]
    return [f"{val.usable.name}: {len(shared)} images are trained on too, the first: {copy} is {first}"]
