"""What is seen in each region of an image, what regions learn, and the boxes that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from edgevision.models.anchor_matching import DetectionTargets, OverlapMatcher
from edgevision.models.anchors import decode_boxes, encode_boxes
from edgevision.models.collective import even_share
from edgevision.models.dense import DenseDecoder, best_detections
from edgevision.models.settings import RegionConfig
from edgevision.types import Detections

OFFSET_STD = (0.1, 0.1, 0.2, 0.2)
"""Offsets are learnt in these units, so that they have a variance of about 1 (Girshick 2015, section 2.3)."""


class RegionAnswers(NamedTuple):
    """What is seen in R regions.

    Attributes:
        logits: ``[R, 1 + C]``, the background first.
        offsets: ``[R, C, 4]``, from the region to the object's box if it is of class c, in units of
            :data:`OFFSET_STD`.
    """

    logits: Tensor
    offsets: Tensor


class RegionStage(NamedTuple):
    """Regions of N images, and what looks at them.

    Attributes:
        proposals: ``[N, P, 4]``, corners in input pixels.
        classify: from regions ``[R, 5]``, the image's number and corners, to :class:`RegionAnswers`.
    """

    proposals: Tensor
    classify: Callable[[Tensor], RegionAnswers]


class LooksAtRegions(Protocol):
    """:class:`RegionStage`, or what has more beside it."""

    @property
    def proposals(self) -> Tensor: ...
    @property
    def classify(self) -> Callable[[Tensor], RegionAnswers]: ...


def region_answers(predicted: tuple[Tensor, Tensor]) -> RegionAnswers:
    """From torchvision's predictor, ``[R, 1 + C]`` and ``[R, 4 (1 + C)]``: the background has no box."""
    logits, offsets = predicted
    return RegionAnswers(logits, offsets.reshape(logits.shape[0], -1, 4)[:, 1:])


class RegionBoxes(NamedTuple):
    """A box for each pair of region and class, D of them in an image.

    Attributes:
        boxes: float ``[N, D, 4]``, corners in input pixels, inside the input.
        scores: float ``[N, D]``, 0 to 1.
        labels: int64 ``[N, D]``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def region_boxes(answers: RegionAnswers, regions: Tensor, size: int) -> RegionBoxes:
    """Softmax over the classes, and each class's box (Girshick 2015, section 2.1; R-CNN, appendix C).

    Args:
        answers: of the N * P regions.
        regions: float ``[N, P, 4]``, corners in input pixels.
        size: sides of the square input.
    """
    images, count = regions.shape[0], regions.shape[1]
    classes = answers.offsets.shape[1]
    scores = F.softmax(answers.logits.float(), dim=1)[:, 1:].reshape(images, count * classes)
    std = torch.tensor(OFFSET_STD, device=regions.device)
    offsets = answers.offsets.float().reshape(images, count, classes, 4) * std
    boxes = decode_boxes(offsets, regions[:, :, None].float(), torch).clamp(0, size)
    labels = torch.arange(classes, device=regions.device).repeat(count).expand(images, -1)
    return RegionBoxes(boxes.reshape(images, count * classes, 4), scores, labels)


class RegionDecoding(nn.Module):
    """Looks at the proposals; traced into the exported graph of a network that has its own.

    Args:
        input_size: sides of the square input.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.size = input_size

    def forward(self, answers: LooksAtRegions) -> RegionBoxes:
        """``[N, P * C]`` boxes with scores and labels."""
        seen = answers.classify(as_regions(answers.proposals))
        return region_boxes(seen, answers.proposals, self.size)


class RegionDecoder(DenseDecoder):
    """The best boxes after suppression: the reference for what an exported file answers.

    Args:
        decoding: from a network's raw predictions to :class:`RegionBoxes`.
        input_size, config: see :class:`~edgevision.models.dense.DenseDecoder`.
    """

    @torch.inference_mode()
    def __call__(self, raw: object) -> list[Detections]:
        """One :class:`~edgevision.types.Detections` an image, boxes in input pixels, best first."""
        found: RegionBoxes = self.decoding(raw)
        return [best_detections(*rows, self.size, self.config) for rows in zip(*found, strict=True)]


class RegionSamples(NamedTuple):
    """The S regions of one image that learn.

    Attributes:
        boxes: float ``[S, 4]``, corners; the P that show an object first.
        objects: int64 ``[P]``, which object of the targets each of them shows.
        silent: bool ``[S, C]``: classes that the region may show although it is not said so, for its data
            set does not label them, or it lies on a region to ignore.
    """

    boxes: Tensor
    objects: Tensor
    silent: Tensor


class RegionSampler:
    """Chooses the regions that learn (Girshick 2015, section 2.3, "mini-batch sampling").

    The objects themselves are regions too, so that even a poor first stage teaches the second.

    Args:
        overlap: a region that overlaps an object by this shows it; all others show the background.
        samples: regions of an image.
        positive_share: the largest share of them that show an object.
        least_overlap: regions of the background overlap an object by this, if there are such.
    """

    def __init__(
        self, overlap: float, samples: int, positive_share: float, least_overlap: float = 0.0
    ) -> None:
        self.matcher = OverlapMatcher(overlap, overlap)
        self.samples, self.positive_share, self.least_overlap = samples, positive_share, least_overlap

    def __call__(self, proposals: Tensor, target: DetectionTargets) -> RegionSamples:
        """``proposals`` float ``[P, 4]`` and one image's ground truth, drawing torch's random numbers."""
        boxes = torch.cat([proposals, target.boxes[~target.ignore].to(proposals.dtype)])
        found = self.matcher(boxes, target)
        shows = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        shows[found.positive] = True
        chosen = draw(len(found.positive), round(self.samples * self.positive_share), boxes.device)
        others = (~shows).nonzero().flatten()
        if self.least_overlap and len(target.boxes):
            near = box_iou(boxes[others], target.boxes.to(boxes.dtype)).amax(dim=1) >= self.least_overlap
            others = others[near] if near.any() else others
        others = others[draw(len(others), self.samples - len(chosen), boxes.device)]
        rows = torch.cat([found.positive[chosen], others])
        return RegionSamples(boxes[rows], found.objects[chosen], found.weight[rows] == 0)


def draw(count: int, most: int, device: torch.device) -> Tensor:
    """``most`` of ``count`` numbers at random, or all of them: int64."""
    return torch.randperm(count, device=device)[:most]


class RegionLoss(nn.Module):
    """The loss of the second stage (Girshick 2015, equations 1 to 3).

    ``L = -log p_u + lambda [u >= 1] smooth_L1(t_u - v)``, averaged over the regions. Where a region without
    an object may show silent classes, their probabilities count as the background's:
    ``-log (p_0 + sum of silent p_c)``.

    Args:
        config: the weight of the box loss.
    """

    def __init__(self, config: RegionConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self, answers: RegionAnswers, samples: Sequence[RegionSamples], targets: Sequence[DetectionTargets]
    ) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``, scalars.

        Args:
            answers: of the regions of all samples, image after image.
            samples: of N images.
            targets: their ground truths.
        """
        logits, offsets = answers.logits.float(), answers.offsets.float()
        device = logits.device
        pairs = list(zip(samples, targets, strict=True))
        labels = torch.cat([_labels(sample, target) for sample, target in pairs])
        allowed = F.one_hot(labels, logits.shape[1]).bool()
        empty = labels == 0
        silent = torch.cat([sample.silent for sample in samples])
        allowed[:, 1:] |= silent & empty[:, None]
        total = even_share(torch.tensor(float(len(labels)), device=device), least=1.0)
        likely = logits.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
        classes = (logits.logsumexp(dim=1) - likely).sum() / total
        rows = (~empty).nonzero().flatten()
        regions = torch.cat([sample.boxes for sample in samples])[rows]
        truth = torch.cat([target.boxes[sample.objects] for sample, target in pairs])
        wanted = encode_boxes(truth.float(), regions.float(), torch) / torch.tensor(OFFSET_STD, device=device)
        distance = F.smooth_l1_loss(offsets[rows, labels[rows] - 1], wanted, reduction="sum")
        return {"class": classes, "box": self.config.box_weight * distance / total}


def _labels(sample: RegionSamples, target: DetectionTargets) -> Tensor:
    """int64 ``[S]``: class and 1, or 0 for the background."""
    labels = torch.zeros(len(sample.boxes), dtype=torch.int64, device=sample.boxes.device)
    labels[: len(sample.objects)] = target.labels[sample.objects] + 1
    return labels


def numbered(boxes: Sequence[Tensor]) -> Tensor:
    """Corners ``[S_n, 4]`` of N images as regions with the number of their image: ``[sum S, 5]``."""
    return torch.cat([F.pad(one, (1, 0), value=float(image)) for image, one in enumerate(boxes)])


def as_regions(boxes: Tensor) -> Tensor:
    """Corners ``[N, P, 4]`` with the number of their image: ``[N * P, 5]``."""
    number = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    numbers = number[:, None, None].expand(-1, boxes.shape[1], 1)
    return torch.cat([numbers, boxes], dim=-1).reshape(-1, 5)
