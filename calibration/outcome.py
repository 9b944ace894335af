"""What a calibration is asked for, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import onnx

from edgevision.calibration.gate import Trial
from edgevision.calibration.ranges import METHODS, PERCENTILE, Method, TensorStatistics
from edgevision.calibration.sensitivity import Sensitivity
from edgevision.contract.manifest import Manifest
from edgevision.evaluation.bootstrap import Interval
from edgevision.graph.convolutions import Convolution

RangeChoice = Literal["auto", "minmax", "peak", "percentile", "entropy", "trained"]
RANGE_CHOICES: tuple[RangeChoice, ...] = get_args(RangeChoice)
"""How ranges are chosen; ``auto`` takes those of the training where there are any, or compares the others."""

WeightScale = Literal["channel", "tensor"]
WEIGHT_SCALES: tuple[WeightScale, ...] = get_args(WeightScale)
"""One scale for each channel of a weight, which is most exact; or one for the whole weight.

TensorRT for RTX keeps bias and activation within an int8 convolution with one scale only: with one a channel
it multiplies by the scales in a kernel of its own, in FP32. Depthwise convolutions stay in float then: their
channels differ most, and they are a small part of the work.
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the result, besides the model and the frames.

    Attributes:
        method, percentile: see :func:`edgevision.calibration.ranges.thresholds`; ``auto`` compares them.
        max_drop: of the yardstick's figure.
        min_share: of the convolution work that stays in int8, 0..1.
        must_hold: False where a model over ``max_drop`` is written too, with a warning.
        weight_scale: one of :data:`WEIGHT_SCALES`.
    """

    method: RangeChoice = "auto"
    percentile: float = PERCENTILE
    max_drop: float = 0.01
    min_share: float = 0.8
    must_hold: bool = True
    weight_scale: WeightScale = "channel"

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods that may be used."""
        return METHODS if self.method == "auto" else (self.method,)

    @property
    def with_one_method(self) -> Settings:
        """The same, but ``peak`` stands for all methods where it is auto, to compare models by."""
        return replace(self, method="peak") if self.method == "auto" else self


@dataclass(frozen=True, slots=True)
class Equalisation:
    """What equalising the channels of tensors did, see :mod:`edgevision.calibration.equalise`.

    Attributes:
        tensors: how many have channels that can be scaled.
        before_db, after_db: signal over noise at the heads with all candidates in int8, in decibels, on a few
            of the frames, without it and with it.
        is_taken: the model was quantised with it.
    """

    tensors: int
    before_db: float
    after_db: float
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Rounding:
    """What rounding weights together did, see :mod:`edgevision.calibration.rounding`.

    Attributes:
        weights: how many tensors of weights were rounded so.
        before_db, after_db: signal over noise at the heads with all candidates in int8, in decibels, on a few
            of the frames, each weight at its nearest step and rounded together.
        is_taken: the model was quantised with it.
    """

    weights: int
    before_db: float
    after_db: float
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """What the accuracy gate found.

    Attributes:
        source, figure, images: the data and what was measured on them.
        is_labelled: False where the float model's answers stood in for labels.
        before, after: the figure in float and in int8.
        difference: the second less the first, with its interval.
        trials: every quantised model that was evaluated.
        chosen: the one that was taken.
    """

    source: str
    figure: str
    images: int
    is_labelled: bool
    before: float
    after: float
    difference: Interval
    trials: tuple[Trial, ...]
    chosen: Trial


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """The result.

    Attributes:
        graph, manifest: the int8 model.
        layers: those in int8.
        spared: those that stayed in float from the start, the loudest first.
        returned: those that the gate put back to float, the worst first.
        method: how the ranges were chosen.
        noises: at the heads with all candidates in int8, for each method that was allowed.
        thresholds: the range of each quantised tensor.
        statistics: what the tensors showed.
        gate: None where nothing was compared.
        equalisation: None where no channels can be equalised, or the ranges are those of the training.
        rounding: None where no weights can be rounded together, or the ranges are those of the training.
        warnings: lines for the user.
    """

    graph: onnx.ModelProto
    manifest: Manifest
    layers: tuple[Convolution, ...]
    spared: tuple[Sensitivity, ...]
    returned: tuple[Sensitivity, ...]
    method: Method
    noises: dict[Method, float]
    thresholds: dict[str, float]
    statistics: dict[str, TensorStatistics]
    gate: Gate | None
    equalisation: Equalisation | None
    rounding: Rounding | None
    warnings: tuple[str, ...]
