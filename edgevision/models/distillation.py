"""What a larger detector teaches cell by cell: all its class scores and boxes, not only those it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from edgevision.errors import ConfigError
from edgevision.models.anchors import AnchorConfig, anchor_grid, decode_boxes
from edgevision.models.collective import even_share
from edgevision.models.retinanet import HeadMaps, flatten_maps
from edgevision.models.settings import DistillationConfig

_TINY = 1e-6


class TeacherAnswers(NamedTuple):
    """What a teacher says of N images, for each of the M cells of its levels, finest first, rows first.

    Attributes:
        scores: float ``[N, M, C]``, probabilities in the student's classes.
        boxes: float ``[N, M, 4]``, corners in input pixels.
        taught: bool ``[C]``: classes that the teacher knows.
        hints: float ``[N, channels, H, W]``, one for each level of the student's pyramid that learns from it.
    """

    scores: Tensor
    boxes: Tensor
    taught: Tensor
    hints: Sequence[Tensor] = ()


def average_answers(answers: Sequence[TeacherAnswers]) -> TeacherAnswers:
    """What several teachers of the same classes say together; hints are the first one's.

    Scores are averaged. A cell's box is the mean of the teachers' boxes, each weighted by the teacher's
    strongest score there: one that sees nothing in a cell has no say in where its box ends, as in the fusion
    of finished boxes (Solovyev et al. 2021, arXiv:1910.13302).

    Args:
        answers: one or more, of the same images and cells.
    """
    if len(answers) == 1:
        return answers[0]
    scores = torch.stack([one.scores for one in answers])
    weight = scores.amax(dim=-1, keepdim=True) + _TINY  # alike where nobody sees anything
    boxes = (torch.stack([one.boxes for one in answers]) * weight).sum(dim=0) / weight.sum(dim=0)
    return answers[0]._replace(scores=scores.mean(dim=0), boxes=boxes)


class DistillationLoss(nn.Module):
    """Class and box losses of every cell against a teacher's; dense distillation.

    Args:
        config: weights.
        anchors: the student's anchors: one a cell, for a teacher has one answer a cell.
        input_size: sides of the square input.
        strides: the teacher's; the student's first levels.

    Raises:
        ConfigError: the student's anchors do not stand where the teacher's cells do.
    """

    def __init__(
        self, config: DistillationConfig, anchors: AnchorConfig, input_size: int, strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.config = config
        if anchors.per_cell != 1:
            raise ConfigError(
                f"distillation needs one anchor a cell; found {anchors.per_cell}; set scales and ratios of "
                "model.anchors to one entry each"
            )
        if anchors.strides[: len(strides)] != tuple(strides):
            raise ConfigError(
                f"distillation: the teacher's strides are {list(strides)}, model.anchors.strides is "
                f"{list(anchors.strides)}; expected these to begin with the teacher's"
            )
        levels = anchor_grid(anchors, input_size, input_size)[: len(strides)]
        self.register_buffer("anchors", torch.from_numpy(np.concatenate(levels)), persistent=False)
        self.anchors: Tensor
        self._levels = len(strides)

    def forward(self, maps: HeadMaps, answers: TeacherAnswers) -> dict[str, Tensor]:
        """Losses ``teacher_class`` and ``teacher_box``, and ``teacher_hint`` where there are hints; scalars.

        The first two are sums, divided by the sum of the teacher's best scores in cells above ``floor``; for
        the third see :func:`hint_loss`.

        Args:
            maps: the student's raw predictions for N images.
            answers: the teacher's of the same images.
        """
        wanted = answers.scores
        logits = flatten_maps(maps.logits[: self._levels], wanted.shape[-1]).float()
        deltas = flatten_maps(maps.deltas[: self._levels], 4).float()
        best = wanted.max(dim=-1).values
        seen = best >= self.config.floor
        weight = best[seen]
        share = even_share(weight.sum(), least=1.0)
        distance = (wanted - torch.sigmoid(logits)).abs() ** self.config.gamma
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        classes = (distance * entropy * answers.taught).sum() / share
        anchors = self.anchors.expand(len(wanted), -1, -1)[seen]
        boxes = decode_boxes(deltas[seen], anchors, torch)
        box = (generalized_box_iou_loss(boxes, answers.boxes[seen]) * weight).sum() / share
        losses = {
            "teacher_class": self.config.class_weight * classes,
            "teacher_box": self.config.box_weight * box,
        }
        if answers.hints:
            losses["teacher_hint"] = self.config.hint_weight * hint_loss(maps.pyramid, answers.hints)
        return losses


def hint_loss(pyramid: Sequence[Tensor], hints: Sequence[Tensor]) -> Tensor:
    """How far the student's maps are from the teacher's: 1 - r, with r their correlation.

    It is counted for each channel over the batch and averaged over channels, then over levels (Cao et al.
    2022, arXiv:2207.02039): 0 for maps that are equal but for a factor and a sum, 1 for maps that have
    nothing in common. So the student's maps keep a scale of their own.

    Args:
        pyramid: float ``[N, channels, H, W]`` a level; levels beyond the hints learn nothing here.
        hints: of the same sizes.

    Raises:
        ConfigError: a hint has other sizes than the student's map.
    """
    parts = []
    for own, wanted in zip(pyramid, hints, strict=False):
        if own.shape != wanted.shape:
            raise ConfigError(
                f"distillation.hints: the teacher's map of {list(wanted.shape[1:])} is to be learnt by one "
                f"of {list(own.shape[1:])}; expected equal channels and sides, finest level first"
            )
        correlation = (_standardised(own.float()) * _standardised(wanted)).mean(dim=(0, 2, 3))
        parts.append(1 - correlation.mean())
    return torch.stack(parts).mean()


def _standardised(maps: Tensor) -> Tensor:
    """Each channel of ``[N, channels, H, W]`` with mean 0 and variance 1 over the batch."""
    mean = maps.mean(dim=(0, 2, 3), keepdim=True)
    variance = maps.var(dim=(0, 2, 3), correction=0, keepdim=True)
    return (maps - mean) * torch.rsqrt(variance + _TINY)
