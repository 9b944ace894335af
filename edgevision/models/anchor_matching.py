"""Which anchors learn which objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torchvision.ops import box_iou


class DetectionTargets(NamedTuple):
    """Ground truth of one image, in input pixels.

    Attributes:
        boxes: float ``[G, 4]``, corners, of positive size.
        labels: int64 ``[G]``.
        ignore: bool ``[G]``: the region counts neither as its class nor as background.
        known: bool ``[C]``: classes that were labelled in this image's data set; others teach nothing.
        scores: float ``[G]``, 0 to 1: of the teacher that found the object; None for people's labels.
        masks: uint8 ``[G, S, S]``, 0 or 1, over the input; an object without a mask has zeros. None where no
            masks are learnt.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    known: Tensor
    scores: Tensor | None = None
    masks: Tensor | None = None


class Matches(NamedTuple):
    """What each anchor of one image learns.

    Attributes:
        positive: int64 ``[P]``, anchors that learn an object.
        objects: int64 ``[P]``, which object of ``boxes`` each of them learns.
        weight: float ``[M, C]``, 0 where the class loss is left out, else 1.
    """

    positive: Tensor
    objects: Tensor
    weight: Tensor


class Matcher(Protocol):
    """A rule that assigns objects to anchors."""

    def __call__(self, anchors: Tensor, targets: DetectionTargets) -> Matches:
        """``anchors`` float ``[M, 4]`` and one image's ground truth to what each anchor learns."""
        ...


class OverlapMatcher:
    """Assigns objects to anchors by overlap (RetinaNet, section 4.1).

    An object that no anchor covers by ``foreground_iou`` takes the anchors that cover it best, so that
    every object is learnt. What lies between the two thresholds is left out.

    Args:
        foreground_iou: an anchor with at least this overlap with an object learns that object.
        background_iou: an anchor with less than this overlap with every object is background.
    """

    def __init__(self, foreground_iou: float, background_iou: float) -> None:
        self.foreground_iou = foreground_iou
        self.background_iou = background_iou

    def __call__(self, anchors: Tensor, targets: DetectionTargets) -> Matches:
        """``anchors`` float ``[M, 4]``."""
        weight = class_weights(anchors, targets, self.background_iou)
        objects = targets.boxes[~targets.ignore]
        if len(objects) == 0:
            return _no_object(weight)
        overlap = box_iou(objects, anchors)
        best, index = overlap.max(dim=0)
        unclear = (best >= self.background_iou) & (best < self.foreground_iou)
        positive = best >= self.foreground_iou
        rescued = (overlap == overlap.max(dim=1, keepdim=True).values) & (overlap > 0)
        rescued_object = torch.where(rescued, overlap, -1.0).max(dim=0).indices
        by_rescue = rescued.any(dim=0) & ~positive
        index = torch.where(by_rescue, rescued_object, index)
        positive |= by_rescue
        weight[unclear & ~positive] = 0
        return _assigned(positive, index, weight, targets)


class AdaptiveMatcher:
    """Assigns objects to anchors by a threshold of their own (ATSS, Zhang et al. 2020, arXiv:1912.02424).

    For each object the ``nearest`` cells of each level are candidates; the anchors there that overlap it
    by at least the mean plus the standard deviation of all candidates, and whose centre lies in it, learn
    it. An object without any takes its best candidates. All other anchors are background.

    Args:
        levels: anchors of each pyramid level, in the order of the anchors.
        per_cell: anchors of one cell, which follow each other and share their centre.
        background_iou: overlap with a region to ignore from which an anchor is silent.
        nearest: cells of each level; the paper's 9.
    """

    def __init__(self, levels: Sequence[int], per_cell: int, background_iou: float, nearest: int = 9) -> None:
        self.levels = tuple(levels)
        self.per_cell = per_cell
        self.background_iou = background_iou
        self.nearest = nearest

    def __call__(self, anchors: Tensor, targets: DetectionTargets) -> Matches:
        """``anchors`` float ``[M, 4]``."""
        weight = class_weights(anchors, targets, self.background_iou)
        objects = targets.boxes[~targets.ignore]
        if len(objects) == 0:
            return _no_object(weight)
        candidates = self._candidates(anchors, objects)
        overlap = box_iou(objects, anchors)
        shared = overlap.gather(1, candidates)
        threshold = shared.mean(dim=1, keepdim=True) + shared.std(dim=1, keepdim=True)
        centres = _centres(anchors)[candidates]
        within = ((centres > objects[:, None, :2]) & (centres < objects[:, None, 2:])).all(dim=-1)
        chosen = (shared >= threshold) & within & (shared > 0)
        best = (shared == shared.max(dim=1, keepdim=True).values) & (shared > 0)
        chosen |= best & ~chosen.any(dim=1, keepdim=True)
        wanted = torch.full_like(overlap, -1.0).scatter(1, candidates, torch.where(chosen, shared, -1.0))
        most, index = wanted.max(dim=0)
        return _assigned(most > 0, index, weight, targets)

    def _candidates(self, anchors: Tensor, objects: Tensor) -> Tensor:
        """Int64 ``[G, K]``: all anchors of the nearest cells of each level."""
        middle = (objects[:, :2] + objects[:, 2:]) / 2
        found, start = [], 0
        for count in self.levels:
            cells = _centres(anchors[start : start + count : self.per_cell])
            near = torch.cdist(middle, cells).topk(min(self.nearest, len(cells)), largest=False).indices
            first = start + near * self.per_cell
            found += [first + offset for offset in range(self.per_cell)]
            start += count
        return torch.cat(found, dim=1)


def class_weights(anchors: Tensor, targets: DetectionTargets, background_iou: float) -> Tensor:
    """Float ``[M, C]``: 1 where the class loss of an anchor counts before objects are assigned, else 0.

    Classes that were not labelled are 0. Regions to ignore silence their own class where an anchor
    overlaps them by ``background_iou`` or lies in them by more than half.
    """
    weight = targets.known.to(anchors.dtype).expand(len(anchors), -1).clone()
    regions = targets.boxes[targets.ignore]
    if len(regions) == 0:
        return weight
    low = torch.maximum(regions[:, None, :2], anchors[None, :, :2])
    high = torch.minimum(regions[:, None, 2:], anchors[None, :, 2:])
    inside = (high - low).clamp(min=0).prod(dim=-1) / (anchors[:, 2:] - anchors[:, :2]).prod(dim=-1)
    touched = (box_iou(regions, anchors) >= background_iou) | (inside > 0.5)
    region, anchor = touched.nonzero(as_tuple=True)
    weight[anchor, targets.labels[targets.ignore][region]] = 0
    return weight


def _assigned(positive: Tensor, index: Tensor, weight: Tensor, targets: DetectionTargets) -> Matches:
    """Positive anchors count for all labelled classes; ``index`` numbers the objects that are not ignored."""
    weight[positive] = targets.known.to(weight.dtype)
    chosen = positive.nonzero().flatten()
    original = (~targets.ignore).nonzero().flatten()
    return Matches(chosen, original[index[chosen]], weight)


def _no_object(weight: Tensor) -> Matches:
    none = torch.zeros(0, dtype=torch.int64, device=weight.device)
    return Matches(none, none, weight)


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
