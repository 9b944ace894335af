"""What the numbers of a foreign network's outputs mean, read from its answers to the probe images.

Shapes do not tell pixels from shares of the input, nor probabilities from logits; the values do.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import ExportError

_SLACK = 1e-3
"""By how much a probability in float16 may pass 0 or 1."""

_SHARES = 1.5
"""Coordinates are shares of the input up to here: a box may reach over the edge by half the input."""


def boxes_are_shares(boxes: NDArray[Any], size: tuple[int, int]) -> bool:
    """Whether coordinates are shares of the input, 0..1, and not pixels.

    Args:
        boxes: any shape; coordinates of every candidate of every probe image. All zeros are none.
        size: height and width of the input in pixels.

    Example:
        >>> boxes_are_shares(np.array([[0.3, 0.3, 0.4, 0.9]]), (640, 640))
        True
        >>> boxes_are_shares(np.array([[12.0, 8.0, 30.0, 20.0]]), (640, 640))
        False
    """
    largest = float(np.abs(boxes).max(initial=0))
    # An input of a few pixels, as in tests, leaves no room between the two.
    return min(size) > 4 * _SHARES and 0 < largest <= _SHARES


def score_kind(scores: NDArray[Any], origin: str) -> Literal["probabilities", "logits"]:
    """Whether class scores are probabilities or what a sigmoid makes them of.

    Args:
        scores: any shape; of every candidate and class of every probe image.
        origin: the file, for messages.

    Raises:
        ExportError: they are neither: above 1, but never negative.

    Example:
        >>> score_kind(np.array([0.2, 0.9]), "net.onnx"), score_kind(np.array([-4.0, 1.2]), "net.onnx")
        ('probabilities', 'logits')
    """
    lowest, highest = float(scores.min(initial=0)), float(scores.max(initial=0))
    if lowest >= -_SLACK and highest <= 1 + _SLACK:
        return "probabilities"
    if lowest < -_SLACK:
        return "logits"
    raise ExportError(
        f"{origin}: its scores reach {highest:.4g} and are never negative, so they are neither probabilities "
        "(0 to 1) nor logits; export it with probabilities"
    )


def check_final_scores(scores: NDArray[Any], origin: str) -> None:
    """Refuses scores of an end-to-end model that are no probabilities; -1 fills rows that hold nothing.

    Raises:
        ExportError: one is outside 0..1.
    """
    real = scores[scores != -1]
    lowest, highest = float(real.min(initial=0)), float(real.max(initial=0))
    if lowest < -_SLACK or highest > 1 + _SLACK:
        raise ExportError(
            f"{origin}: its final scores reach from {lowest:.4g} to {highest:.4g}; expected probabilities, "
            "0 to 1: export it with the sigmoid in the graph"
        )


def check_finite(answers: NDArray[Any], output: str, origin: str) -> None:
    """Refuses answers that are no numbers.

    Args:
        answers: of one output, for every probe image.
        output: its name.
        origin: the file, for messages.

    Raises:
        ExportError: one is NaN or infinite.
    """
    if answers.dtype.kind == "f" and not np.isfinite(answers).all():
        raise ExportError(
            f"{origin}: its output {output} holds NaN or infinity for a black, a white or a noise image; "
            "export it again, in FP32 if it is FP16"
        )


def are_probabilities(values: NDArray[Any]) -> bool:
    """Whether all numbers lie in 0..1.

    Example:
        >>> are_probabilities(np.array([0.0, 1.0])), are_probabilities(np.array([0.5, 2.0]))
        (True, False)
    """
    return float(values.min(initial=0)) >= -_SLACK and float(values.max(initial=0)) <= 1 + _SLACK


def are_whole(values: NDArray[Any]) -> bool:
    """Whether all numbers are whole and none is negative, as class numbers are; -1 fills rows of nothing."""
    return bool((values == np.round(values)).all()) and float(values.min(initial=0)) >= -1


def falls(values: NDArray[Any]) -> bool:
    """Whether each row of ``[P, M]`` is sorted, the greatest first."""
    return bool((np.diff(values, axis=-1) <= 1e-6).all())


def class_scores(values: NDArray[Any]) -> Literal["probabilities", "logits"] | None:
    """What class columns ``[..., C]`` are; None where they differ from each other, so are not all classes.

    Coefficients of masks and key points stand behind the class columns of other tasks: numbers of another
    range.
    """
    flat = values.reshape(-1, values.shape[-1])
    low, high = flat.min(axis=0), flat.max(axis=0)
    probable = (low >= -_SLACK) & (high <= 1 + _SLACK)
    if probable.all():
        return "probabilities"
    return "logits" if (low < -_SLACK).all() else None


def inverted_share(boxes: NDArray[Any]) -> float:
    """Share of boxes ``[..., 4]``, those of all zeros left out, whose second corner lies before the first."""
    flat = boxes.reshape(-1, 4)
    real = flat[np.abs(flat).sum(axis=1) > 0]
    if not len(real):
        return 0.0
    slack = 1e-5 * float(np.abs(real).max())  # a box without extent is not inverted by rounding
    return float((real[:, 2:] < real[:, :2] - slack).any(axis=1).mean())
