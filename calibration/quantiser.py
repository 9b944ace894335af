"""Ranges, rankings and int8 graphs of one model on one set of frames, each made when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.cache import Cache
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.outcome import Settings
from edgevision.calibration.qdq import RoundedWeights, insert_qdq, quantise_weights
from edgevision.calibration.ranges import (
    BINS,
    Method,
    TensorStatistics,
    add_histograms,
    measure_ranges,
    thresholds,
)
from edgevision.calibration.sampling.sample import CalibrationSet
from edgevision.calibration.sensitivity import (
    Sensitivity,
    float_order,
    measure_noise,
    measure_sensitivity,
    sensitivity_frames,
)
from edgevision.graph.convolutions import Convolution
from edgevision.progress import OnDone, Progress

_RULES = 5  # goes up when the same inputs come to give other numbers, so that no old result is taken up
_NOISE_FRAMES = 16


class Quantiser:
    """Makes int8 models of a float one.

    Args:
        model: to quantise.
        frames: to calibrate on.
        settings: the percentile, the share of the work that stays in int8 and the scales of weights are used.
        cache: where ranges and rankings are kept, by the content of all that they depend on.
        progress: shows how far each step is.
        rounded: weights in int8, see :mod:`edgevision.calibration.rounding`; others go to the nearest step.

    Attributes:
        key: what its results depend on, besides the method and the rounding.
    """

    def __init__(
        self,
        model: FloatModel,
        frames: CalibrationSet,
        settings: Settings,
        cache: Cache,
        progress: Progress,
        rounded: Mapping[str, RoundedWeights] = MappingProxyType({}),
    ) -> None:
        self.model, self._frames, self._settings = model, frames, settings
        self._cache, self._progress, self._together = cache, progress, rounded
        self._rounded = (
            {**_with_one_scale(model), **rounded} if settings.weight_scale == "tensor" else rounded
        )
        self.key = {
            "rules": _RULES,
            "graph": sha256(model.graph.SerializeToString(deterministic=True)).hexdigest(),
            "frames": frames.hash,
            "onnxruntime": onnxruntime.__version__,
            "bins": BINS,
            "weight_scale": settings.weight_scale,
            "spared": sorted(model.spared),
        }
        self._extremes: dict[str, TensorStatistics] | None = None
        self._counted: dict[str, TensorStatistics] | None = None
        self._limits: dict[Method, dict[str, float]] = {}
        self._orders: dict[Method, tuple[Sensitivity, ...]] = {}
        self._noises: dict[Method, float] | None = None

    def extremes(self) -> dict[str, TensorStatistics]:
        """What each tensor that a candidate reads showed over the frames, without its histogram."""
        if self._extremes is None:
            tensors = [layer.data for layer in self.model.candidates]
            self._extremes = self._statistics(
                False,
                "measuring ranges",
                lambda on_done: measure_ranges(
                    self.model.graph, tensors, self._one_by_one, False, on_done, self._frames.frame_name
                ),
            )
        return self._extremes

    def limits(self, method: Method) -> dict[str, float]:
        """For each of those tensors the greatest magnitude that int8 is to hold."""
        if method == "trained":
            return self.model.trained_limits()
        if method not in self._limits:
            seen = self.extremes() if method == "minmax" else self._histograms()
            found = thresholds(seen, method, self._settings.percentile)
            self._limits[method] = {name: self.model.known.get(name, one) for name, one in found.items()}
        return self._limits[method]

    def noises(self) -> dict[Method, float]:
        """For each method that the settings allow, the noise at the heads with all candidates in int8."""
        if self._noises is None:
            limits = {method: self.limits(method) for method in self._settings.methods}
            key = {
                **self.key,
                "kind": "noise of all, by unit",
                "rounded": sorted(self._together),
                "frames_used": _NOISE_FRAMES,
                "thresholds": limits,
            }
            self._noises = self._cache.load(key, dict[Method, float])
            if self._noises is None:
                frames = self._spread(_NOISE_FRAMES)
                with self._progress("comparing ranges", len(limits) * len(frames)) as on_done:
                    self._noises = measure_noise(
                        self.model.graph,
                        self.model.candidates,
                        limits,
                        self.model.manifest.heads,
                        frames,
                        on_done,
                        self._rounded,
                    )
                self._cache.store(key, self._noises)
        return self._noises

    def order(self, method: Method) -> tuple[Sensitivity, ...]:
        """The layers that may go back to float with a method's ranges, the worst first."""
        if method not in self._orders:
            found = self.sensitivities(method)
            self._orders[method] = float_order(found, self.model.convolutions, self._settings.min_share)
        return self._orders[method]

    def without(self, method: Method, count: int) -> tuple[Convolution, ...]:
        """What is left in int8 once the worst ``count`` layers are in float."""
        gone = {one.layer.name for one in self.order(method)[:count]} if count else set()
        return tuple(layer for layer in self.model.candidates if layer.name not in gone)

    def graph(self, method: Method, layers: Sequence[Convolution]) -> onnx.ModelProto:
        """The model with ``layers`` in int8."""
        return insert_qdq(self.model.graph, layers, self.limits(method), self._rounded)

    def _histograms(self) -> dict[str, TensorStatistics]:
        if self._counted is None:
            extremes = self.extremes()
            self._counted = self._statistics(
                True,
                "counting magnitudes",
                lambda on_done: add_histograms(self.model.graph, extremes, self._one_by_one, on_done),
            )
        return self._counted

    def _statistics(
        self, histograms: bool, label: str, measure: Callable[[OnDone], dict[str, TensorStatistics]]
    ) -> dict[str, TensorStatistics]:
        key = {**self.key, "kind": "ranges", "histograms": histograms}
        kept = self._cache.load(key, dict[str, TensorStatistics])
        if kept is not None:
            return kept
        with self._progress(label, len(self._frames.frames)) as on_done:
            found = measure(on_done)
        self._cache.store(key, found)
        return found

    def _one_by_one(self) -> Iterator[NDArray[np.uint8]]:
        return self._frames.batches(1)

    def sensitivities(self, method: Method) -> tuple[Sensitivity, ...]:
        """What each candidate alone does to the heads with a method's ranges, on a few of the frames."""
        layers, limits = self.model.candidates, self.limits(method)
        count = sensitivity_frames(self.model.convolutions)
        key = {
            **self.key,
            "kind": "noise by unit",
            "rounded": sorted(self._together),
            "frames_used": count,
            "thresholds": limits,
        }
        kept = self._cache.load(key, dict[str, float])
        if kept is not None and set(kept) == {layer.name for layer in layers}:
            return tuple(Sensitivity(layer, kept[layer.name]) for layer in layers)
        with self._progress("ranking layers", len(layers)) as on_done:
            found = measure_sensitivity(
                self.model.graph,
                layers,
                limits,
                self.model.manifest.heads,
                self._spread(count),
                on_done,
                self._rounded,
            )
        self._cache.store(key, {one.layer.name: one.noise for one in found})
        return found

    def _spread(self, count: int) -> NDArray[np.uint8]:
        """``count`` of the frames, evenly spread: uint8 ``[count, H, W, 3]``."""
        return np.concatenate(list(self._frames.spread(count).batches(1)))


def _with_one_scale(model: FloatModel) -> dict[str, RoundedWeights]:
    """The weights of all candidates, each with one scale, at the nearest step."""
    weights = {layer.weight for layer in model.candidates}
    return {
        constant.name: quantise_weights(numpy_helper.to_array(constant), one_scale=True)
        for constant in model.graph.graph.initializer
        if constant.name in weights
    }
