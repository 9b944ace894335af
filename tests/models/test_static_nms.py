"""Suppression of fixed size, held against torchvision's."""

from __future__ import annotations

import torch
from torchvision.ops import nms

from edgevision.models.static_nms import gather_rows, region_side, static_nms


def test_a_suppressed_box_suppresses_nothing() -> None:
    # Each overlaps the next by 2/3, the next but one by 3/7: the first takes the second, and the third stays.
    boxes = torch.tensor([[[0.0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]]])
    labels, valid = torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool)
    assert static_nms(boxes, labels, valid, 0.5, 4).tolist() == [[True, False, True]]
    assert static_nms(boxes, labels, valid, 0.7, 4).all()
    assert static_nms(boxes, torch.tensor([[0, 1, 0]]), valid, 0.5, 4).all()
    valid[0, 0] = False
    assert static_nms(boxes, labels, valid, 0.5, 4).tolist() == [[False, True, False]]


def test_it_keeps_what_torchvision_keeps() -> None:
    torch.manual_seed(0)
    corner = torch.rand(2, 60, 2) * 60
    boxes = torch.cat([corner, corner + 10 + torch.rand(2, 60, 2) * 30], dim=-1)
    scores = torch.rand(2, 60).sort(dim=1, descending=True).values
    one, valid = torch.zeros(2, 60, dtype=torch.int64), torch.ones(2, 60, dtype=torch.bool)
    found = static_nms(boxes, one, valid, 0.4, 16)
    for image in range(2):
        wanted = nms(boxes[image], scores[image], 0.4).sort().values
        assert found[image].nonzero().flatten().tolist() == wanted.tolist()


def test_rows_and_sides() -> None:
    table = torch.arange(12.0).reshape(1, 6, 2)
    assert gather_rows(table, torch.tensor([[5, 0]])).tolist() == [[[10, 11], [0, 1]]]
    assert region_side(torch.tensor([[0.0, 0, 4, 9], [5, 5, 5, 9]])).tolist() == [6, 0]
