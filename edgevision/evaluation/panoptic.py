"""Panoptic quality (Kirillov et al. 2019, arXiv:1801.00868, section 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec
import numpy as np

from edgevision.panoptic import PanopticMap

_MATCH = 0.5
"""IoU above which two segments match: no segment can match two others (section 4.1)."""

VOID = "void"
"""Name of segments of the truth whose pixels count neither for nor against."""


class PanopticFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one class, or means over several.

    ``pq = sq * rq`` for one class; the mean of products is not the product of means.

    Attributes:
        pq: panoptic quality, equation 1.
        sq: mean IoU of matched segments, equation 2.
        rq: F1 of the matching, equation 2.
        segments: of the truth.
    """

    pq: float
    sq: float
    rq: float
    segments: int


class PanopticQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over the classes that truth or answers have.

    Attributes:
        all, things, stuff: means; None where there is no such class.
        per_class: by name.
    """

    all: PanopticFigures | None
    things: PanopticFigures | None
    stuff: PanopticFigures | None
    per_class: dict[str, PanopticFigures]


class _Counts:
    """Of one class: matches and their IoU, misses, false alarms."""

    def __init__(self) -> None:
        self.overlap, self.matched, self.missed, self.false = 0.0, 0, 0, 0

    def figures(self) -> PanopticFigures:
        sq = self.overlap / self.matched if self.matched else 0.0
        rq = self.matched / (self.matched + self.missed / 2 + self.false / 2)
        return PanopticFigures(pq=sq * rq, sq=sq, rq=rq, segments=self.matched + self.missed)


def panoptic_quality(pairs: Iterable[tuple[PanopticMap, PanopticMap]]) -> PanopticQuality:
    """Measures answers against truth.

    A segment matches one of the truth of the same class if their IoU is above 0.5; pixels that the truth
    leaves open (0, or :data:`VOID`) are taken out of the union, and an answer of which more than half lies
    there, or in crowds of its class, counts neither way (section 4.2). What is a thing is the truth's word.

    Args:
        pairs: the answer and the truth of each image.

    Raises:
        ValueError: the two maps of an image differ in size.
    """
    counts: defaultdict[str, _Counts] = defaultdict(_Counts)
    answered: dict[str, bool] = {}
    stated: dict[str, bool] = {}
    for found, truth in pairs:
        _count(found, truth, counts)
        answered.update((one.name, one.is_thing) for one in found.segments)
        stated.update((one.name, one.is_thing) for one in truth.segments)
    is_thing = answered | stated
    per_class = {
        name: one.figures() for name, one in sorted(counts.items()) if one.matched + one.missed + one.false
    }
    kinds = {
        kind: [figures for name, figures in per_class.items() if is_thing[name] is kind]
        for kind in (True, False)
    }
    return PanopticQuality(
        all=_mean(list(per_class.values())),
        things=_mean(kinds[True]),
        stuff=_mean(kinds[False]),
        per_class=per_class,
    )


def _count(found: PanopticMap, truth: PanopticMap, counts: defaultdict[str, _Counts]) -> None:
    if found.ids.shape != truth.ids.shape:
        raise ValueError(f"the answer is of {found.ids.shape} pixels, the truth of {truth.ids.shape}")
    pairs, shared = np.unique(
        np.stack([found.ids.ravel(), truth.ids.ravel()], axis=1), axis=0, return_counts=True
    )
    overlap = {(a, b): int(n) for (a, b), n in zip(pairs.tolist(), shared, strict=True)}
    wanted = {one.number: one for one in truth.segments if one.name != VOID and not one.is_crowd}
    crowds = [one for one in truth.segments if one.name != VOID and one.is_crowd]
    open_numbers = [0, *(one.number for one in truth.segments if one.name == VOID)]
    matched: set[int] = set()
    for one in found.segments:
        free = sum(overlap.get((one.number, number), 0) for number in open_numbers)
        best = 0.0
        for number, other in wanted.items():
            both = overlap.get((one.number, number), 0)
            if other.name == one.name and both:
                iou = both / (one.area - free + other.area - both)
                if iou > _MATCH:
                    best = iou
                    matched.add(number)
        if best:
            counts[one.name].overlap += best
            counts[one.name].matched += 1
            continue
        free += sum(overlap.get((one.number, crowd.number), 0) for crowd in crowds if crowd.name == one.name)
        if free <= one.area / 2:
            counts[one.name].false += 1
    for number, other in wanted.items():
        counts[other.name].missed += number not in matched


def _mean(figures: list[PanopticFigures]) -> PanopticFigures | None:
    if not figures:
        return None
    pq, sq, rq = (float(np.mean([getattr(one, key) for one in figures])) for key in ("pq", "sq", "rq"))
    return PanopticFigures(pq=pq, sq=sq, rq=rq, segments=sum(one.segments for one in figures))
