"""Whether two sets of images look alike: light, contrast, colour and sharpness, without any model.

How far a network's activations reach (the second half of this file) shows whether int8's ranges fit,
except in some networks: in a network of ReLU6 they saturate, and reach as far on noise as on the street
(1.00 to 1.03 in the shipped segmenter). What the images themselves show does not depend on the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.calibration.ranges import TensorStatistics
from edgevision.types import Image

UNLIKE = 1.5
"""Distance from which two sets are of another kind; :func:`image_shift` says in what unit.

Measured with 48 reference images, letterboxed to 384. Of one kind: COCO photographs against others 0.1 to
0.6, Open Images vehicles against COCO 0.5 to 0.9, CamVid's training frames against its validation clip, one
drive in other light, 0.7 to 1.3. Of another: night 4 to 34, half light 2.9 to 13, fog 3.5 to 17, blur 2.5 to
12, noise 2.5 to 24, single test clips against COCO 0.7 to 4 and against CamVid 1.4 to 15. CamVid against COCO
is 0.9 to 1.5 and so cannot be distinguished from CamVid's own drives; its activations reach within 7 % of
COCO's.
"""

_MEASURES = (
    "blue light",
    "green light",
    "red light",
    "contrast in blue",
    "contrast in green",
    "contrast in red",
    "the darkest parts",
    "the middle tones",
    "the brightest parts",
    "colourfulness",
    "sharpness",
)
_MIN_REACH, _MAX_REACH = 0.35, 1.15  # of activations on other frames, as shares of the calibrated ranges
_FLAT, _DARK, _BRIGHT = 12.0, 25.0, 230.0  # grey levels: deviation, mean, mean
_FLOOR = 2.0  # grey levels; sets of equal images, such as a test card, have no spread of their own.


@dataclass(frozen=True, slots=True)
class Shift:
    """Where two sets differ most.

    Attributes:
        measure: in which of the measures, in words.
        distance: see :func:`image_shift`; 0 is equal.
    """

    measure: str
    distance: float


def image_shift(frames: Iterable[Image], reference: Iterable[Image], fill: int) -> Shift:
    """The greatest difference between two sets of images over eleven measures.

    Each image gives its mean and deviation by channel, its 2nd, 50th and 98th percentile of grey, its mean
    saturation and the logarithm of its mean Laplacian. The distance in one measure is the difference of the
    two sets' means over the deviation of single images in the more varied set: one drive is not unlike a
    hundred that it could be one of.

    Args:
        frames, reference: uint8 ``[H, W, 3]`` each, letterboxed; neither is empty.
        fill: value of the padding, which is left out.
    """
    ours, theirs = (np.stack([_measure(_inside(one, fill)) for one in some]) for some in (frames, reference))
    spread = np.maximum(ours.std(axis=0), theirs.std(axis=0)) + _FLOOR
    distances = np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / spread
    worst = int(distances.argmax())
    return Shift(_MEASURES[worst], float(distances[worst]))


def shift_warnings(frames: Iterable[Image], reference: Iterable[Image], fill: int, source: str) -> list[str]:
    """A line where the calibration frames look like images of another kind than those of ``source``."""
    found = image_shift(frames, reference, fill)
    if found.distance <= UNLIKE:
        return []
    return [
        f"the calibration frames look unlike {source}: {found.measure}, by {found.distance:.1f} standard "
        f"deviations ({UNLIKE:g} is much); calibrate on frames of the place where the model will run"
    ]


def _inside(image: Image, fill: int) -> Image:
    """The image without the rows and columns that are nothing but padding."""
    padding = (image == fill).all(axis=2)
    rows, columns = ~padding.all(axis=1), ~padding.all(axis=0)
    return image[rows][:, columns] if rows.any() else image


def _measure(image: Image) -> NDArray[np.float64]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()
    thin = image[::2, ::2]
    return np.array(
        [
            *thin.mean(axis=(0, 1)),
            *thin.std(axis=(0, 1)),
            *np.percentile(grey[::2, ::2], [2, 50, 98]),
            (thin.max(axis=2) - thin.min(axis=2)).mean(),
            16 * np.log2(edges + 0.5),  # sixteen steps an octave: as wide as the grey levels' own spread
        ]
    )


def reach(calibrated: Mapping[str, TensorStatistics], seen: Mapping[str, TensorStatistics]) -> float:
    """How far the tensors go on other frames, against the calibrated ranges: the median ratio; 1 is equal.

    A few frames of one kind reach 0.6 to 1 of what hundreds of that kind do: extremes are rare.
    """
    ratios = [
        seen[name].greatest / one.greatest
        for name, one in calibrated.items()
        if name in seen and one.greatest > 0
    ]
    return float(np.median(ratios)) if ratios else 1.0


def domain_warnings(
    calibrated: Mapping[str, TensorStatistics], seen: Mapping[str, TensorStatistics], source: str
) -> list[str]:
    """A line where the labelled data go much further than the calibration frames, or much less far."""
    ratio = reach(calibrated, seen)
    if ratio > _MAX_REACH:
        return [
            f"the calibration frames are unlike {source}: activations reach {ratio:.2f} times as far, "
            "so int8 cuts them; calibrate on frames of the place where the model will run"
        ]
    if ratio < _MIN_REACH:
        return [
            f"the calibration frames are unlike {source}: its activations fill {ratio:.0%} of the ranges, "
            "so int8 is coarse; calibrate on frames of the place where the model will run"
        ]
    return []


def image_warnings(frames: Iterable[NDArray[np.uint8]]) -> list[str]:
    """A line where most frames are not usable images: flat, nearly black or nearly white.

    Args:
        frames: batches uint8 ``[N, H, W, 3]``.
    """
    total = poor = 0
    for batch in frames:
        for frame in batch:
            thin = frame[::4, ::4]  # a sixteenth is enough
            mean, deviation = float(thin.mean()), float(thin.std())
            total += 1
            if deviation < _FLAT or not _DARK <= mean <= _BRIGHT:
                poor += 1
    if total and poor * 2 > total:
        return [
            f"{poor} of {total} calibration frames are flat, nearly black or nearly white; "
            "expected images such as the model was trained on"
        ]
    return []
