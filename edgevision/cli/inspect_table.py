"""An inspection for people: a few short tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgevision.contract.manifest import CalibrationFacts, Manifest
from edgevision.engines.trt.plan import PlanInfo
from edgevision.export.inspect_file import Inspection

if TYPE_CHECKING:
    from edgevision.graph.summary import GraphSummary

_HEADINGS = {"int8": "INT8", "fp16": "FP16", "fp32": "FP32", "other": "other"}
_NVIDIAS = {"Int8": "int8", "Half": "fp16", "Float": "fp32"}
_KINDS = {
    "correlation": "convolution",
    "CaskConvolution": "convolution",
    "CaskGemmConvolution": "convolution",
    "CaskDeconvolution": "convolution",
    "kgen": "generated kernel",
    "shape_call": "shape arithmetic",
}
"""What some of TensorRT's own words for kinds of layers mean; TensorRT for RTX has others than TensorRT."""
_SHOWN_CLASSES = 8


def show(found: Inspection, console: Console) -> None:
    """Prints what was found; notes and problems come last, where they are seen."""
    rows = [("file", f"{found.path}, {found.size / 1e6:.1f} MB")]
    if found.manifest is not None:
        rows += _contract(found.manifest)
    rows += [("inputs" if i == 0 else "", text) for i, text in enumerate(found.inputs)]
    rows += [("outputs" if i == 0 else "", text) for i, text in enumerate(found.outputs)]
    if found.plan is not None:
        rows += _plan(found.plan)
    if found.graph is not None:
        rows += _graph(found.graph)
    _print_rows(rows, console)
    if found.graph is not None:
        _print_counts("operator", {entry.operator: entry.nodes for entry in found.graph.operators}, console)
    if found.plan is not None and found.plan.layers:
        _print_counts("layer", _plan_layers(found.plan), console)
    for note in found.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)  # its command can be copied
    problems = found.graph.problems if found.graph is not None else ()
    for problem in problems:
        console.print(Text(f"TensorRT would refuse {problem}"), soft_wrap=True)


_OVERLAPS = {"iou": "IoU", "probiou": "ProbIoU"}


def _contract(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "model", f"{manifest.name}, {manifest.task}, {manifest.precision.upper()}"
    names = ", ".join(manifest.classes[:_SHOWN_CLASSES])
    rest = len(manifest.classes) - _SHOWN_CLASSES
    yield "classes", f"{len(manifest.classes)}: {names}" + (f" and {rest} more" if rest > 0 else "")
    resize = manifest.resize
    place = "" if resize.place == "centre" else f" at the {resize.place}"
    fill = f"{place}, filled with {resize.fill}" if resize.rule == "letterbox" else ""
    yield (
        "input",
        f"{manifest.input_width}x{manifest.input_height}, {resize.rule}{fill}, {resize.interpolation}",
    )
    if manifest.max_detections is not None:
        yield (
            "detections",
            f"{manifest.max_detections} at most, with a score of {manifest.score_threshold} or more",
        )
    masks, skeleton = manifest.masks, manifest.skeleton
    if masks is not None:
        of = f" of {masks.channels} prototypes" if masks.channels else f" over the {masks.form}"
        yield "masks", f"{masks.width}x{masks.height}{of}, above {masks.threshold:g}"
    if skeleton is not None:
        yield "key points", f"{len(skeleton.names)}: {', '.join(skeleton.names)}"
    if manifest.task == "classification":
        yield "labels", "several for each image" if manifest.multi_label else "one for each image"
    if manifest.class_thresholds:
        own = ", ".join(f"{name} {value:.3g}" for name, value in manifest.class_thresholds.items())
        yield "thresholds", own
    nms = manifest.nms
    if nms is not None and nms.form == "none":
        yield "NMS", "none: the network's outputs need none"
    elif nms is not None:
        yield (
            "NMS",
            f"above {_OVERLAPS[nms.overlap]} {nms.iou_threshold}; exact for the best {nms.candidates} boxes "
            f"and chains of up to {nms.rounds}",
        )
    if manifest.heads:
        yield "heads", ", ".join(manifest.heads)
    if manifest.calibration is not None:
        yield "calibrated", _calibration(manifest.calibration)
    if manifest.figures:
        yield "figures", ", ".join(f"{name} {value:.4g}" for name, value in manifest.figures.items())
    yield "trained on", manifest.training_data or "not stated"
    yield "licence", manifest.licence or "not stated"
    yield "SHA-256", f"{manifest.sha256 or 'not stated'} (without metadata)"


def _calibration(facts: CalibrationFacts) -> str:
    kept = facts.float_layers
    back = f"; put back to float: {', '.join(kept)}" if kept else ""
    return (
        f"{facts.method} over {facts.frames} frames, {facts.int8_share:.1%} of the convolution work in INT8"
        f"{back}; from the FP32 model {facts.float_sha256[:12]}"
    )


def _plan(info: PlanInfo) -> Iterator[tuple[str, str]]:
    yield "plan", info.describe()
    host = info.host
    where = f" on {info.gpu}" if info.gpu else " without a GPU"
    yield (
        "built",
        f"{info.built_at}{where} in {info.build_seconds:.1f} s, {host.system} {host.machine}, "
        f"Python {host.python}, edgevision {host.edgevision}",
    )
    yield "built from", f"{info.onnx_name}, SHA-256 {info.onnx_sha256}"
    if info.workspace_mib is not None:
        yield "workspace", f"{info.workspace_mib} MiB at most"
    if info.dla_fallback:
        yield (
            "on the GPU",
            f"{len(info.dla_fallback)} layers that the DLA lacks: {', '.join(info.dla_fallback)}",
        )


def _graph(graph: GraphSummary) -> Iterator[tuple[str, str]]:
    yield "graph", f"opset {graph.opset}, IR {graph.ir_version}, by {graph.producer or 'an unknown tool'}"
    if graph.network:
        around = {name: count - graph.network.get(name, 0) for name, count in graph.nodes.items()}
        rest = {name: count for name, count in around.items() if count}
        yield "nodes", f"the network: {_counted(graph.network)}; preparing and decoding: {_counted(rest)}"
    yield "parameters", f"{graph.parameters / 1e6:.2f} million"
    total = sum(graph.macs.values())
    if total:
        shares = (f"{macs / total:.1%} {_HEADINGS[name]}" for name, macs in graph.macs.items())
        yield "convolutions", f"{total / 1e9:.3g} billion multiplications an image: {', '.join(shares)}"


def _counted(nodes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {_HEADINGS[name]}" for name, count in nodes.items())


def _plan_layers(info: PlanInfo) -> dict[str, Mapping[str, int]]:
    kinds: dict[str, Counter[str]] = {}
    for layer in info.layers:
        kinds.setdefault(_KINDS.get(layer.kind, layer.kind), Counter())[
            _NVIDIAS.get(layer.precision, "other")
        ] += 1
    return dict(sorted(kinds.items(), key=lambda entry: (-sum(entry[1].values()), entry[0])))


def _print_rows(rows: Iterable[tuple[str, str]], console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(Text(label), Text(text))  # Text: names with brackets are no markup
    console.print(table)


def _print_counts(what: str, counts: Mapping[str, Mapping[str, int]], console: Console) -> None:
    present = [name for name in _HEADINGS if any(row.get(name) for row in counts.values())]
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    table.add_column(what, footer="all")
    for name in present:
        total = sum(row.get(name, 0) for row in counts.values())
        table.add_column(_HEADINGS[name], footer=str(total), justify="right")
    for label, row in counts.items():
        table.add_row(Text(label), *(str(row.get(name, "")) for name in present))
    console.print()
    console.print(table)
    console.print()
