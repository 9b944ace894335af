"""Loud layers stay in float: few convolutions make most of the noise, and are little of the work.

In a detector of small convolutions they are the first ones: an edge filter answers with small differences of
large values, and what it reads is rounded to steps of their size. Giving them to int8 saves next to nothing,
and their noise goes through all that follows. No labels are needed to find them, for the noise of several
layers adds up, nearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgevision.cache import Cache
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.outcome import Settings
from edgevision.calibration.quantiser import Quantiser
from edgevision.calibration.sampling.frames import CalibrationSet
from edgevision.calibration.sensitivity import ISLAND, Sensitivity, float_order, int8_share
from edgevision.graph.convolutions import Convolution
from edgevision.progress import Progress

_LOUD = 2.0  # times its share of the work, conversions included, that is a loud layer's share of the noise
_QUIET = 0.01  # noise of all, 20 dB under the signal, below which no layer is too loud
_FRAMES = 24  # that ranges are measured on

SHARE = 0.9
"""Of the work that stays in int8 at least."""


def loud_layers(
    found: Sequence[Sensitivity], convolutions: Sequence[Convolution], min_share: float
) -> tuple[Sensitivity, ...]:
    """The most noise for the least work first.

    Each makes at least twice as much of the noise as it is of the work. They stop where what all others make
    is 20 dB under the signal, and where less than 90 % of the work would be left in int8.

    Args:
        found, convolutions, min_share: see :func:`~edgevision.calibration.sensitivity.float_order`.
    """
    work = sum(layer.macs for layer in convolutions)
    total = left = sum(one.noise for one in found)
    chosen = []
    for one in float_order(found, convolutions, max(min_share, SHARE)):
        if left < _QUIET or one.noise < total * _LOUD * (one.layer.macs / work + ISLAND):
            break
        left -= one.noise
        chosen.append(one)
    return tuple(chosen)


def spare_loud_layers(
    model: FloatModel, frames: CalibrationSet, settings: Settings, cache: Cache, progress: Progress
) -> tuple[FloatModel, tuple[Sensitivity, ...]]:
    """The model without its loud layers among the candidates, and these layers.

    Args:
        model: to quantise, its channels equalised.
        frames: to calibrate on; up to 24 of them are used.
        settings: the share of the work that stays in int8, and the method of the ranges.
        cache: see :class:`~edgevision.calibration.quantiser.Quantiser`.
        progress: shows how far each step is.
    """
    # Ranking takes time, so it is left out where no layer would go back.
    if int8_share(model.candidates, model.convolutions) <= max(settings.min_share, SHARE):
        return model, ()
    one_method = settings.with_one_method
    quantiser = Quantiser(model, frames.spread(_FRAMES), one_method, cache, progress)
    if min(quantiser.noises().values()) < _QUIET:
        return model, ()
    found = quantiser.sensitivities(one_method.methods[0])
    loud = loud_layers(found, model.convolutions, settings.min_share)
    return replace(model, spared=frozenset(one.layer.name for one in loud)), loud
