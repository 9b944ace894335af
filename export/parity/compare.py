"""Whether two runs of a model agree, and if not, at which stage they diverge.

Three stages are compared: the normalised input, the head maps that feed the decoder, and the final answers.
The first one that differs is where to look: what comes after it can only be wrong too. The functions here
are pure: :mod:`edgevision.export.parity.runs` makes what they compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.contract.manifest import Precision
from edgevision.export.parity.answers import AnswerError, require_same_shape
from edgevision.types import FloatArray

ParityStage = Literal["preprocessing", "heads", "answers"]


@dataclass(frozen=True, slots=True, eq=False)
class StageOutputs:
    """What one batch was at each stage; empty where a run does not show it, as a TensorRT plan.

    Nor do INT8 files whose convolutions read pixels as they are have a normalised input.

    Attributes:
        preprocessing: float ``[N, 3, H, W]``, the normalised input.
        heads: float, by the manifest's names.
        answers: the contract's outputs.
    """

    preprocessing: FloatArray | None
    heads: Mapping[str, FloatArray]
    answers: Mapping[str, NDArray[Any]]


class Tolerances(msgspec.Struct, frozen=True):
    """How far two runs may be apart and still agree.

    Attributes:
        preprocessing: greatest difference of a normalised value; always computed in FP32.
        heads: root mean square of a head map's error, in standard deviations of the map.
        unmatched: share of detections that are shown (a score of 0.3 or more) without a partner of IoU 0.5.
        labels: share of partners of different classes, or of images whose best class is another.
        overlap: mean of ``1 - IoU`` over partners.
        score: mean difference of the scores of partners; of labels the mean over images of the greatest one.
        pixels: share of pixels of a class map that differ.
        points: mean distance of the key points of partners, in sides of their box.
        masks: root mean square of the error of partners' mask values, over that of the values.
    """

    preprocessing: float
    heads: float
    unmatched: float
    labels: float
    overlap: float
    score: float
    pixels: float
    points: float
    masks: float


# FP32 leaves the last bits to the order of additions; of many pairs of boxes one lies so near the limit of
# suppression that they decide. FP16 has 11 bits of mantissa, INT8 8 bits for a tensor. A head of a scene in
# which nothing happens hardly varies, so there the same error is more of its deviation: over six clips, the
# worst head of the shipped detector was off by 0.037 in FP16 and by 0.78 in INT8 (a car park), with answers
# that agreed.
_FP32 = Tolerances(1e-4, 1e-3, 0.002, 0.002, 0.005, 5e-4, 0.001, 0.002, 1e-3)
_FP16 = Tolerances(1e-4, 0.06, 0.02, 0.01, 0.02, 0.01, 0.01, 0.02, 0.06)
_INT8 = Tolerances(1e-4, 1.0, 0.15, 0.05, 0.1, 0.1, 0.1, 0.1, 0.5)
# One INT8 file in two engines: the same steps, but a sum that lies between two can fall to either side: that
# moved a head of the shipped detector by up to 0.31 in OpenVINO.
_INT8_ENGINES = Tolerances(1e-4, 0.5, 0.1, 0.05, 0.075, 0.05, 0.05, 0.05, 0.25)


def tolerances_for(precision: Precision, same_file: bool) -> Tolerances:
    """What to allow a file of this precision, against the FP32 reference or against itself elsewhere."""
    if precision == "fp32":
        return _FP32
    if precision == "fp16":
        return _FP16
    return _INT8_ENGINES if same_file else _INT8


class Difference(msgspec.Struct, frozen=True):
    """One measure of one stage.

    Attributes:
        stage: where.
        measure: which field of :class:`Tolerances`.
        size: what was found.
        limit: what is allowed.
        tensor: the head map that differs most, else empty.
    """

    stage: ParityStage
    measure: str
    size: float
    limit: float
    tensor: str = ""

    @property
    def agrees(self) -> bool:
        return self.size <= self.limit  # False for NaN

    def __str__(self) -> str:
        where = f"{self.stage} ({self.tensor})" if self.tensor else self.stage
        sign = "within" if self.agrees else "beyond"
        measure = "" if self.measure == self.stage else f"{self.measure} "
        return f"{where}: {measure}{self.size:.3g}, {sign} {self.limit:.3g}"


class Comparison(msgspec.Struct, frozen=True):
    """How one run compares with its reference.

    Attributes:
        run, reference: names of the two.
        differences: in the order of the stages; a stage that one of them does not show is left out.
    """

    run: str
    reference: str
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        return self.first_divergent is None

    @property
    def first_divergent(self) -> Difference | None:
        """The earliest stage beyond its limit; of that stage the measure that exceeds it most."""
        wrong = [one for one in self.differences if not one.agrees]
        stage = [one for one in wrong if one.stage == wrong[0].stage]
        return max(stage, key=_excess, default=None)


@dataclass(slots=True, eq=False)
class Comparing:
    """Adds up the differences of two runs over any number of batches.

    Args:
        tolerances: what counts as agreement.
    """

    tolerances: Tolerances
    _preprocessing: list[float] = field(default_factory=list)
    _heads: dict[str, _HeadError] = field(default_factory=dict)
    _answers: AnswerError = field(default_factory=AnswerError)

    def add(self, reference: StageOutputs, found: StageOutputs) -> None:
        """Counts one batch; both must have seen the same frames.

        Raises:
            ValueError: two arrays of one name have different shapes.
        """
        if reference.preprocessing is not None and found.preprocessing is not None:
            self._preprocessing.append(_greatest(reference.preprocessing, found.preprocessing))
        for name, expected in reference.heads.items():
            if name in found.heads:
                self._heads.setdefault(name, _HeadError()).add(expected, found.heads[name])
        self._answers.add(reference.answers, found.answers)

    def result(self, run: str, reference: str) -> Comparison:
        """What was found so far."""
        limits = self.tolerances
        found = []
        if self._preprocessing:
            size = float(np.max(self._preprocessing))  # a NaN wins, which it does not in Python's max
            found.append(Difference("preprocessing", "preprocessing", size, limits.preprocessing))
        errors = {name: error.relative() for name, error in self._heads.items()}
        if errors:
            worst = max(errors, key=lambda name: _nan_high(errors[name]))
            found.append(Difference("heads", "heads", errors[worst], limits.heads, worst))
        found += [
            Difference("answers", measure, size, getattr(limits, measure))
            for measure, size in self._answers.measures().items()
        ]
        return Comparison(run, reference, tuple(found))


@dataclass(slots=True)
class _HeadError:
    count: int = 0
    error: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, expected: NDArray[Any], found: NDArray[Any]) -> None:
        require_same_shape(expected, found)
        reference = expected.astype(np.float64)
        self.count += reference.size
        self.error += float(np.square(found - reference).sum())
        self.total += float(reference.sum())
        self.squares += float(np.square(reference).sum())

    def relative(self) -> float:
        """The error in standard deviations of the reference; of a constant map the error itself."""
        mean = self.total / self.count
        deviation = float(np.sqrt(max(self.squares / self.count - mean * mean, 0.0)))
        error = float(np.sqrt(self.error / self.count))
        return error / deviation if deviation > 1e-12 else error


def _greatest(expected: NDArray[Any], found: NDArray[Any]) -> float:
    require_same_shape(expected, found)
    return float(np.abs(expected - found).max())


def _excess(one: Difference) -> float:
    return _nan_high(one.size) / max(one.limit, 1e-12)


def _nan_high(value: float) -> float:
    return value if np.isfinite(value) else float("inf")
