"""Selective search (Uijlings et al. 2013, "Selective Search for Object Recognition", IJCV 104(2)).

Small regions of like pixels (Felzenszwalb and Huttenlocher 2004, "Efficient Graph-Based Image
Segmentation") are merged, the most similar neighbours first, until one is left; the boxes around all regions
on the way are where objects may be.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.extras import needs_extra
from edgevision.models.fast_rcnn.settings import SearchConfig
from edgevision.types import FloatArray, Image

_COLOUR_BINS, _TEXTURE_BINS, _DIRECTIONS = 25, 10, 8
_SPACES = {"hsv": cv2.COLOR_BGR2HSV_FULL, "lab": cv2.COLOR_BGR2LAB}
_SIGMA = 0.8
"""Of the Gaussian before the segmentation, as in both papers."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The regions that an image was cut into.

    Attributes:
        boxes: int64 ``[R, 4]``, corners in pixels.
        sizes: float64 ``[R]``, pixels.
        colour: float64 ``[R, 75]``, histograms of 25 bins for each channel, summing to 1.
        texture: float64 ``[R, 240]``, of 10 bins for each channel and each of 8 directions, summing to 1.
        pairs: int64 ``[E, 2]``, regions that touch.
    """

    boxes: NDArray[np.int64]
    sizes: NDArray[np.float64]
    colour: NDArray[np.float64]
    texture: NDArray[np.float64]
    pairs: NDArray[np.int64]


def selective_search(image: Image, config: SearchConfig) -> FloatArray:
    """Where objects may be: the likeliest first, each box once.

    Every colour space and scale gives a hierarchy of its own. Boxes are ordered by their place in theirs,
    from the whole image on, times a random number (section 4.4): large regions first, but not strictly.

    Args:
        image: uint8 ``[H, W, 3]``, BGR.
        config: strategies and limits.

    Returns:
        float32 ``[P, 4]``, corners in pixels, at most ``config.count``.

    Raises:
        UsageError: scikit-image is not installed.
    """
    rng = np.random.default_rng(0)
    boxes, places = [], []
    for space in config.spaces:
        converted = cv2.cvtColor(image, _SPACES[space])
        for scale in config.scales:
            found = grouped(cut(np.asarray(converted, np.uint8), scale, config.least_region))
            boxes.append(found)
            places.append(np.arange(1, len(found) + 1) * rng.random(len(found)))
    every = np.concatenate(boxes)
    every = every[np.argsort(np.concatenate(places), kind="stable")]
    sides = every[:, 2:] - every[:, :2]
    every = every[(sides >= config.least_side).all(axis=1)]
    _, first = np.unique(every, axis=0, return_index=True)
    return every[np.sort(first)][: config.count].astype(np.float32)


def cut(image: Image, scale: float, least: int) -> Regions:
    """The first regions of an image, uint8 ``[H, W, 3]`` in any colour space.

    Args:
        image: the image.
        scale: k of Felzenszwalb and Huttenlocher: larger is coarser.
        least: pixels of the smallest region.

    Raises:
        UsageError: scikit-image is not installed.
    """
    with needs_extra("rcnn", "selective search"):
        from skimage.segmentation import felzenszwalb
    found = felzenszwalb(image, scale=scale, sigma=_SIGMA, min_size=least)
    labels: NDArray[np.int64] = found.astype(np.int64)
    count = int(labels.max()) + 1
    flat = labels.ravel()
    rows, columns = np.indices(labels.shape).reshape(2, -1)
    boxes = np.empty((count, 4), np.int64)
    for side, (places, ends) in enumerate(
        ((columns, np.minimum), (rows, np.minimum), (columns, np.maximum), (rows, np.maximum))
    ):
        start = np.full(count, np.iinfo(np.int64).max if ends is np.minimum else -1)
        ends.at(start, flat, places)
        boxes[:, side] = start
    boxes[:, 2:] += 1
    sizes = np.bincount(flat, minlength=count).astype(np.float64)
    beside = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
    below = np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
    touching = np.sort(np.concatenate([beside, below]), axis=1)
    pairs = np.unique(touching[touching[:, 0] != touching[:, 1]], axis=0)
    tones = [_binned(channel, 255, _COLOUR_BINS) for channel in _channels(image)]
    colour = _histograms(flat, count, tones, _COLOUR_BINS)
    return Regions(boxes, sizes, colour, _histograms(flat, count, _textures(image), _TEXTURE_BINS), pairs)


def _channels(image: Image) -> list[NDArray[np.float32]]:
    return [np.ascontiguousarray(image[..., i], np.float32) for i in range(3)]


def _binned(values: NDArray[np.float32], highest: float, bins: int) -> NDArray[np.int64]:
    binned: NDArray[np.int64] = np.minimum(values * (bins / highest), bins - 1).astype(np.int64).ravel()
    return binned


def _textures(image: Image) -> list[NDArray[np.int64]]:
    """Bins of the Gaussian derivatives (sigma 1) of each channel in 8 directions (section 3.2)."""
    found = []
    for channel in _channels(image):
        smooth = cv2.GaussianBlur(channel, (0, 0), 1.0)
        across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
        down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
        for step in range(_DIRECTIONS):
            angle = 2 * np.pi * step / _DIRECTIONS
            along = np.maximum(across * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle)), 0)
            found.append(_binned(np.asarray(along, np.float32), max(float(along.max()), 1e-6), _TEXTURE_BINS))
    return found


def _histograms(
    labels: NDArray[np.int64], count: int, binned: list[NDArray[np.int64]], bins: int
) -> NDArray[np.float64]:
    """Histograms of each region, one after another, that sum to 1: ``[count, len(binned) * bins]``."""
    parts = [
        np.bincount(labels * bins + values, minlength=count * bins).reshape(count, bins) for values in binned
    ]
    whole: NDArray[np.float64] = np.concatenate(parts, axis=1).astype(np.float64)
    whole /= whole.sum(axis=1, keepdims=True)
    return whole


def grouped(regions: Regions) -> NDArray[np.int64]:
    """Boxes of all regions of the hierarchy, the whole image first: int64 ``[2 R - 1, 4]`` (algorithm 1).

    Similarity is the sum of four (equations 2 to 6): what the histograms of colour and of texture share,
    ``1 - (size_i + size_j) / size`` and ``1 - (size of the box around both - size_i - size_j) / size``.
    """
    boxes, sizes = [*regions.boxes], [*regions.sizes]
    colour, texture = [*regions.colour], [*regions.texture]
    whole = float(regions.sizes.sum())
    near: list[set[int]] = [set() for _ in boxes]
    queue: list[tuple[float, int, int]] = []

    def enter(i: int, j: int) -> None:
        low, high = np.minimum(boxes[i][:2], boxes[j][:2]), np.maximum(boxes[i][2:], boxes[j][2:])
        both = sizes[i] + sizes[j]
        around = float(np.prod(high - low))
        alike = np.minimum(colour[i], colour[j]).sum() + np.minimum(texture[i], texture[j]).sum()
        heapq.heappush(queue, (-(float(alike) + 1 - both / whole + 1 - (around - both) / whole), i, j))

    for i, j in regions.pairs.tolist():
        near[i].add(j)
        near[j].add(i)
        enter(i, j)
    while queue:
        _, i, j = heapq.heappop(queue)
        if j not in near[i]:
            continue  # one of them has been merged since
        number, both = len(boxes), sizes[i] + sizes[j]
        low, high = np.minimum(boxes[i][:2], boxes[j][:2]), np.maximum(boxes[i][2:], boxes[j][2:])
        boxes.append(np.concatenate([low, high]))
        for histograms in (colour, texture):
            histograms.append((sizes[i] * histograms[i] + sizes[j] * histograms[j]) / both)
        sizes.append(both)
        around = (near[i] | near[j]) - {i, j}
        near.append(around)
        for other in around:
            near[other] -= {i, j}
            near[other].add(number)
            enter(other, number)
        near[i], near[j] = set(), set()
    return np.stack(boxes)[::-1]
