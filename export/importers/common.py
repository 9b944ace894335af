"""What every import needs: class names, the contract, and well-formed boxes."""

from __future__ import annotations

import ast

import numpy as np
from onnx import TensorProto, helper

from edgevision.contract.manifest import INPUT_NAME, Manifest, NmsLimits, Resize
from edgevision.errors import UsageError
from edgevision.export.importers.core import Core
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.preprocessing import add_preprocessing

SCORE_THRESHOLD = 0.05
MAX_DETECTIONS = 100
CANDIDATES = 300
ROUNDS = 16


def class_names(core: Core, wanted: tuple[str, ...] | None, count: int | None) -> tuple[str, ...]:
    """The names of the classes: as given, else as the file has them in its ``names`` note.

    Args:
        core: the network.
        wanted: names that the user gives.
        count: classes that the outputs show; None where they do not.

    Raises:
        UsageError: there are none, or their number does not fit.
    """
    noted = _noted_names(core)
    count = count or (len(noted) if noted else None)
    names, source = (wanted, "`classes`") if wanted is not None else (noted, "the file's own list")
    if names is None:
        found = f"{count} classes" if count else "classes"
        hint = "coco, or " if count in (80, None) else ""
        raise UsageError(
            f"{core.origin} has {found} and no names for them; pass `classes` with {hint}a file of names"
        )
    if count and len(names) != count:
        raise UsageError(f"{core.origin} has {count} classes, but {source} has {len(names)} names")
    return names


def _noted_names(core: Core) -> tuple[str, ...] | None:
    """Class names from the ``names`` note that YOLO exporters leave: ``{0: 'person', 1: 'car'}``."""
    try:
        names = ast.literal_eval(core.metadata.get("names", ""))
    except (ValueError, SyntaxError):
        return None
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            return None
        names = [names[i] for i in range(len(names))]
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def detector_manifest(
    core: Core, name: str, classes: tuple[str, ...], resize: Resize, nms: NmsLimits, licence: str | None
) -> Manifest:
    """The contract of an imported detector."""
    noted = core.metadata.get("license") or core.metadata.get("licence")
    return Manifest(
        name=name,
        task="detection",
        classes=classes,
        input_width=core.width,
        input_height=core.height,
        resize=resize,
        score_threshold=SCORE_THRESHOLD,
        nms=nms,
        max_detections=min(MAX_DETECTIONS, nms.candidates),
        heads=tuple(output.name for output in core.outputs),
        training_data="not stated by the imported file",
        licence=licence or noted or "not stated by the imported file: ask where it came from before use",
    )


def add_input(g: GraphBuilder, core: Core, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """From ``frames`` to the core's input, in its own type."""
    if core.dtype == np.float32:
        add_preprocessing(g, INPUT_NAME, core.input, mean, std)
        return
    add_preprocessing(g, INPUT_NAME, f"{g.prefix}float", mean, std)
    g("Cast", f"{g.prefix}float", out=core.input, to=helper.np_dtype_to_tensor_dtype(core.dtype))


def as_float(g: GraphBuilder, core: Core, tensor: str) -> str:
    """A core's output as float32."""
    return tensor if core.dtype == np.float32 else g("Cast", tensor, to=TensorProto.FLOAT)


def add_cut(g: GraphBuilder, low: str, high: str, core: Core) -> str:
    """Corners ``[N, M, 2]`` and ``[N, M, 2]`` to boxes ``[N, M, 4]`` inside the input, never inverted."""
    limits = g.constant([core.width, core.height], np.float32)
    zero = g.constant(0.0, np.float32)
    low = g("Min", g("Max", low, zero), limits)
    return g("Concat", low, g("Max", g("Min", high, limits), low), axis=2)


def add_best_class(g: GraphBuilder, scores: str) -> tuple[str, str]:
    """``[N, M, C]`` to the best score ``[N, M]`` and its class, int64 ``[N, M]``."""
    return g("ReduceMax", scores, g.ints(2), keepdims=0), g("ArgMax", scores, axis=2, keepdims=0)
