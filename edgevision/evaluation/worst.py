"""The images with the worst errors of a detector or a segmenter, drawn to show why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import iou
from edgevision.contract.manifest import Manifest
from edgevision.drawing.overlay import Overlay, draw_status
from edgevision.evaluation.detection import DetectionEvaluation
from edgevision.evaluation.detection_matching import GroundTruth, match_coco, pairwise_iou
from edgevision.files import atomic_path, make_folder
from edgevision.model import DEFAULT_CONF_THRESHOLD
from edgevision.types import Detections, Image, SegmentationMap

_FOUND, _FALSE, _MISSED = 0, 1, 2
_COLOURS = ((60, 190, 60), (230, 50, 50), (60, 110, 255))  # RGB: green, red, blue


def draw_errors(
    image: Image,
    predicted: Detections,
    truth: GroundTruth,
    classes: Sequence[str],
    conf_threshold: float = DEFAULT_CONF_THRESHOLD,
) -> Image:
    """A copy of an image with what was found (green), falsely detected (red) and missed (blue).

    The number after a missed object is its overlap with the closest detection of its class: 0.45 is a box
    in nearly the right place, 0.00 was not seen at all.

    Args:
        image: uint8 ``[H, W, 3]``, BGR.
        predicted: what the model says; weaker detections than ``conf_threshold`` are left out.
        truth: what is there.
        classes: names.
    """
    strong = predicted[predicted.scores >= conf_threshold]
    strong = strong[np.argsort(-strong.scores, kind="stable")]
    sorts, missed = _sort_out(strong, truth)
    kept = sorts >= 0
    lost = truth.boxes[missed].astype(np.float32)
    same_class = strong.class_ids[None, :] == truth.class_ids[missed][:, None]
    closest = (iou(lost, strong.boxes) * same_class).max(axis=1, initial=0)
    overlay, names = _error_overlay(tuple(classes))
    shown = Detections(
        np.concatenate([lost, strong.boxes[kept]]),
        np.concatenate([closest, strong.scores[kept]]),
        np.concatenate(
            [
                truth.class_ids[missed] + _MISSED * len(classes),
                strong.class_ids[kept] + sorts[kept] * len(classes),
            ]
        ),
        names,
    )
    canvas: Image = image.copy()
    overlay.draw(canvas, shown)
    counts = [int((sorts == _FOUND).sum()), int((sorts == _FALSE).sum()), len(lost)]
    draw_status(canvas, f"{counts[0]} found, {counts[1]} false, {counts[2]} missed")
    return canvas


def draw_maps(
    image: Image, labels: NDArray[np.uint8], predicted: NDArray[np.uint8], manifest: Manifest
) -> Image:
    """An image twice, as it is labelled and as a segmenter sees it: one above the other, or side by side.

    Args:
        image: uint8 ``[H, W, 3]``, BGR.
        labels: uint8 ``[H, W]``, class ids; what is not labelled stays dark.
        predicted: uint8 ``[H, W]``, class ids.
        manifest: of the segmenter, with its classes and colours.

    Returns:
        uint8 ``[2H, W, 3]``, or ``[H, 2W, 3]`` of an image that is higher than wide.
    """
    overlay, drawn = Overlay(manifest), []
    for title, class_map in (("labelled", labels), ("the model", predicted)):
        canvas: Image = image.copy()
        overlay.draw(canvas, SegmentationMap(class_map, manifest.classes), legend_top=canvas.shape[0] // 10)
        draw_status(canvas, title)
        drawn.append(canvas)
    height, width = image.shape[:2]
    return np.concatenate(drawn, axis=0 if width >= height else 1)


def save_worst(
    folder: Path,
    evaluation: DetectionEvaluation,
    paths: Mapping[int, Path],
    predictions: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    *,
    count: int = 20,
    conf_threshold: float = DEFAULT_CONF_THRESHOLD,
) -> list[Path]:
    """Draws the worst images into ``folder`` as ``01_<name>.jpg``, the worst first.

    Args:
        folder: made where it is missing.
        evaluation: says which they are.
        paths: image file of each image id.
        predictions, truth: as evaluated.

    Returns:
        The files written. An image that cannot be read any more is left out.

    Raises:
        SinkError: the folder or a file cannot be written.
    """
    make_folder(folder, parents=True)
    written: list[Path] = []
    for image_id, _ in evaluation.worst_images(count):
        image = cv2.imread(str(paths[image_id]), cv2.IMREAD_COLOR)
        if image is None:
            continue
        drawn = draw_errors(
            np.asarray(image, np.uint8),
            predictions[image_id],
            truth[image_id],
            evaluation.classes,
            conf_threshold,
        )
        target = folder / f"{len(written) + 1:02d}_{paths[image_id].stem}.jpg"
        with atomic_path(target) as partial:
            partial.write_bytes(cv2.imencode(".jpg", drawn)[1].tobytes())
        written.append(target)
    return written


def _sort_out(predicted: Detections, truth: GroundTruth) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What each detection is (-1 where it is ignored), and the positions of the objects missed."""
    sorts = np.full(len(predicted), _FALSE)
    missed = []
    for class_id in np.union1d(predicted.class_ids, truth.class_ids):
        mine, targets = (np.flatnonzero(ids == class_id) for ids in (predicted.class_ids, truth.class_ids))
        ignore = truth.ignore[targets]
        overlaps = pairwise_iou(predicted.boxes[mine].astype(np.float64), truth.boxes[targets], ignore)
        outcome = match_coco(overlaps, ignore, np.array([0.5]))
        sorts[mine[outcome.hits[0]]] = _FOUND
        sorts[mine[outcome.ignored[0]]] = -1
        missed.extend(targets[~ignore & ~outcome.found[0]])
    return sorts, np.array(missed, np.int64)


def _error_overlay(classes: tuple[str, ...]) -> tuple[Overlay, tuple[str, ...]]:
    """Draws three sorts of each class, whose names it gives too: found, false and missed."""
    names = tuple(f"{sort}{name}" for sort in ("", "false ", "missed ") for name in classes)
    colours = [colour for colour in _COLOURS for _ in classes]
    overlay = Overlay(
        Manifest(
            name="errors", task="detection", classes=names, colours=tuple(colours),
            input_width=1, input_height=1,
        )
    )  # fmt: skip
    return overlay, names
