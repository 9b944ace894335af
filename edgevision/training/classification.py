"""Training a classifier: the loop's :class:`~edgevision.training.loop.Task` for one label or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from edgevision.contract.manifest import Manifest
from edgevision.data.classification.augment import ClassificationAugment
from edgevision.data.classification.loading import (
    ClassificationBatch,
    ClassificationData,
    classification_loader,
)
from edgevision.data.classification.sources import load_source, source_name
from edgevision.data.detection.check import require_sound
from edgevision.data.memory import cache_limit
from edgevision.data.stream import StreamSampler, fit_workers
from edgevision.errors import DataError
from edgevision.evaluation.label_yardstick import ClassificationYardstick
from edgevision.models.backbone import normalise
from edgevision.models.classifiers import build_classifier, build_label_criterion
from edgevision.models.torch_engine import TorchClassifierEngine
from edgevision.training.check import check_classifier_data
from edgevision.training.checkpoint import start_from
from edgevision.training.config import ClassifierTraining
from edgevision.training.distributed import World


class ClassificationTask:
    """Data, model and criterion of one run.

    Args:
        config: the run.
        strict: stop at single bad labels, which are left out or cut otherwise.

    Raises:
        DataError, CheckpointError, ConfigError: data or starting weights are missing or do not fit.

    Attributes:
        metric: ``top1``, or ``map`` of several labels.
        notes: what was found that does not stop the training.
    """

    def __init__(self, config: ClassifierTraining, strict: bool = False) -> None:
        self.config = config
        self.metric = "map" if config.multi_label else "top1"
        report = check_classifier_data(config, read_images=False)
        require_sound(report, strict)
        size, batch = config.model.input_size, config.loop.batch_size
        # Beside the pixels, two small tensors an image, each of them a page at least.
        self._workers, less = fit_workers(config.loop.workers, batch * (3 * size * size + 3 * 4096))
        self.notes: Sequence[str] = (*report.notes, less) if less else report.notes
        several = config.multi_label
        self._sets = [load_source(one, config.classes, multi_label=several) for one in config.data.train]
        self._val = load_source(config.data.val, config.classes, multi_label=several)
        if not self._val.labels.any():
            raise DataError(
                f"{source_name(config.data.val)}: nothing there is labelled as {', '.join(config.classes)}; "
                "expected some, to choose the best checkpoint"
            )
        self._weights = [
            source.weight
            for source, one in zip(config.data.train, self._sets, strict=True)
            for _ in one.paths
        ]
        torch.manual_seed(config.loop.seed)
        model = build_classifier(config.model, len(config.classes))
        if config.initial:
            note = start_from(model, config.initial, config.classes, model.class_layers)
            self.notes = (*self.notes, note) if note else self.notes
        self.model: nn.Module = model
        self._criterion = build_label_criterion(config.model)

    def batches(self, start: int, world: World) -> Iterator[ClassificationBatch]:
        config, loop = self.config, self.config.loop
        limit = cache_limit(self._workers.processes, world.size) if loop.cache == "auto" else 0
        augment = ClassificationAugment(config.augment)
        data = ClassificationData(
            self._sets, config.model.input_size, config.resize, augment, loop.seed, limit
        )
        sampler = StreamSampler(self._weights, loop.seed, start, world.size, world.rank)
        loader = classification_loader(data, sampler, loop.batch_size // world.size, *self._workers)
        return cast("Iterator[ClassificationBatch]", iter(loader))

    def losses(self, model: nn.Module, batch: ClassificationBatch, device: torch.device) -> dict[str, Tensor]:
        images = normalise(batch.images.to(device, non_blocking=True))
        logits = model(images.contiguous(memory_format=torch.channels_last))
        labels, known = batch.labels.to(device), batch.known.to(device)
        return cast("dict[str, Tensor]", self._criterion(logits, labels, known))

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        engine = TorchClassifierEngine(model, classifier_manifest(self.config), device)
        yardstick = ClassificationYardstick(
            self._val, source_name(self.config.data.val), self.config.multi_label
        )
        figures = yardstick.measure(engine).figures
        measured = {"top1": figures.top1, "top5": figures.top5, "map": figures.map}
        return {name: round(value, 4) for name, value in measured.items() if value is not None}


def classifier_manifest(
    config: ClassifierTraining,
    figures: dict[str, float] | None = None,
    heads: tuple[str, ...] = (),
    class_thresholds: Mapping[str, float] | None = None,
) -> Manifest:
    """The contract of a classifier trained with ``config``.

    Args:
        config: the training run.
        figures: what was measured.
        heads: name of the tensor that the probabilities are made from, in an exported graph.
        class_thresholds: of several labels, the probability from which a class holds.
    """
    return Manifest(
        name=config.name,
        task="classification",
        classes=config.classes,
        input_width=config.model.input_size,
        input_height=config.model.input_size,
        resize=config.resize,
        heads=heads,
        multi_label=config.multi_label,
        class_thresholds=dict(class_thresholds or {}),
        training_data=config.data.description,
        licence=config.data.licence,
        figures=figures or {},
    )
