"""The report card for people."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.calibration.agreement import PREDICTS
from edgevision.calibration.outcome import Equalisation, Rounding
from edgevision.calibration.ranges import Method
from edgevision.calibration.report import CalibrationReport, GateCard, LayerCard, RangeCard

_WIDEST = 10


def render_markdown(report: CalibrationReport) -> str:
    """The report as Markdown; every range is in the JSON, here are the widest."""
    parts = [
        f"# {report.int8_file}",
        f"{verdict(report)}.",
        *_warnings(report),
        "## What it is",
        _facts(report),
        *([] if report.gate is None else ["## Accuracy", _gate(report, report.gate)]),
        "## Ranges by method",
        _methods(report),
        "## Layers in float",
        _layers(report.float_layers),
        "## Speed on this machine",
        _speed(report),
        f"## The {min(_WIDEST, len(report.ranges))} widest ranges of {len(report.ranges)}",
        _ranges(report.ranges),
        "## Again",
        f"    {report.command}",
    ]
    return "\n\n".join(parts) + "\n"


def verdict(report: CalibrationReport) -> str:
    """The outcome in one line."""
    work = f"{report.int8_share:.1%} of the convolution work in int8"
    if report.gate is None:
        return f"{work}; accuracy was not measured (no labelled data)"
    if not report.gate.is_labelled:
        return f"{work}; {_drop(report.gate)}; measured against the float model, not on labels"
    return f"{work}; {_drop(report.gate)}"


def _drop(gate: GateCard) -> str:
    change = gate.difference
    return (
        f"{gate.figure} {gate.float_value:.4f} in float, {gate.int8_value:.4f} in int8: a drop of "
        f"{-change.value:.4f} (95 % interval {-change.high:.4f} to {-change.low:.4f}), "
        f"{'over the ' if gate.float_value - gate.int8_value > gate.max_drop else ''}budget {gate.max_drop:g}"
    )


def _warnings(report: CalibrationReport) -> list[str]:
    return ["\n".join(f"- **Warning:** {line}" for line in report.warnings)] if report.warnings else []


def _facts(report: CalibrationReport) -> str:
    auto = ", chosen by `auto`" if report.asked_method == "auto" else ""
    frames = f"over {report.frames} frames (`{report.frames_sha256[:12]}`)"
    scaled = "channel of weights" if report.weight_scale == "channel" else "tensor of weights"
    rows = [
        ("Model", f"{report.model}, from `{report.float_file}` (`{report.float_sha256[:12]}`)"),
        ("Convolutions in int8", f"{report.int8_convolutions} of {report.convolutions}"),
        ("Convolution work in int8", f"{report.int8_share:.1%}"),
        ("Size", f"{report.float_bytes / 1e6:.2f} MB to {report.int8_bytes / 1e6:.2f} MB"),
        ("Ranges", f"{_method(report, report.method)}{auto}, {frames}"),
        ("Frames from", ", ".join(f"`{source}`" for source in report.sources)),
        ("Form", f"symmetric int8, a scale for each {scaled}, zero points 0, Q/DQ nodes"),
    ]
    if report.rounding is not None:
        rows.insert(5, ("Weights", _rounded(report.rounding)))
    if report.equalisation is not None:
        rows.insert(5, ("Channels", _equalised(report.equalisation)))
    return _table(("", ""), rows)


def _equalised(found: Equalisation) -> str:
    verb = "equalised" if found.is_taken else "left as they are: equalised they are no quieter"
    return (
        f"of {found.tensors} tensors {verb} ({found.before_db:.1f} dB at the heads without, "
        f"{found.after_db:.1f} dB with it)"
    )


def _rounded(found: Rounding) -> str:
    verb = "rounded together" if found.is_taken else "at their nearest steps: together is no quieter"
    return f"{verb} ({found.before_db:.1f} dB at the heads without, {found.after_db:.1f} dB with it)"


def _method(report: CalibrationReport, method: Method) -> str:
    """A method of choosing ranges, with its setting."""
    return f"{method} {report.percentile:g}" if method in ("peak", "percentile") else method


def _gate(report: CalibrationReport, gate: GateCard) -> str:
    rows = [
        (
            _method(report, trial.method),
            str(trial.float_layers),
            f"{trial.share:.1%}",
            f"{trial.value:.4f}",
            f"{trial.drop:+.4f}",
            "this file" if i == gate.chosen else "",
        )
        for i, trial in enumerate(gate.trials)
    ]
    change = gate.difference
    stand_in = (
        ""
        if gate.is_labelled
        else f"Nothing is labelled: the float model's own answers stand in for labels. {PREDICTS}\n\n"
    )
    text = stand_in + (
        f"Measured on {gate.images} images of `{gate.data}` through the runtime's own detector, the int8 "
        "graph computed as written (no kernel of this CPU's that saturates). Interval: paired bootstrap, "
        f"{change.resamples} resamples. Ranges and layers put back were chosen on these images: a set "
        "that the gate never saw may show a little more.\n\n"
    )
    return text + _table(("Ranges", "Layers put back", "Work in int8", gate.figure, "Drop", ""), rows)


def _methods(report: CalibrationReport) -> str:
    rows = [
        (
            _method(report, one.method),
            "no noise" if one.sqnr_db is None else f"{one.sqnr_db:.1f} dB",
            "not evaluated" if one.drop is None else f"{one.drop:+.4f}",
            "this file" if one.method == report.method else "",
        )
        for one in report.methods
    ]
    return (
        "With every layer in int8 that may be. Signal over noise at the heads, on a few of the frames, needs "
        "no labels: the higher, the less int8 changes.\n\n"
    ) + _table(("Ranges", "Signal over noise", "Drop", ""), rows)


def _layers(layers: tuple[LayerCard, ...]) -> str:
    if not layers:
        return "None."
    rows = [
        (
            f"`{layer.module}`",
            f"`{layer.name}`",
            layer.shape,
            f"{layer.share:.2%}",
            "" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB",
            layer.why,
        )
        for layer in layers
    ]
    return _table(("Layer", "Its output", "Shape", "Work", "Alone in int8", "Why"), rows)


def _speed(report: CalibrationReport) -> str:
    if not report.speed:
        return "Not measured."
    rows = [
        (one.engine, f"{one.float_ms:.1f} ms", f"{one.int8_ms:.1f} ms", f"{one.float_ms / one.int8_ms:.2f}")
        for one in report.speed
    ]
    return _table(("Engine", "Float", "Int8", "Times as fast"), rows) + (
        "\n\nMedian for one image at a time. What a GPU gains is not seen here."
    )


def _ranges(ranges: tuple[RangeCard, ...]) -> str:
    widest = sorted(ranges, key=lambda one: -one.limit)[:_WIDEST]
    rows = [
        (f"`{one.name}`", f"{one.low:.3g} to {one.high:.3g}", f"{one.limit:.3g}", f"{one.scale:.3g}")
        for one in widest
    ]
    return _table(("Tensor", "Seen", "Held by int8", "One step"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |" for line in lines)
