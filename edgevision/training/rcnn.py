"""Fits the linear parts of an R-CNN: support vector machines and box regression, by scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torchvision.ops import box_iou

from edgevision.data.detection.loading import DetectionSample
from edgevision.errors import CheckpointError, ConfigError, DataError
from edgevision.extras import needs_extra
from edgevision.files import make_folder
from edgevision.models.anchors import encode_boxes
from edgevision.models.backbone import normalise
from edgevision.models.rcnn.network import Rcnn
from edgevision.models.rcnn.settings import FitConfig, RcnnConfig
from edgevision.progress import OnDone
from edgevision.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgevision.training.config import DetectorTraining, TrainingRun
from edgevision.training.detection import DetectionTask
from edgevision.training.distributed import World
from edgevision.training.records import RunRecords
from edgevision.training.resume import differences

Rows = NDArray[np.float64]


class RegionRows(NamedTuple):
    """Regions of all images that the linear parts learn from.

    Attributes:
        features: float64 ``[R, F]``.
        overlaps: float64 ``[R, C]``: the best overlap with an object of each class.
        objects: bool ``[R]``: the region is an object's own box.
        labels: int64 ``[R]``: the class of the object that the region overlaps most; -1 where none.
        offsets: float64 ``[R, 4]``, to that object's box.
        silent: bool ``[R, C]``: nobody said whether the region shows the class.
    """

    features: Rows
    overlaps: Rows
    objects: NDArray[np.bool_]
    labels: NDArray[np.int64]
    offsets: Rows
    silent: NDArray[np.bool_]


def fit_rcnn(task: DetectionTask, folder: Path, on_image: OnDone = lambda done: None) -> dict[str, float]:
    """Fits the model of ``task``, measures it, and writes ``last.pt``, ``best.pt`` and ``log.jsonl``.

    Args:
        task: the data and the model.
        folder: of the run; made where missing.
        on_image: called with the number of images that were looked at.

    Returns:
        The figures on the validation set.

    Raises:
        ConfigError: the family is another one.
        DataError: no image shows an object.
        UsageError: scikit-learn is not installed.
        SinkError: the checkpoints or the log cannot be written.
    """
    config, model = task.config, task.model
    if not isinstance(model, Rcnn) or not isinstance(config.model, RcnnConfig):
        raise ConfigError("only family r-cnn is fitted; the others are trained in steps")
    make_folder(folder, parents=True)
    rows = collect(task, model, config.model.fit, on_image)
    fit_linear(model, rows, config.model.fit)
    figures = task.validate(model.eval(), torch.device("cpu"))
    state = model.state_dict()
    best = figures.get(task.metric)
    done = Checkpoint(config, config.model.fit.images, state, state, {}, figures, best)
    for name in ("last.pt", "best.pt"):
        save_checkpoint(folder / name, done)
    with RunRecords(folder, done.seen, config.loop.tensorboard) as records:
        records.write(done.seen, **figures)
    return figures


def check_fitted(config: TrainingRun, folder: Path) -> None:
    """Raises CheckpointError where ``last.pt`` of a folder was fitted otherwise than a run asks for."""
    if found := differences(load_checkpoint(folder / "last.pt").config, config):
        raise CheckpointError(
            f"{folder}/last.pt was fitted with other settings ({'; '.join(found)}); expected the same, or "
            "another folder (`out`)"
        )


@torch.inference_mode()
def collect(task: DetectionTask, model: Rcnn, fit: FitConfig, on_image: OnDone) -> RegionRows:
    """Features of regions of the first images of the training's stream.

    Raises:
        DataError: no image shows an object.
    """
    model.eval()
    config: DetectorTraining = task.config
    classes, done = len(config.classes), 0
    parts: list[RegionRows] = []
    rng = np.random.default_rng(config.loop.seed)
    for batch in task.batches(0, World()):
        images = normalise(batch.images)
        for image, sample in zip(images, batch.samples, strict=True):
            found = model.search(image[None])[0]
            drawn = torch.from_numpy(rng.permutation(len(found))[: fit.regions])
            counted = ~sample.ignore
            boxes = torch.cat([sample.boxes[counted], found[drawn]])
            features = model.features(image[None], F.pad(boxes, (1, 0)))
            own = torch.arange(len(boxes)) < int(counted.sum())
            parts.append(_rows(features, boxes, own, sample))
            done += 1
            on_image(done)
            if done >= fit.images:
                return _joined(parts, classes)
    return _joined(parts, classes)


def _rows(
    features: torch.Tensor, boxes: torch.Tensor, own: torch.Tensor, sample: DetectionSample
) -> RegionRows:
    """What the regions ``boxes`` of one image show."""
    truth, labels, ignore, known = sample.boxes, sample.labels, sample.ignore, sample.known
    overlaps = torch.zeros(len(boxes), len(known))
    silent = (~known).expand(len(boxes), -1).clone()
    target, moves = torch.full((len(boxes),), -1), torch.zeros(len(boxes), 4)
    if len(truth):
        shared = box_iou(boxes, truth)
        for column, (label, is_ignored) in enumerate(zip(labels.tolist(), ignore.tolist(), strict=True)):
            if is_ignored:
                silent[:, label] |= shared[:, column] > 0
            else:
                overlaps[:, label] = torch.maximum(overlaps[:, label], shared[:, column])
        best, index = shared.masked_fill(ignore[None], -1.0).max(dim=1)
        target = torch.where(best > 0, labels[index], -1)
        moves = encode_boxes(truth[index], boxes, torch)
    return RegionRows(
        features.double().numpy(),
        overlaps.double().numpy(),
        own.numpy(),
        target.numpy(),
        moves.double().numpy(),
        silent.numpy(),
    )


def _joined(parts: list[RegionRows], classes: int) -> RegionRows:
    if not any(part.objects.any() for part in parts):
        raise DataError(f"none of {len(parts)} images shows an object of the {classes} classes")
    return RegionRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def fit_linear(model: Rcnn, rows: RegionRows, fit: FitConfig) -> None:
    """Fits the classifier and the box of each class, and puts them into the model.

    A classifier learns its objects' own boxes against regions that overlap none of them by
    ``negative_overlap`` (section 2.3); a class without an object scores nothing. A box learns from regions
    that overlap their object by ``box_overlap`` (appendix C, equation 5: ridge regression).

    Raises:
        UsageError: scikit-learn is not installed.
    """
    with needs_extra("rcnn", "fitting an R-CNN"):
        from sklearn.linear_model import Ridge
        from sklearn.svm import LinearSVC
    with torch.no_grad():
        for label in range(model.classes):
            mine = rows.objects & (rows.labels == label)
            others = (rows.overlaps[:, label] < fit.negative_overlap) & ~rows.silent[:, label]
            if not mine.any() or not others.any():
                model.svm.bias[label] = -20.0
                continue
            machine = LinearSVC(C=fit.cost, random_state=0)
            _mine_hard(machine, rows.features[mine], rows.features[others], fit.first_negatives)
            model.svm.weight[label] = torch.from_numpy(machine.coef_[0])
            model.svm.bias[label] = float(machine.intercept_[0])
            near = (rows.labels == label) & (rows.overlaps[:, label] >= fit.box_overlap)
            line = Ridge(alpha=fit.ridge).fit(rows.features[near], rows.offsets[near])
            model.boxes.weight[4 * label : 4 * label + 4] = torch.from_numpy(line.coef_)
            model.boxes.bias[4 * label : 4 * label + 4] = torch.from_numpy(line.intercept_)


def _mine_hard(machine: object, positives: Rows, negatives: Rows, first: int) -> None:
    """Fits on some negatives, then on those of all that lie within the margin beside them."""
    chosen = np.random.default_rng(0).permutation(len(negatives))[:first]
    for step in range(2):
        features = np.concatenate([positives, negatives[chosen]])
        wanted = np.repeat([1, 0], [len(positives), len(chosen)])
        machine.fit(features, wanted)  # type: ignore[attr-defined]  # scikit-learn carries no types
        if step == 0:
            hard = np.flatnonzero(machine.decision_function(negatives) > -1)  # type: ignore[attr-defined]
            chosen = np.union1d(chosen, hard)
