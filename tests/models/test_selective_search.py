"""Selective search on images whose parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.boxes import iou
from edgevision.models.fast_rcnn.settings import SearchConfig
from edgevision.models.selective_search import Regions, cut, grouped, selective_search


def painted() -> np.ndarray:
    """Two squares on grey, one of them of two halves."""
    image = np.full((64, 96, 3), 128, np.uint8)
    image[8:40, 8:40] = (200, 40, 40)
    image[16:56, 56:72] = (40, 200, 60)
    image[16:56, 72:88] = (40, 200, 160)
    return image


def test_the_first_regions_are_what_is_alike() -> None:
    pytest.importorskip("skimage")
    regions = cut(painted(), 100, 20)
    count = len(regions.boxes)
    assert 4 <= count <= 30  # the ground, the square, the halves, and edges that the Gaussian made
    assert regions.sizes.sum() == 64 * 96
    assert [8, 8, 40, 40] in regions.boxes.tolist()
    np.testing.assert_allclose(regions.colour.sum(axis=1), 1)
    np.testing.assert_allclose(regions.texture.sum(axis=1), 1)
    assert regions.colour.shape == (count, 75)
    assert regions.texture.shape == (count, 240)
    assert set(regions.pairs.ravel().tolist()) == set(range(count))  # each touches another
    assert (regions.pairs[:, 0] < regions.pairs[:, 1]).all()


def test_like_neighbours_are_merged_first() -> None:
    boxes = np.array([[0, 0, 4, 8], [4, 0, 8, 8], [8, 0, 16, 8]])
    colour = np.array([[1.0, 0], [0.9, 0.1], [0, 1.0]])
    texture = np.ones((3, 1))
    pairs = np.array([[0, 1], [1, 2]])
    regions = Regions(boxes, np.array([32.0, 32, 64]), colour, texture, pairs)
    found = grouped(regions)
    # 0 and 1: colour 0.9, texture 1, size 1 - 64/128, fill 1; 1 and 2: 0.1, 1, 1 - 96/128, 1.
    assert found.tolist() == [[0, 0, 16, 8], [0, 0, 8, 8], [8, 0, 16, 8], [4, 0, 8, 8], [0, 0, 4, 8]]


def test_every_object_is_among_the_boxes() -> None:
    pytest.importorskip("skimage")
    found = selective_search(painted(), SearchConfig(least_region=20))
    wanted = np.array([[8, 8, 40, 40], [56, 16, 88, 56], [0, 0, 96, 64]], np.float32)
    assert (iou(wanted, found).max(axis=1) > 0.9).all()
    assert len(np.unique(found, axis=0)) == len(found)
    assert len(selective_search(painted(), SearchConfig(count=2))) == 2
    again = selective_search(painted(), SearchConfig(least_region=20))
    np.testing.assert_array_equal(found, again)
