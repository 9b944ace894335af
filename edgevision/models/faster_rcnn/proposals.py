"""From what the region proposal network says of each anchor to the regions that are looked at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgevision.models.anchors import anchor_grid, decode_boxes
from edgevision.models.faster_rcnn.settings import ProposalConfig
from edgevision.models.static_nms import gather_rows, static_nms

LEAST_SIDE = 1.0
"""Pixels: a proposal is widened to this, so that there is something to pool."""


class Proposals(nn.Module):
    """The best boxes of all levels after suppression (Ren et al. 2015, section 3.3).

    All sizes are fixed: where fewer boxes survive, the best of the suppressed ones fill up, which the
    suppression of detections deals with.

    Args:
        config: limits.
        input_size: sides of the square input.

    Attributes:
        anchors: float ``[M, 4]``, corners of all levels.
        counts: anchors of each level, whose sum is M.
    """

    def __init__(self, config: ProposalConfig, input_size: int) -> None:
        super().__init__()
        levels = anchor_grid(config.anchors, input_size, input_size)
        self.config, self.size = config, input_size
        self.counts = tuple(len(level) for level in levels)
        self.register_buffer("anchors", torch.from_numpy(np.concatenate(levels)), persistent=False)
        self.anchors: Tensor

    def forward(self, objectness: Tensor, offsets: Tensor) -> Tensor:
        """Raw ``[N, M]`` and ``[N, M, 4]`` to corners ``[N, P, 4]`` in input pixels, best first.

        No gradient flows through them: the second stage takes its regions as they are (section 3.2).
        """
        objectness, offsets = objectness.detach().float(), offsets.detach().float()
        chosen, start = [], 0
        for count in self.counts:
            best = objectness[:, start : start + count].topk(min(self.config.level_candidates, count), dim=1)
            chosen.append(best.indices + start)
            start += count
        index = torch.cat(chosen, dim=1)
        scores, order = objectness.gather(1, index).sort(dim=1, descending=True)
        index = index.gather(1, order)
        boxes = decode_boxes(gather_rows(offsets, index), self.anchors[index], torch)
        boxes = boxes.clamp(0, self.size)
        low = boxes[..., :2].clamp(max=self.size - LEAST_SIDE)
        boxes = torch.cat([low, torch.maximum(boxes[..., 2:], low + LEAST_SIDE)], dim=-1)
        one_class, all_valid = torch.zeros_like(index), torch.ones_like(index, dtype=torch.bool)
        keep = static_nms(boxes, one_class, all_valid, self.config.iou_threshold, self.config.rounds)
        # A logit less 1000 is behind every survivor, and the suppressed keep their order.
        ranked = torch.where(keep, scores, scores - 1000.0)
        kept = ranked.topk(min(self.config.count, index.shape[1]), dim=1).indices
        return gather_rows(boxes, kept)
