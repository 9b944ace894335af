"""Anchors against hand-written numbers, and the box coder against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgevision.models.anchors import MAX_LOG_SIZE, AnchorConfig, anchor_grid, decode_boxes, encode_boxes

ONE = AnchorConfig(strides=(8,), base_size=4.0, scales=(1.0,), ratios=(1.0,))


def test_square_anchors_stand_in_the_middle_of_their_cells_rows_first() -> None:
    (level,) = anchor_grid(ONE, height=16, width=24)
    expected = [
        [-12, -12, 20, 20],
        [-4, -12, 28, 20],
        [4, -12, 36, 20],
        [-12, -4, 20, 28],
        [-4, -4, 28, 28],
        [4, -4, 36, 28],
    ]
    np.testing.assert_array_equal(level, np.array(expected, np.float32))


def test_a_ratio_is_height_over_width_and_keeps_the_area() -> None:
    config = AnchorConfig(strides=(8,), base_size=4.0, scales=(1.0, 2.0), ratios=(0.25, 4.0))
    (level,) = anchor_grid(config, height=8, width=8)
    sizes = level[:, 2:] - level[:, :2]
    np.testing.assert_allclose(sizes, [[64, 16], [16, 64], [128, 32], [32, 128]], rtol=1e-6)


@pytest.mark.parametrize(("side", "cells"), [(320, [40, 20, 10, 5, 3]), (416, [52, 26, 13, 7, 4])])
def test_level_sizes_round_up_as_strided_convolutions_do(side: int, cells: list[int]) -> None:
    config = AnchorConfig()
    assert [len(level) for level in anchor_grid(config, side, side)] == [n * n * 9 for n in cells]
    x = torch.zeros(1, 1, cells[2], cells[2])
    p6 = torch.nn.functional.conv2d(x, torch.zeros(1, 1, 3, 3), stride=2, padding=1)
    assert p6.shape[-1] == cells[3]


def test_encoding_by_hand() -> None:
    anchor = np.array([[0.0, 0.0, 10.0, 20.0]])
    box = np.array([[5.0, 10.0, 25.0, 20.0]])  # centre (15, 15), 20 x 10; the anchor's centre is (5, 10)
    expected = [[1.0, 0.25, math.log(2), math.log(0.5)]]
    np.testing.assert_allclose(encode_boxes(box, anchor), expected, rtol=1e-6)


def test_decoding_inverts_encoding_in_numpy_and_torch() -> None:
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 300, (50, 2)), rng.uniform(2, 200, (50, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    anchors = np.concatenate(anchor_grid(ONE, 80, 80))[:50].astype(np.float64)
    deltas = encode_boxes(boxes, anchors)
    np.testing.assert_allclose(decode_boxes(deltas, anchors), boxes, atol=1e-9)
    by_torch = decode_boxes(torch.from_numpy(deltas), torch.from_numpy(anchors), torch)
    np.testing.assert_allclose(by_torch.numpy(), boxes, atol=1e-9)


def test_huge_predictions_are_cut_before_they_overflow() -> None:
    anchor = np.array([[0.0, 0.0, 16.0, 16.0]], np.float32)
    box = decode_boxes(np.array([[0.0, 0.0, 1e6, 1e6]], np.float32), anchor)
    side = 16 * math.exp(MAX_LOG_SIZE)
    np.testing.assert_allclose(box, [[8 - side / 2, 8 - side / 2, 8 + side / 2, 8 + side / 2]], rtol=1e-6)
    assert side == pytest.approx(1000)
