"""The report card of a calibration: what was done, what it cost, and why, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

import edgevision
from edgevision.address import display
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.gate import Trial
from edgevision.calibration.outcome import (
    Equalisation,
    Quantised,
    RangeChoice,
    Rounding,
    Settings,
    WeightScale,
)
from edgevision.calibration.ranges import Method
from edgevision.calibration.sampling.sample import CalibrationSet
from edgevision.calibration.sensitivity import decibels, int8_share
from edgevision.calibration.speed import Speed
from edgevision.evaluation.bootstrap import Interval

SCHEMA = 1


class LayerCard(msgspec.Struct, frozen=True, kw_only=True):
    """A convolution that stays in float.

    Attributes:
        name: of its output tensor.
        module: where it sits in the network it was exported from, by the name of its weights.
        shape: for people.
        share: of the convolution work, 0..1.
        why: the reason.
        sqnr_db: signal over noise at the heads where it alone is in int8; None where it was not measured.
    """

    name: str
    module: str
    shape: str
    share: float
    why: str
    sqnr_db: float | None = None


class RangeCard(msgspec.Struct, frozen=True, kw_only=True):
    """A quantised tensor.

    Attributes:
        name: of the tensor.
        low, high: extremes over the frames.
        limit: greatest magnitude that int8 holds.
        scale: one step of int8.
    """

    name: str
    low: float
    high: float
    limit: float
    scale: float


class MethodCard(msgspec.Struct, frozen=True, kw_only=True):
    """A method of choosing ranges, with every layer in int8 that may be.

    Attributes:
        method: its name.
        sqnr_db: signal over noise at the heads, over a few of the frames; None where there is no noise.
        drop: of the gate's figure; None where it was not evaluated.
    """

    method: Method
    sqnr_db: float | None
    drop: float | None


class GateCard(msgspec.Struct, frozen=True, kw_only=True):
    """The accuracy gate.

    Attributes:
        data: what the figure was measured on.
        is_labelled: False where the float model's answers on frames held out stood in for labels.
        images: how many there are.
        figure: its name.
        float_value, int8_value: the figure.
        difference: int8 less float with its 95 % interval, from a paired bootstrap.
        max_drop: the budget.
        trials: every int8 model that was evaluated.
        chosen: place among them of the one that was taken.
    """

    data: str
    is_labelled: bool = True
    images: int
    figure: str
    float_value: float
    int8_value: float
    difference: Interval
    max_drop: float
    trials: tuple[Trial, ...]
    chosen: int


class CalibrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one int8 model.

    Attributes:
        model: its name.
        float_file, int8_file: file names.
        float_sha256, int8_sha256: of their content, metadata left out.
        float_bytes, int8_bytes: sizes.
        frames, frames_sha256, sources: what the ranges were measured on.
        method: how ranges were chosen.
        asked_method: what was asked for: the same, or ``auto``.
        methods: those that were compared.
        percentile: what ``peak`` and ``percentile`` held, in per cent; None where neither was compared.
        int8_share: of the convolution work, 0..1.
        convolutions, int8_convolutions: counts.
        gate: None where nothing was compared.
        equalisation: None where no channels can be equalised, or the ranges are those of the training.
        rounding: None where no weights can be rounded together, or the ranges are those of the training.
        weight_scale: whether each channel of a weight has a scale of its own.
        float_layers: convolutions in float, and why.
        ranges: quantised tensors.
        speed: for each engine here.
        warnings: what was said to the user.
        command: as typed.
        version: of edgevision.
        schema: version of this structure.
    """

    model: str
    float_file: str
    int8_file: str
    float_sha256: str
    int8_sha256: str
    float_bytes: int
    int8_bytes: int
    frames: int
    frames_sha256: str
    sources: tuple[str, ...]
    method: Method
    asked_method: RangeChoice
    methods: tuple[MethodCard, ...]
    percentile: float | None
    int8_share: float
    convolutions: int
    int8_convolutions: int
    gate: GateCard | None
    equalisation: Equalisation | None = None
    rounding: Rounding | None = None
    weight_scale: WeightScale = "channel"
    float_layers: tuple[LayerCard, ...]
    ranges: tuple[RangeCard, ...]
    speed: tuple[Speed, ...]
    warnings: tuple[str, ...]
    command: str
    version: str = edgevision.__version__
    schema: int = SCHEMA


def make_report(
    model: FloatModel,
    frames: CalibrationSet,
    settings: Settings,
    result: Quantised,
    *,
    int8_file: str,
    int8_sha256: str,
    int8_bytes: int,
    sources: Sequence[str],
    speed: Sequence[Speed],
    command: str,
) -> CalibrationReport:
    """Puts the facts of one run together; for the arguments see :class:`CalibrationReport`."""
    gate = None
    if result.gate is not None:
        gate = GateCard(
            data=result.gate.source,
            is_labelled=result.gate.is_labelled,
            images=result.gate.images,
            figure=result.gate.figure,
            float_value=result.gate.before,
            int8_value=result.gate.after,
            difference=result.gate.difference,
            max_drop=settings.max_drop,
            trials=result.gate.trials,
            chosen=result.gate.trials.index(result.gate.chosen),
        )
    ranges = tuple(
        RangeCard(
            name=name,
            low=result.statistics[name].low,
            high=result.statistics[name].high,
            limit=limit,
            scale=limit / 127,
        )
        for name, limit in sorted(result.thresholds.items())
    )
    return CalibrationReport(
        model=model.manifest.name,
        float_file=model.path.name,
        int8_file=int8_file,
        float_sha256=model.sha256,
        int8_sha256=int8_sha256,
        float_bytes=model.path.stat().st_size,
        int8_bytes=int8_bytes,
        frames=len(frames.frames),
        frames_sha256=frames.hash,
        sources=tuple(map(display, sources)),
        method=result.method,
        asked_method=settings.method,
        methods=_methods(result),
        percentile=settings.percentile if {"peak", "percentile"} & result.noises.keys() else None,
        int8_share=int8_share(result.layers, model.convolutions),
        convolutions=len(model.convolutions),
        int8_convolutions=len(result.layers),
        gate=gate,
        equalisation=result.equalisation,
        rounding=result.rounding,
        weight_scale=settings.weight_scale,
        float_layers=_float_layers(model, result),
        ranges=ranges,
        speed=tuple(speed),
        warnings=result.warnings,
        command=command,
    )


def _methods(result: Quantised) -> tuple[MethodCard, ...]:
    trials = result.gate.trials if result.gate is not None else ()
    drops = {trial.method: trial.drop for trial in trials if not trial.float_layers}
    return tuple(
        MethodCard(
            method=method,
            sqnr_db=round(decibels(noise), 1) if noise else None,
            drop=drops.get(method),
        )
        for method, noise in result.noises.items()
    )


def _float_layers(model: FloatModel, result: Quantised) -> tuple[LayerCard, ...]:
    total = sum(layer.macs for layer in model.convolutions)
    noise = {one.layer.name: one for one in (*result.spared, *result.returned)}
    spared = {one.layer.name for one in result.spared}
    quantised = {layer.name for layer in result.layers}
    cards = []
    for layer in model.convolutions:
        if layer.name in quantised:
            continue
        found = noise.get(layer.name)
        if layer.name in spared:
            why = "much of the noise for little work"
        elif found is not None:
            why = "put back by the accuracy gate"
        elif not layer.constant:
            why = "its weights are computed as the model runs"
        elif layer.feeds_head:
            why = "feeds a head: its answers are final"
        elif layer.kind == "Conv":
            why = "in groups: with one scale a weight it would lose much"
        else:
            why = "transposed: few devices run it in int8"
        sqnr = None if found is None else round(found.sqnr_db, 1)
        cards.append(
            LayerCard(
                name=layer.name,
                module=layer.weight.removesuffix(".weight"),
                shape=layer.text,
                share=layer.macs / total,
                why=why,
                sqnr_db=sqnr,
            )
        )
    return tuple(cards)
