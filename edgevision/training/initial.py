"""The weights that a detector's training starts from: those of another, whatever its classes and anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from edgevision.data.classes import map_classes
from edgevision.errors import CheckpointError
from edgevision.models.anchors import AnchorConfig
from edgevision.models.faster_rcnn.network import FasterRcnn
from edgevision.models.retinanet import RetinaNet
from edgevision.models.settings import RetinaNetConfig
from edgevision.training.checkpoint import find_checkpoint, load_checkpoint, start_from
from edgevision.training.config import DetectorTraining

_CLASS, _BOX = "class_tower.predict", "box_tower.predict"


def start_detector(model: RetinaNet, classes: Sequence[str], path: str) -> str:
    """Loads a checkpoint's averaged weights to train on from: transfer learning.

    Backbone, pyramid and towers are taken as they are; levels that only one of the two has are left out.
    Classes are found by name: those that the checkpoint does not know begin anew. An anchor begins as the
    checkpoint's anchor of the nearest shape, with its boxes unchanged.

    Args:
        model: the network to fill.
        classes: names of the model's classes.
        path: a checkpoint of a detector, or its name as in :func:`find_checkpoint`.

    Returns:
        Which classes begin anew, in one line; empty where none does.

    Raises:
        CheckpointError: there is no checkpoint there, or its backbone or channels are others.
    """
    checkpoint = load_checkpoint(find_checkpoint(path))
    config = checkpoint.config
    if not isinstance(config, DetectorTraining) or not isinstance(config.model, RetinaNetConfig):
        raise CheckpointError(f"initial: {path} holds no RetinaNet; expected a checkpoint of one")
    anchors = config.model.anchors
    found = _predictions(checkpoint.average, config.classes, anchors, model, classes)
    own = model.state_dict()
    fitting = {key: value for key, value in found.items() if key in own and value.shape == own[key].shape}
    levels = range(min(len(anchors.strides), len(model.config.anchors.strides)))
    for key in {**found, **own}:
        if key not in fitting and not _beyond(key, len(levels)):
            raise CheckpointError(
                f"initial: {path} belongs to another model ({key} differs); expected the same architecture"
            )
    model.load_state_dict(fitting, strict=False)
    known = map_classes(config.classes, classes).values()
    anew = [name for at, name in enumerate(classes) if at not in known]
    return f"initial: {path} does not know {', '.join(anew)}: learnt from the start" if anew else ""


def start_regions(model: FasterRcnn, classes: Sequence[str], path: str) -> str:
    """Loads a checkpoint to train a Faster R-CNN on from: another one, or what a RetinaNet has seen so far.

    Of a RetinaNet backbone and pyramid are taken, which know objects already; proposals and what looks at
    regions begin anew.

    Args:
        model: the network to fill.
        classes: names of the model's classes.
        path: a checkpoint of a Faster R-CNN or a RetinaNet, or its name as in :func:`find_checkpoint`.

    Returns:
        What begins anew, in one line; empty where nothing does.

    Raises:
        CheckpointError: there is no checkpoint there, or its backbone or pyramid are others.
    """
    found = load_checkpoint(find_checkpoint(path))
    if not isinstance(found.config, DetectorTraining) or not isinstance(found.config.model, RetinaNetConfig):
        return start_from(model, path, classes, model.class_layers, model.added_layers)
    parts, own = ("backbone.", "fpn."), model.state_dict()
    wanted = {key for key in own if key.startswith(parts)}
    given = {key: value for key, value in found.average.items() if key.startswith(parts)}
    fitting = {key: value for key, value in given.items() if key in own and value.shape == own[key].shape}
    for key in sorted(wanted - fitting.keys()):
        raise CheckpointError(
            f"initial: {path} has another pyramid ({key} differs); expected a RetinaNet whose backbone, "
            "pyramid and channels are those of `model`"
        )
    model.load_state_dict(fitting, strict=False)
    return f"initial: all but backbone and pyramid begins anew: {path} is a RetinaNet"


def _beyond(key: str, levels: int) -> bool:
    """Whether a parameter belongs to a level of the pyramid that only one of the two models has."""
    parts = key.split(".")
    if parts[0] == "fpn":
        return (parts[1] == "p7" and levels < 5) or (parts[1] == "coarse" and 3 + int(parts[2]) >= levels)
    by_level = parts[0].endswith("_tower") and parts[1] in ("norms", "convolutions") and parts[3].isdigit()
    return by_level and int(parts[3]) >= levels


def _predictions(
    found: dict[str, Tensor],
    names: Sequence[str],
    old: AnchorConfig,
    model: RetinaNet,
    classes: Sequence[str],
) -> dict[str, Tensor]:
    """The checkpoint's weights with the two prediction layers as ``model`` has them."""
    found, own = dict(found), model.state_dict()
    new = model.config.anchors
    known = map_classes(names, classes)
    for field in ("weight", "bias"):
        labels, boxes = own[f"{_CLASS}.{field}"].clone(), own[f"{_BOX}.{field}"].clone()
        if labels.shape[1:] != found[f"{_CLASS}.{field}"].shape[1:]:
            return found  # towers of another width or form; the caller names them
        for anchor, nearest in enumerate(_nearest_anchors(old, new)):
            for name, to in known.items():
                taken = nearest * len(names) + names.index(name)
                labels[anchor * len(classes) + to] = found[f"{_CLASS}.{field}"][taken]
            rows = found[f"{_BOX}.{field}"][nearest * 4 : nearest * 4 + 4].clone()
            factors = torch.tensor(_size(old, nearest)) / torch.tensor(_size(new, anchor))
            rows[:2] *= factors.view(2, *[1] * (rows.ndim - 1))  # shifts are counted in anchor sizes
            if field == "bias":
                rows[2:] += factors.log()
            boxes[anchor * 4 : anchor * 4 + 4] = rows
        found[f"{_CLASS}.{field}"], found[f"{_BOX}.{field}"] = labels, boxes
    return found


def _nearest_anchors(old: AnchorConfig, new: AnchorConfig) -> list[int]:
    """For each anchor of a cell the old one of the nearest shape, by the logarithms of its sides."""

    def distance(a: int, b: int) -> float:
        return sum(math.log(p / q) ** 2 for p, q in zip(_size(new, a), _size(old, b), strict=True))

    return [min(range(old.per_cell), key=lambda b: distance(a, b)) for a in range(new.per_cell)]


def _size(config: AnchorConfig, anchor: int) -> tuple[float, float]:
    """Width and height of an anchor of a cell, in cells."""
    scale, ratio = list(product(config.scales, config.ratios))[anchor]
    side = config.base_size * scale
    return side / math.sqrt(ratio), side * math.sqrt(ratio)
