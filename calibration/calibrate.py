"""A float model, frames and perhaps labelled data to an int8 model, with the accuracy cost bounded."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from edgevision.cache import Cache
from edgevision.calibration.agreement import check_keeps_objects
from edgevision.calibration.equalise import equalise_if_quieter
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.gate import Search, Trial, most_trials, order_methods, search_fewest
from edgevision.calibration.likeness import domain_warnings, image_warnings, shift_warnings
from edgevision.calibration.loud import spare_loud_layers
from edgevision.calibration.outcome import Equalisation, Gate, Quantised, Rounding, Settings
from edgevision.calibration.pixels import read_whole_pixels
from edgevision.calibration.qdq import check_qdq
from edgevision.calibration.quantiser import Quantiser
from edgevision.calibration.ranges import Method, measure_ranges
from edgevision.calibration.rounding import round_together_if_quieter
from edgevision.calibration.sampling.sample import CalibrationSet
from edgevision.calibration.sensitivity import Sensitivity, int8_share
from edgevision.calibration.simulate import SimulatedEngine
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import CalibrationFacts
from edgevision.errors import CalibrationError
from edgevision.evaluation.yardstick import Measurement, Yardstick
from edgevision.graph.compose import check
from edgevision.progress import Note, Progress, no_note

Steps = tuple[Equalisation | None, tuple[Sensitivity, ...], Rounding | None]
"""What was done before ranges are chosen: channels, layers that were spared, weights."""

_DOMAIN_PICTURES = 48
_NAMED = 6  # classes in a warning
_REACH_EVERY = 3  # of them go through the network, which takes longer than looking at them


def calibrate(
    model: FloatModel,
    frames: CalibrationSet,
    settings: Settings,
    yardstick: Yardstick | None,
    cache: Cache,
    progress: Progress,
    note: Note = no_note,
) -> Quantised:
    """Quantises a model; with a yardstick, holds the drop of its figure to the budget.

    Args:
        model: to quantise.
        frames: to calibrate on, two or more.
        settings: see :class:`Settings`.
        yardstick: labelled data, or what stands in for them; None leaves the gate out.
        cache: where ranges and sensitivities are kept.
        progress: shows how far each step is.
        note: called with a line for each model that was evaluated.

    Raises:
        CalibrationError: one frame only, a broken model, a budget that cannot be met, or an int8 model that
            loses every object that the float model is certain of.
    """
    if len(frames.frames) < 2:
        raise CalibrationError(
            "found one distinct frame, which cannot show how far activations reach; name more sources with "
            "`sources` (300 frames or more are recommended)"
        )
    if settings.weight_scale == "tensor":
        model = replace(model, dense_only=True)
    if settings.method == "auto" and model.has_trained_limits:
        settings = replace(settings, method="trained")
    if settings.method == "trained":
        # Channels and weights stay as they are, too: what was trained is what runs.
        quantiser = Quantiser(model, frames, settings, cache, progress)
        steps: Steps = (None, (), None)
    else:
        quantiser, steps = _prepared(model, frames, settings, cache, progress)
    if yardstick is None:
        method = order_methods(quantiser.noises())[0]
        return _result(quantiser, frames, settings, method, 0, None, steps, [])
    warnings = _compare_domain(quantiser, frames, yardstick, progress)
    with progress("evaluating the float model", yardstick.images) as on_done:
        measured = yardstick.measure(SimulatedEngine(model.graph, model.manifest), on_done)
    before = measured.required()
    note(f"float: {yardstick.figure} {before:.4f}")
    warnings += _uncovered(yardstick, measured)
    if before <= 0:
        raise CalibrationError(
            f"the float model's {yardstick.figure} on {yardstick.source} is 0: it finds nothing there that "
            "an int8 model could lose, so no promise can be held; are the labels of its classes?"
        )
    evaluated, most = 0, most_trials(settings.methods)

    def attempt(method: Method, count: int) -> tuple[Trial, Measurement]:
        nonlocal evaluated
        layers = quantiser.without(method, count)
        graph = quantiser.graph(method, layers)
        evaluated += 1
        with progress(f"evaluating int8, {evaluated} of at most {most}", yardstick.images) as on_done:
            after = yardstick.measure(SimulatedEngine(graph, model.manifest), on_done)
        trial = Trial(
            method=method,
            float_layers=count,
            share=int8_share(layers, model.convolutions),
            value=after.required(),
            drop=before - after.required(),
        )
        note(_trial_line(trial, yardstick, settings))
        return trial, after

    methods = order_methods(quantiser.noises())
    search = search_fewest(
        methods,
        lambda method: len(quantiser.order(method)),
        attempt,
        settings.max_drop,
        must_hold=settings.must_hold,
    )
    if search.chosen is None or search.best is None:
        raise CalibrationError(_out_of_budget(yardstick, before, search, settings))
    if search.chosen.drop > settings.max_drop:
        warnings.append(
            f"{yardstick.figure} falls by {search.chosen.drop:.4f} in int8, more than {settings.max_drop:g}; "
            "`max_drop` makes that a condition, for which layers go back to float"
        )
    difference = search.best.gain_over(measured)
    assert difference is not None  # both have the figure
    gate = Gate(
        source=yardstick.source,
        figure=yardstick.figure,
        images=yardstick.images,
        is_labelled=yardstick.is_labelled,
        before=before,
        after=search.chosen.value,
        difference=difference,
        trials=tuple(search.trials),
        chosen=search.chosen,
    )
    method, returned = search.chosen.method, search.chosen.float_layers
    return _result(quantiser, frames, settings, method, returned, gate, steps, warnings)


def _prepared(
    model: FloatModel, frames: CalibrationSet, settings: Settings, cache: Cache, progress: Progress
) -> tuple[Quantiser, Steps]:
    """Pixels read as they are, channels equalised, loud layers spared and weights rounded together.

    Channels and weights where that is quieter.
    """
    whole = read_whole_pixels(model)
    equal, equalisation = equalise_if_quieter(whole, frames, settings, cache, progress)
    ready, spared = spare_loud_layers(equal, frames, settings, cache, progress)
    rounded, rounding = round_together_if_quieter(ready, frames, settings, cache, progress)
    return Quantiser(ready, frames, settings, cache, progress, rounded), (equalisation, spared, rounding)


def _result(
    quantiser: Quantiser,
    frames: CalibrationSet,
    settings: Settings,
    method: Method,
    count: int,
    gate: Gate | None,
    steps: Steps,
    warnings: list[str],
) -> Quantised:
    """The finished model, checked, with the worst ``count`` layers in float."""
    model, source = quantiser.model, quantiser.model.manifest
    returned = quantiser.order(method)[:count] if count else ()
    equalisation, spared, rounding = steps
    layers, limits = quantiser.without(method, count), quantiser.limits(method)
    graph = quantiser.graph(method, layers)
    check_qdq(graph, source.name)
    check(graph, source.name)
    check_keeps_objects(model, SimulatedEngine(graph, source), frames)
    share = int8_share(layers, model.convolutions)
    facts = CalibrationFacts(
        method=method,
        frames=len(frames.frames),
        frames_sha256=frames.hash,
        float_sha256=model.sha256,
        int8_share=round(share, 4),
        float_layers=tuple(one.layer.name for one in (*spared, *returned)),
    )
    # The float model's figures are not this file's.
    figures = {gate.figure: round(gate.after, 4)} if gate is not None and gate.is_labelled else {}
    used = {layer.data for layer in layers}
    return Quantised(
        graph=graph,
        manifest=msgspec.structs.replace(
            source, precision="int8", calibration=facts, figures=figures, ranges={}
        ),
        layers=layers,
        spared=spared,
        returned=returned,
        method=method,
        noises=quantiser.noises(),
        thresholds={name: limit for name, limit in limits.items() if name in used},
        statistics=quantiser.extremes(),
        gate=gate,
        equalisation=equalisation,
        rounding=rounding,
        warnings=(
            *image_warnings(frames.batches(8)),
            *warnings,
            *_few(len(frames.frames), share, settings),
        ),
    )


def _compare_domain(
    quantiser: Quantiser, frames: CalibrationSet, yardstick: Yardstick, progress: Progress
) -> list[str]:
    """A warning where the labelled images are of another kind than the frames."""
    manifest = quantiser.model.manifest
    size = (manifest.input_width, manifest.input_height)
    images = [
        Letterbox.fit(one.shape[1], one.shape[0], *size, manifest.resize).image(one)
        for one in yardstick.sample(_DOMAIN_PICTURES)
    ]
    if not images:
        return []
    extremes = quantiser.extremes()
    few = np.stack(images[::_REACH_EVERY])
    with progress("comparing with the labelled images", len(few)) as on_done:
        seen = measure_ranges(
            quantiser.model.graph,
            list(extremes),
            lambda: [few],
            False,
            on_done,
            lambda place: f"labelled image {place + 1} of {len(few)} that were compared",
        )
    single = (frame for batch in frames.batches(8) for frame in batch)
    return [
        *domain_warnings(extremes, seen, yardstick.source),
        *shift_warnings(single, images, manifest.resize.fill, yardstick.source),
    ]


def _uncovered(yardstick: Yardstick, measured: Measurement) -> list[str]:
    """A warning where classes have too few labels to be in the figure that the budget is of."""
    names = measured.uncounted if yardstick.is_labelled else ()
    if not names:
        return []
    more = f" and {len(names) - _NAMED} other classes" if len(names) > _NAMED else ""
    return [
        f"too few labels of {', '.join(names[:_NAMED])}{more} in {yardstick.source}: {yardstick.figure} and "
        "its budget do not cover them"
    ]


def _few(frames: int, share: float, settings: Settings) -> list[str]:
    lines = []
    if frames < 100:
        lines.append(f"{frames} calibration frames are few; 300 or more are recommended")
    if share < settings.min_share:
        grouped = " and convolutions in groups" if settings.weight_scale == "tensor" else ""
        lines.append(
            f"{share:.0%} of the convolution work is in int8: the heads{grouped} are float and hold the rest"
        )
    return lines


def _trial_line(trial: Trial, yardstick: Yardstick, settings: Settings) -> str:
    within = "within" if trial.drop <= settings.max_drop else "over"
    back = f", {trial.float_layers} layers put back to float" if trial.float_layers else ""
    return (
        f"int8 by {trial.method}{back}: {yardstick.figure} {trial.value:.4f}, a drop of {trial.drop:.4f}, "
        f"{within} the budget of {settings.max_drop:g}"
    )


def _out_of_budget(
    yardstick: Yardstick, before: float, search: Search[Measurement], settings: Settings
) -> str:
    best = min(search.trials, key=lambda trial: trial.drop)
    whole = ", ".join(f"{trial.method} {trial.drop:.4f}" for trial in search.trials if not trial.float_layers)
    another = "" if settings.method == "auto" else "`method` auto, "
    return (
        f"no int8 model within the budget: {yardstick.figure} fell by {best.drop:.4f} at best, from "
        f"{before:.4f} to {best.value:.4f}, by {best.method} with {best.float_layers} layers in float "
        f"and {best.share:.0%} of the work in int8, but `max_drop` is {settings.max_drop:g} (drop with no "
        f"layer in float: {whole}); nothing is written. Try {another}more frames, a greater `max_drop`, or a "
        f"`min_share` below {settings.min_share:g}"
    )
