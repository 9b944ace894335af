"""Whether calibration frames are of the kind that the model will meet.

Ranges from frames of another kind are too narrow, and cut what matters, or too wide, and waste int8's steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgevision.calibration.ranges import TensorStatistics

_MIN_REACH, _MAX_REACH = 0.35, 1.15
_FLAT, _DARK, _BRIGHT = 12.0, 25.0, 230.0


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


def picture_warnings(frames: Iterable[NDArray[np.uint8]]) -> list[str]:
    """A line where most frames are no usable pictures: flat, nearly black or nearly white.

    Args:
        frames: batches uint8 ``[N, H, W, 3]``.
    """
    total = poor = 0
    for batch in frames:
        for frame in batch:
            thin = frame[::4, ::4]  # a sixteenth tells as much
            mean, deviation = float(thin.mean()), float(thin.std())
            total += 1
            poor += deviation < _FLAT or not _DARK <= mean <= _BRIGHT
    if total and poor * 2 > total:
        return [
            f"{poor} of {total} calibration frames are flat, nearly black or nearly white; "
            "expected pictures such as the model was trained on"
        ]
    return []
