"""Where a trained classifier looks in an image, as an image: what ``edgevision explain`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from edgevision.contract.letterbox import Letterbox
from edgevision.errors import UsageError, nearest
from edgevision.models.backbone import normalise
from edgevision.models.grad_cam import grad_cam
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import ClassifierTraining
from edgevision.training.networks import load_classifier
from edgevision.types import Image

_SHARE = 0.45  # of the colours in what is drawn; the rest is the image


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One class in one image.

    Attributes:
        image: uint8 ``[S, S, 3]``, BGR: the image as the model sees it, under the places that speak for the
            class: red most, blue not at all.
        name: the class.
        score: its probability.
    """

    image: Image
    name: str
    score: float


def explain(checkpoint: Checkpoint, image: Image, classes: Sequence[str] = ()) -> tuple[Explanation, ...]:
    """Grad-CAM of each class wanted.

    Args:
        checkpoint: of a classifier.
        image: uint8 ``[H, W, 3]``, BGR.
        classes: names; empty for the most probable one.

    Raises:
        UsageError: the checkpoint is of another task, or its model lacks a class.
        CheckpointError: its weights do not fit its configuration.
    """
    config = checkpoint.config
    if not isinstance(config, ClassifierTraining):
        raise UsageError(f"{config.name} is no classifier; expected a checkpoint of one, such as best.pt")
    for name in classes:
        if name not in config.classes:
            hint = nearest(name, config.classes) or f"; it has: {', '.join(config.classes)}"
            raise UsageError(f"{config.name} has no class '{name}'{hint}")
    model, size = load_classifier(checkpoint), config.model.input_size
    seen = Letterbox.fit(image.shape[1], image.shape[0], size, size, config.resize).image(image)
    tensor = normalise(torch.from_numpy(seen[None]))
    with torch.inference_mode():
        logits = model(tensor)[0]
    scores = torch.sigmoid(logits) if config.multi_label else torch.softmax(logits, dim=0)
    chosen = [config.classes.index(name) for name in classes] or [int(scores.argmax())]
    found = []
    for class_id in chosen:
        heat = grad_cam(model, tensor, class_id)[0].numpy()
        colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_JET)
        drawn = cv2.addWeighted(colours, _SHARE, seen, 1 - _SHARE, 0)
        found.append(
            Explanation(np.asarray(drawn, np.uint8), config.classes[class_id], float(scores[class_id]))
        )
    return tuple(found)
