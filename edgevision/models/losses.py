"""Training criteria: focal loss and box losses on matched anchors."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou, generalized_box_iou_loss

from edgevision.anchors import AnchorConfig, anchor_grid, decode_boxes, encode_boxes
from edgevision.models.retinanet import HeadMaps


class Certainty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a teacher is right, by its score: ``1 / (1 + exp(-slope * (score - middle)))``.

    Platt's calibration (1999). Fit it by holding the teacher against people's labels.

    Attributes:
        middle: the score at which half of its boxes are right.
        slope: how fast that changes.
    """

    middle: float
    slope: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Probabilities, of the shape of ``scores``; people's labels, with a score of 1, are certain."""
        return torch.where(scores >= 1, 1.0, torch.sigmoid(self.slope * (scores - self.middle)))


class DetectionLossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights and thresholds of the detector's loss; the defaults are the paper's.

    Attributes:
        alpha, gamma: of the focal loss.
        box: ``smooth_l1`` on box offsets, or ``giou`` on decoded boxes (Rezatofighi et al. 2019).
        box_weight: factor of the box loss.
        smooth_l1_beta: where the smooth L1 loss turns from quadratic to linear.
        foreground_iou: an anchor with at least this overlap with an object learns that object.
        background_iou: an anchor with less than this overlap with every object is background;
            what lies between is left out.
        certainty: what the scores of a teacher's boxes are worth: the class is then learnt as a
            probability (Li et al. 2020, arXiv:2006.04388), and the box with that weight. None takes
            every box for certain.
    """

    alpha: float = 0.25
    gamma: float = 2.0
    box: Literal["smooth_l1", "giou"] = "giou"
    box_weight: float = 1.0
    smooth_l1_beta: float = 1 / 9
    foreground_iou: float = 0.5
    background_iou: float = 0.4
    certainty: Certainty | None = None


class DetectionTargets(NamedTuple):
    """Ground truth of one image, in input pixels.

    Attributes:
        boxes: float ``[G, 4]``, corners, of positive size.
        labels: int64 ``[G]``.
        ignore: bool ``[G]``: the region counts neither as its class nor as background.
        known: bool ``[C]``: classes that were labelled in this image's data set; others teach nothing.
        scores: float ``[G]``, 0 to 1: of the teacher that found the object; None for people's labels.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    known: Tensor
    scores: Tensor | None = None


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


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Sigmoid focal loss, element by element (Lin et al. 2017, equation 5).

    ``-alpha_t (1 - p_t)^gamma log(p_t)``, with ``alpha_t = alpha`` for targets of 1 and ``1 - alpha`` for 0.
    For targets between them the factor is ``|target - p|^gamma``, which is the same at 0 and 1 (quality
    focal loss, Li et al. 2020, equation 6); it is least where p is the target.

    Args:
        logits, targets: of one shape; targets are probabilities.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    distance = (targets - torch.sigmoid(logits)).abs()
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return alpha_t * distance**gamma * cross_entropy


class AnchorMatcher:
    """Assigns objects to anchors by overlap (RetinaNet, section 4.1)."""

    def __init__(self, foreground_iou: float, background_iou: float) -> None:
        self.foreground_iou = foreground_iou
        self.background_iou = background_iou

    def __call__(self, anchors: Tensor, targets: DetectionTargets) -> Matches:
        """``anchors`` float ``[M, 4]``.

        An object that no anchor covers by ``foreground_iou`` takes the anchors that cover it best, so
        that every object is learnt. Regions to ignore silence their own class where an anchor overlaps
        them by ``background_iou`` or lies in them by more than half; positives stay positive.
        """
        known = targets.known.to(anchors.dtype)
        weight = known.expand(len(anchors), -1).clone()
        objects = targets.boxes[~targets.ignore]
        self._silence(weight, anchors, targets)
        none = torch.zeros(0, dtype=torch.int64, device=anchors.device)
        if len(objects) == 0:
            return Matches(none, none, weight)
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
        weight[positive] = known
        chosen = positive.nonzero().flatten()
        original = (~targets.ignore).nonzero().flatten()
        return Matches(chosen, original[index[chosen]], weight)

    def _silence(self, weight: Tensor, anchors: Tensor, targets: DetectionTargets) -> None:
        regions = targets.boxes[targets.ignore]
        if len(regions) == 0:
            return
        low = torch.maximum(regions[:, None, :2], anchors[None, :, :2])
        high = torch.minimum(regions[:, None, 2:], anchors[None, :, 2:])
        inside = (high - low).clamp(min=0).prod(dim=-1) / (anchors[:, 2:] - anchors[:, :2]).prod(dim=-1)
        touched = (box_iou(regions, anchors) >= self.background_iou) | (inside > 0.5)
        region, anchor = touched.nonzero(as_tuple=True)
        weight[anchor, targets.labels[targets.ignore][region]] = 0


class DetectionLoss(nn.Module):
    """Focal loss over all anchors and a box loss over the positive ones, both divided by the positives.

    Args:
        config: weights and thresholds.
        anchors: the detector's anchors.
        input_size: sides of the square input.
        classes: number of classes.
    """

    def __init__(
        self, config: DetectionLossConfig, anchors: AnchorConfig, input_size: int, classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.matcher = AnchorMatcher(config.foreground_iou, config.background_iou)
        grid = np.concatenate(anchor_grid(anchors, input_size, input_size))
        self.register_buffer("anchors", torch.from_numpy(grid), persistent=False)
        self.anchors: Tensor

    def forward(self, maps: HeadMaps, targets: list[DetectionTargets]) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``, scalars whose sum is minimised.

        Args:
            maps: the network's raw predictions for N images.
            targets: N ground truths.
        """
        logits = flatten_maps(maps.logits, self.classes).float()
        deltas = flatten_maps(maps.deltas, 4).float()
        matches = [self.matcher(self.anchors, target) for target in targets]
        pairs = list(zip(matches, targets, strict=True))
        certain = [self._certainty(target)[match.objects] for match, target in pairs]
        positives = _batch_share(float(sum(one.sum() for one in certain)), logits.device)
        wanted = torch.zeros_like(logits)
        for image, (match, target) in enumerate(pairs):
            wanted[image, match.positive, target.labels[match.objects]] = certain[image]
        weight = torch.stack([match.weight for match in matches])
        focal = focal_loss(logits, wanted, self.config.alpha, self.config.gamma)
        boxes = torch.cat([target.boxes[match.objects] for match, target in pairs])
        anchors = torch.cat([self.anchors[match.positive] for match in matches])
        predicted = torch.cat([deltas[image, match.positive] for image, match in enumerate(matches)])
        return {
            "class": (focal * weight).sum() / positives,
            "box": self.config.box_weight
            * (self._box_loss(predicted, boxes, anchors) * torch.cat(certain)).sum()
            / positives,
        }

    def _certainty(self, target: DetectionTargets) -> Tensor:
        """Float ``[G]``: how certain it is that each object is one."""
        if self.config.certainty is None or target.scores is None:
            return torch.ones(len(target.boxes), device=target.boxes.device)
        return self.config.certainty(target.scores)

    def _box_loss(self, deltas: Tensor, boxes: Tensor, anchors: Tensor) -> Tensor:
        """``[P]``, one for each positive anchor."""
        if self.config.box == "giou":
            loss: Tensor = generalized_box_iou_loss(decode_boxes(deltas, anchors, torch), boxes)
            return loss
        wanted = encode_boxes(boxes, anchors, torch)
        beta = self.config.smooth_l1_beta
        return F.smooth_l1_loss(deltas, wanted, beta=beta, reduction="none").sum(dim=1)


def _batch_share(positives: float, device: torch.device) -> float:
    """What losses are divided by: this process's even share of the positives of the whole batch.

    Processes that train together average their gradients, so the sum over them is divided by all positives.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return max(positives, 1)
    count = torch.tensor(positives, device=device)
    torch.distributed.all_reduce(count)
    return max(float(count), 1.0) / torch.distributed.get_world_size()


def flatten_maps(maps: list[Tensor], width: int) -> Tensor:
    """Head maps ``[N, A * width, H, W]`` of all levels to ``[N, M, width]``, in the order of the anchors."""
    flat = [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width) for x in maps]
    return torch.cat(flat, dim=1)
