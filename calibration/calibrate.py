"""A float model, frames and perhaps labelled data to an int8 model, with the accuracy cost bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from calibration.accuracy import Measured, Yardstick
from calibration.cache import Cache
from calibration.domain import domain_warnings, picture_warnings
from calibration.gate import Search, Trial, search_fewest
from calibration.model import FloatModel
from calibration.outcome import Gate, Quantised, Settings
from calibration.qdq import check_qdq, insert_qdq
from calibration.ranges import BINS, TensorStatistics, measure_ranges, thresholds
from calibration.samples import CalibrationSet
from calibration.sensitivity import (
    Sensitivity,
    float_order,
    int8_share,
    measure_sensitivity,
    sensitivity_frames,
)
from calibration.shift import shift_warnings
from calibration.simulate import SimulatedEngine
from edgevision.errors import CalibrationError
from edgevision.graph.compose import check
from edgevision.graph.convolutions import Convolution
from edgevision.manifest import CalibrationFacts
from edgevision.preprocess import Letterbox

_RULES = 1  # goes up when the same inputs come to give other numbers, so that no old result is taken up
_DOMAIN_PICTURES = 48
_REACH_EVERY = 3  # of them go through the network, which takes longer than looking at them

Stage = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar: what is done and how many there are, to a function to be told how many are done."""


def calibrate(
    model: FloatModel,
    frames: CalibrationSet,
    settings: Settings,
    yardstick: Yardstick | None,
    cache: Cache,
    stage: Stage,
) -> Quantised:
    """Quantises a model; with a yardstick, holds the drop of its figure to the budget.

    Args:
        model: to quantise.
        frames: to calibrate on, two or more.
        settings: see :class:`Settings`.
        yardstick: labelled data; None leaves the gate out.
        cache: where ranges and sensitivities are kept.
        stage: shows progress.

    Raises:
        CalibrationError: one frame only, a broken model, or a budget that cannot be met.
    """
    if len(frames.frames) < 2:
        raise CalibrationError(
            "found one distinct frame, which cannot tell how far activations reach; name more sources with "
            "--from (300 frames or more are wanted)"
        )
    work = _Work(model, frames, settings, cache, stage)
    if yardstick is None:
        return work.result(model.candidates, (), None, [])
    warnings = work.compare_domain(yardstick)
    before = work.evaluate(yardstick, "float", None)

    def attempt(count: int) -> tuple[Trial, tuple[Measured, int]]:
        layers = work.without(count)
        label = f"int8 with {count} layers in float" if count else "int8"
        after = work.evaluate(yardstick, label, layers)
        share, drop = int8_share(layers, model.convolutions), before.value - after.value
        return Trial(float_layers=count, share=share, value=after.value, drop=drop), (after, count)

    search = search_fewest(lambda: len(work.order()), attempt, settings.max_drop)
    if search.best is None:
        raise CalibrationError(_out_of_budget(yardstick, before, search, settings))
    after, count = search.best
    gate = Gate(
        source=yardstick.source,
        figure=yardstick.figure,
        pictures=yardstick.pictures,
        before=before.value,
        after=after.value,
        difference=yardstick.compare(before, after),
        trials=tuple(search.trials),
    )
    return work.result(work.without(count), work.order()[:count] if count else (), gate, warnings)


class _Work:
    """One run: the ranges, and what is derived from them when it is asked for."""

    def __init__(
        self, model: FloatModel, frames: CalibrationSet, settings: Settings, cache: Cache, stage: Stage
    ) -> None:
        self.model, self.frames, self.settings = model, frames, settings
        self.cache, self.stage = cache, stage
        self.key = {
            "rules": _RULES,
            "model": model.sha256,
            "frames": frames.hash,
            "onnxruntime": onnxruntime.__version__,
            "bins": BINS,
        }
        self.statistics = self._statistics()
        self.limits = thresholds(self.statistics, settings.method, settings.percentile)
        self._order: tuple[Sensitivity, ...] | None = None

    def order(self) -> tuple[Sensitivity, ...]:
        """The layers that may go back to float, the worst first; ranked when it is first asked for."""
        if self._order is None:
            convolutions = self.model.convolutions
            self._order = float_order(self._sensitivities(), convolutions, self.settings.min_share)
        return self._order

    def without(self, count: int) -> tuple[Convolution, ...]:
        """What is left in int8 once the worst ``count`` layers are in float."""
        gone = {one.layer.name for one in self.order()[:count]} if count else set()
        return tuple(layer for layer in self.model.candidates if layer.name not in gone)

    def evaluate(self, yardstick: Yardstick, label: str, layers: Sequence[Convolution] | None) -> Measured:
        """The figure of the model with ``layers`` in int8, or of the float model for None."""
        graph = self.model.graph if layers is None else insert_qdq(self.model.graph, layers, self.limits)
        with self.stage(f"evaluating {label}", yardstick.pictures) as progress:
            return yardstick.measure(SimulatedEngine(graph, self.model.manifest), progress)

    def compare_domain(self, yardstick: Yardstick) -> list[str]:
        """A warning where the labelled pictures are of another kind than the frames."""
        pictures = [self._letterbox(picture) for picture in yardstick.sample(_DOMAIN_PICTURES)]
        if not pictures:
            return []
        tensors = list(self.statistics)
        few = np.stack(pictures[::_REACH_EVERY])
        with self.stage("comparing with the labelled pictures", len(few)) as progress:
            seen = measure_ranges(self.model.graph, tensors, lambda: [few], False, progress)
        frames = (frame for batch in self.frames.batches(8) for frame in batch)
        return [
            *domain_warnings(self.statistics, seen, yardstick.source),
            *shift_warnings(frames, pictures, self.model.manifest.resize.fill, yardstick.source),
        ]

    def result(
        self,
        layers: tuple[Convolution, ...],
        returned: tuple[Sensitivity, ...],
        gate: Gate | None,
        warnings: list[str],
    ) -> Quantised:
        """The finished model, checked."""
        source = self.model.manifest
        graph = insert_qdq(self.model.graph, layers, self.limits)
        check_qdq(graph, source.name)
        check(graph, source.name)
        share = int8_share(layers, self.model.convolutions)
        facts = CalibrationFacts(
            method=self.settings.method,
            frames=len(self.frames.frames),
            frames_sha256=self.frames.hash,
            float_sha256=self.model.sha256,
            int8_share=round(share, 4),
            float_layers=tuple(one.layer.name for one in returned),
        )
        # The float model's figures are not this file's.
        figures = {} if gate is None else {gate.figure: round(gate.after, 4)}
        manifest = msgspec.structs.replace(source, precision="int8", calibration=facts, figures=figures)
        used = {layer.data for layer in layers}
        return Quantised(
            graph=graph,
            manifest=manifest,
            layers=layers,
            returned=returned,
            thresholds={name: limit for name, limit in self.limits.items() if name in used},
            statistics=self.statistics,
            gate=gate,
            warnings=(*picture_warnings(self.frames.batches(8)), *warnings, *self._few(share)),
        )

    def _few(self, share: float) -> list[str]:
        lines = []
        if len(self.frames.frames) < 100:
            lines.append(f"{len(self.frames.frames)} calibration frames are few; 300 or more are advised")
        if share < self.settings.min_share:
            lines.append(
                f"{share:.0%} of the convolution work is in int8: the heads are float and hold the rest"
            )
        return lines

    def _statistics(self) -> dict[str, TensorStatistics]:
        histograms = self.settings.method != "minmax"
        key = {**self.key, "kind": "ranges", "histograms": histograms}
        kept = self.cache.load(key, dict[str, TensorStatistics])
        if kept is not None:
            return kept
        tensors = [layer.data for layer in self.model.candidates]
        total = len(self.frames.frames) * (2 if histograms else 1)
        with self.stage("measuring ranges", total) as progress:
            found = measure_ranges(
                self.model.graph, tensors, lambda: self.frames.batches(1), histograms, progress
            )
        self.cache.store(key, found)
        return found

    def _sensitivities(self) -> tuple[Sensitivity, ...]:
        layers = self.model.candidates
        count = sensitivity_frames(self.model.convolutions)
        key = {**self.key, "kind": "noise", "frames_used": count, "thresholds": self.limits}
        kept = self.cache.load(key, dict[str, float])
        if kept is not None and set(kept) == {layer.name for layer in layers}:
            return tuple(Sensitivity(layer, kept[layer.name]) for layer in layers)
        with self.stage("ranking layers", len(layers)) as progress:
            found = measure_sensitivity(
                self.model.graph,
                layers,
                self.limits,
                self.model.manifest.heads,
                self._spread(count),
                progress,
            )
        self.cache.store(key, {one.layer.name: one.noise for one in found})
        return found

    def _spread(self, count: int) -> NDArray[np.uint8]:
        """``count`` of the frames, evenly spread: uint8 ``[count, H, W, 3]``."""
        total = len(self.frames.frames)
        wanted = {int(i) for i in np.linspace(0, total - 1, min(count, total)).round()}
        chosen = [batch[0] for i, batch in enumerate(self.frames.batches(1)) if i in wanted]
        return np.stack(chosen)

    def _letterbox(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        manifest = self.model.manifest
        size = (manifest.input_width, manifest.input_height)
        return Letterbox.fit(picture.shape[1], picture.shape[0], *size, manifest.resize).image(picture)


def _out_of_budget(
    yardstick: Yardstick, before: Measured, search: Search[tuple[Measured, int]], settings: Settings
) -> str:
    best = min(search.trials, key=lambda trial: trial.drop)
    return (
        f"no int8 model within the budget: {yardstick.figure} fell by {best.drop:.4f} at best, from "
        f"{before.value:.4f} to {best.value:.4f} with {best.float_layers} layers in float and "
        f"{best.share:.0%} of the work in int8, but --max-drop is {settings.max_drop:g}; "
        "nothing is written. Try another "
        f"--method, more frames, a greater --max-drop, or a --min-share below {settings.min_share:g}"
    )
