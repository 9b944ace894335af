"""Fills what is bounded to its bound before memory is measured: filling up over minutes looks like growth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevision.contract.manifest import BOX_TASKS
from edgevision.drawing.overlay import Overlay
from edgevision.model import KEPT_BUFFERS, Model
from edgevision.types import Detections
from edgevision.video.base import SourceInfo

_SIZE = (720, 1280)  # where the source does not say


def fill_caches(info: SourceInfo, models: Sequence[Model], overlays: Sequence[Overlay]) -> None:
    """The buffers of frames under way, and the labels of every class with every score.

    Args:
        info: of the source; labels are as large as its images ask for.
        models: those that will run.
        overlays: one for each.
    """
    image = np.zeros((info.height or _SIZE[0], info.width or _SIZE[1], 3), np.uint8)
    scores = (np.arange(101) / 100).astype(np.float32)
    boxes = np.tile(np.array([10, 10, 20, 20], np.float32), (len(scores), 1))
    for model, overlay in zip(models, overlays, strict=True):
        for batch in [model.prepare([image]) for _ in range(KEPT_BUFFERS)]:
            model.discard(batch)
        if model.manifest.task in BOX_TASKS:
            names = model.manifest.classes
            for class_id in range(len(names)):
                class_ids = np.full(len(scores), class_id, np.int32)
                overlay.draw(image, Detections(boxes, scores, class_ids, names))
