"""Training a detector: the loop's :class:`~edgevision.training.loop.Task` for RetinaNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from edgevision.contract.manifest import Manifest, MaskForm, NmsLimits
from edgevision.data.detection.augment import DetectionAugment
from edgevision.data.detection.check import require_sound, unmeasured_note
from edgevision.data.detection.dataset import DetectionSet
from edgevision.data.detection.loading import DetectionBatch, DetectionData, detection_loader
from edgevision.data.detection.sources import load_source
from edgevision.data.memory import cache_limit
from edgevision.data.stream import StreamSampler, fit_workers
from edgevision.errors import ConfigError, DataError
from edgevision.evaluation.comparisons import MaskComparison
from edgevision.evaluation.detection import DEFAULT_MIN_BOXES, evaluate_detections
from edgevision.evaluation.predict import ground_truth, predict_all
from edgevision.evaluation.yardstick import measure_largest_object
from edgevision.model import Model
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.backbone import normalise
from edgevision.models.detectors import build_criterion, build_engine, build_network
from edgevision.models.distillation import DistillationLoss, average_answers
from edgevision.models.families import predictions
from edgevision.models.faster_rcnn.network import FasterRcnn
from edgevision.models.mask_rcnn.settings import MaskRcnnConfig
from edgevision.models.rcnn.settings import RcnnConfig
from edgevision.models.retinanet import HEADS, RetinaNet
from edgevision.models.settings import RetinaNetConfig
from edgevision.training.check import check_detector_data
from edgevision.training.checkpoint import start_from
from edgevision.training.config import DetectorTraining
from edgevision.training.distributed import World
from edgevision.training.initial import start_detector, start_regions
from edgevision.training.quantise import rounding, with_ranges
from edgevision.training.teacher import STRIDES, DenseTeacher


class DetectionTask:
    """Data, model and criterion of one run.

    The labels are checked first; of the images only the headers are read.

    Args:
        config: the run.
        strict: stop at single bad labels, which are left out or cut otherwise.

    Raises:
        DataError, CheckpointError: data or starting weights are missing or do not fit.

    Attributes:
        metric: ``ap50_mean``, or ``ap50`` where no class has enough validation boxes for it.
        notes: what was found that does not stop the training.
    """

    def __init__(self, config: DetectorTraining, strict: bool = False) -> None:
        self.config = config
        report = check_detector_data(config, read_images=False)
        require_sound(report, strict)
        size, batch = config.model.input_size, config.loop.batch_size
        # Beside the pixels, five small tensors an image, each of them a page at least.
        self._workers, less = fit_workers(config.loop.workers, batch * (3 * size * size + 6 * 4096))
        self.notes: Sequence[str] = (*report.notes, less) if less else report.notes
        self._has_masks = isinstance(config.model, MaskRcnnConfig)
        self.sets = [
            load_source(source, config.classes, shapes=self._has_masks) for source in config.data.train
        ]
        self._weights = [
            source.weight
            for source, one in zip(config.data.train, self.sets, strict=True)
            for _ in one.images
        ]
        self._val = load_source(
            config.data.val, config.data.val.labelled or config.classes, shapes=self._has_masks
        )
        if not any(_counted_boxes(self._val)):
            raise DataError(
                f"the validation set has {len(self._val.images)} images and no box of "
                f"{', '.join(config.classes)}; expected some, to choose the best checkpoint"
            )
        unmeasured = _unmeasured(self._val, config.classes)
        if unmeasured:
            self.notes = (*self.notes, unmeasured_note(unmeasured))
        self.metric = "ap50_mean"
        if max(_counted_boxes(self._val)) < DEFAULT_MIN_BOXES:
            self.metric = "ap50"
            self.notes = (
                *self.notes,
                f"no class has {DEFAULT_MIN_BOXES} validation boxes, so ap50 decides which checkpoint is "
                "best; figures on so few boxes are unreliable",
            )
        torch.manual_seed(config.loop.seed)
        model = build_network(config.model, len(config.classes))
        if config.initial:
            if isinstance(model, RetinaNet):
                note = start_detector(model, config.classes, config.initial)
            elif isinstance(model, FasterRcnn):
                note = start_regions(model, config.classes, config.initial)
            else:
                note = start_from(model, config.initial, config.classes, model.class_layers)
            self.notes = (*self.notes, note) if note else self.notes
        self.model: nn.Module = model
        self._criterion: nn.Module | None = None
        if not isinstance(config.model, RcnnConfig):
            self._criterion = build_criterion(config.model, config.loss, len(config.classes))
        if config.quantise is not None and not isinstance(model, RetinaNet):
            raise ConfigError("quantise: only family retinanet trains with int8's rounding; leave it out")
        quantise = with_ranges(model, HEADS, config.quantise, self._first_images)
        self.config = msgspec.structs.replace(config, quantise=quantise)
        self._rounding = rounding(model, HEADS, quantise)
        self.teachers: list[DenseTeacher] = []
        if config.distillation is not None:
            if not isinstance(config.model, RetinaNetConfig):
                raise ConfigError("distillation: only family retinanet learns cell by cell; leave it out")
            anchors, size = config.model.anchors, config.model.input_size
            self._distillation = DistillationLoss(config.distillation, anchors, size, STRIDES)
            given = config.distillation
            for index, path in enumerate(given.teachers):
                hints = given.hints if index == 0 else ()
                self.teachers.append(DenseTeacher(path, given.classes, config.classes, size, hints))

    def batches(self, start: int, world: World) -> Iterator[DetectionBatch]:
        config, loop = self.config, self.config.loop
        augment = DetectionAugment(config.augment, config.resize.fill)
        limit = cache_limit(self._workers.processes, world.size) if loop.cache == "auto" else 0
        last_mosaic = round(config.augment.mosaic_until * loop.images)
        data = DetectionData(
            self.sets, config.model.input_size, config.resize, augment, loop.seed, limit, last_mosaic
        )
        sampler = StreamSampler(self._weights, loop.seed, start, world.size, world.rank)
        loader = detection_loader(data, sampler, loop.batch_size // world.size, *self._workers)
        return cast("Iterator[DetectionBatch]", iter(loader))

    def _first_images(self) -> list[Tensor]:
        """What ranges are measured on: the first images of the training, in the network's form."""
        quantise, size = self.config.quantise, self.config.loop.batch_size
        count = 0 if quantise is None else -(-quantise.images // size)
        return [normalise(batch.images) for batch in islice(self.batches(0, World()), count)]

    def losses(self, model: nn.Module, batch: DetectionBatch, device: torch.device) -> dict[str, Tensor]:
        if self._criterion is None:
            raise ConfigError("family r-cnn is fitted, not trained in steps; 'edgevision train' fits it")
        images = normalise(batch.images.to(device, non_blocking=True))
        targets = []
        for one in batch.samples:
            columns = (one.boxes, one.labels, one.ignore, one.known, one.scores)
            target = DetectionTargets(*(column.to(device) for column in columns))
            targets.append(target if one.masks is None else target._replace(masks=one.masks.to(device)))
        with self._rounding:
            maps = model(images.contiguous(memory_format=torch.channels_last))
        losses = cast("dict[str, Tensor]", self._criterion.to(device)(maps, targets))
        if self.teachers:
            answers = average_answers([teacher(images) for teacher in self.teachers])
            losses |= self._distillation.to(device)(maps, answers)
        return losses

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        config = self.config
        engine = build_engine(model, config.model, config.decode, detector_manifest(config), device)
        found, truth = predict_all(Model(engine, conf_threshold=0.0), self._val), ground_truth(self._val)
        figures = evaluate_detections(found.found, truth, config.classes).figures
        measured = {"ap50_mean": figures.ap50_mean, "ap50": figures.ap50, "ap": figures.ap, "ar": figures.ar}
        if config.decode.max_detections == 1:
            largest = measure_largest_object(self._val, found.found)
            if largest is not None:
                measured |= {"class_accuracy": largest.class_accuracy, "l1_224": largest.l1}
        if self._has_masks:
            shapes = {image.image_id: image.shapes for image in self._val.images}
            masks = MaskComparison(found.masks, truth, shapes)
            drawn = evaluate_detections(found.found, truth, config.classes, comparison=masks).figures
            measured |= {"mask_ap50": drawn.ap50, "mask_ap": drawn.ap}
        return {name: round(value, 4) for name, value in measured.items() if value is not None}


def detector_manifest(
    config: DetectorTraining, figures: dict[str, float] | None = None, heads: tuple[str, ...] = ()
) -> Manifest:
    """The contract of a detector trained with ``config``.

    Args:
        config: the training run.
        figures: what was measured.
        heads: names of the tensors that feed the decoder, in an exported graph.
    """
    decode = config.decode
    manifest = Manifest(
        name=config.name,
        task="detection",
        classes=config.classes,
        input_width=config.model.input_size,
        input_height=config.model.input_size,
        resize=config.resize,
        score_threshold=decode.score_threshold,
        nms=NmsLimits("cluster", decode.iou_threshold, decode.candidates, decode.rounds),
        max_detections=decode.max_detections,
        heads=heads,
        training_data=config.data.description,
        licence=config.data.licence,
        figures=figures or {},
    ).within(predictions(config.model, len(config.classes), decode))
    if not isinstance(config.model, MaskRcnnConfig):
        return manifest
    # Its masks are drawn after suppression, inside the network.
    side = config.model.masks.side
    return msgspec.structs.replace(
        manifest,
        task="instance-segmentation",
        masks=MaskForm(form="box", width=side, height=side, threshold=0.5),
        nms=NmsLimits("none", 1.0, manifest.max_detections or 0, 0),
    )


def _unmeasured(data: DetectionSet, classes: Sequence[str]) -> list[str]:
    """Classes that no object of the validation set is of."""
    counts = dict(zip(data.classes, _counted_boxes(data), strict=True))
    return [name for name in classes if not counts.get(name)]


def _counted_boxes(data: DetectionSet) -> list[int]:
    """Objects of each class, regions to ignore left out."""
    labels = np.concatenate([image.labels[~image.ignore] for image in data.images])
    return [int(count) for count in np.bincount(labels, minlength=len(data.classes))]
