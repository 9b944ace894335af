"""Training a detector: the loop's :class:`~edgevision.training.loop.Task` for RetinaNet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from edgevision.data.augment import DetectionAugment
from edgevision.data.loading import DetectionBatch, DetectionData, StreamSampler, detection_loader
from edgevision.data.sources import load_source
from edgevision.detector import Detector
from edgevision.evaluation.detection import evaluate_detections
from edgevision.evaluation.predict import ground_truth, predict_set
from edgevision.manifest import Manifest, NmsLimits
from edgevision.models.decode import Decoder
from edgevision.models.engine import TorchDetectorEngine
from edgevision.models.losses import DetectionLoss, DetectionTargets
from edgevision.models.normalise import normalise
from edgevision.models.retinanet import RetinaNet
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import DetectorTraining


class DetectionTask:
    """Data, model and criterion of one run.

    Raises:
        DataError, CheckpointError: data or starting weights are missing or do not fit.
    """

    metric = "ap50_mean"

    def __init__(self, config: DetectorTraining) -> None:
        self.config = config
        self._sets = [load_source(source, config.classes) for source in config.data.train]
        self._weights = [
            source.weight
            for source, one in zip(config.data.train, self._sets, strict=True)
            for _ in one.images
        ]
        self._val = load_source(config.data.val, config.classes)
        torch.manual_seed(config.loop.seed)
        self.model: nn.Module = RetinaNet(config.model, len(config.classes))
        if config.initial:
            self.model.load_state_dict(load_checkpoint(config.initial).average)
        self._criterion = DetectionLoss(
            config.loss, config.model.anchors, config.model.input_size, len(config.classes)
        )

    def batches(self, start: int) -> Iterator[DetectionBatch]:
        config = self.config
        augment = DetectionAugment(config.augment, config.resize.fill)
        data = DetectionData(self._sets, config.model.input_size, config.resize, augment, config.loop.seed)
        sampler = StreamSampler(self._weights, config.loop.seed, start)
        loader = detection_loader(data, sampler, config.loop.batch_size, config.loop.workers)
        return cast("Iterator[DetectionBatch]", iter(loader))

    def losses(self, model: nn.Module, batch: DetectionBatch, device: torch.device) -> dict[str, Tensor]:
        images = normalise(batch.images.to(device, non_blocking=True))
        targets = [
            DetectionTargets(*(column.to(device) for column in sample[1:])) for sample in batch.samples
        ]
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            maps = model(images.contiguous(memory_format=torch.channels_last))
        return cast("dict[str, Tensor]", self._criterion.to(device)(maps, targets))

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        decoder = Decoder(self.config.model, len(self.config.classes), self.config.decode)
        engine = TorchDetectorEngine(model, decoder, detector_manifest(self.config), device)
        found = predict_set(Detector(engine, conf_threshold=0.0), self._val)
        figures = evaluate_detections(found, ground_truth(self._val), self.config.classes).figures
        measured = {"ap50_mean": figures.ap50_mean, "ap50": figures.ap50, "ap": figures.ap, "ar": figures.ar}
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
    return Manifest(
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
    )
