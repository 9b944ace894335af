"""What every import needs: class names, the contract, and well-formed boxes."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision.contract.manifest import INPUT_NAME, Manifest, NmsLimits, Resize
from edgevision.errors import UsageError
from edgevision.export.importers.core import Core, Tensor
from edgevision.export.importers.numbers import boxes_are_shares, score_kind
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.preprocessing import add_preprocessing

SCORE_THRESHOLD = 0.05
MAX_DETECTIONS = 100
CANDIDATES = 300
ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What goes around a network.

    Attributes:
        before: nodes from ``frames`` to its input.
        after: nodes from its outputs to the contract's.
        manifest: the contract.
        notes: what was read from its numbers and not from its shapes, one line each, for the user.
    """

    before: GraphBuilder
    after: GraphBuilder
    manifest: Manifest
    notes: tuple[str, ...] = ()


def class_names(core: Core, wanted: tuple[str, ...] | None, count: int | None) -> tuple[str, ...]:
    """The names of the classes: as given, else as the file has them in its ``names`` note.

    Args:
        core: the network.
        wanted: names that the user gives.
        count: classes that the outputs show; None where they do not.

    Raises:
        UsageError: there are none, or their number does not fit.
    """
    noted = None if wanted is not None else _noted_names(core)
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
    """Class names from the ``names`` note that exporters leave: ``{0: 'person', 1: 'car'}``, or as JSON.

    JSON has text for keys: ``{"0": "person", "1": "car"}``.

    Raises:
        UsageError: a name is empty or given twice.
    """
    names = _parsed(core.metadata.get("names", ""))
    if isinstance(names, dict):
        keyed = {int(key): name for key, name in names.items() if str(key).isdecimal()}
        if len(keyed) != len(names) or sorted(keyed) != list(range(len(names))):
            return None
        names = [keyed[i] for i in range(len(names))]
    if not isinstance(names, list | tuple):
        return None
    texts = tuple(str(name).strip() for name in names)
    for position, text in enumerate(texts):
        if not text or text in texts[:position]:
            wrong = f"'{text}', as is number {texts.index(text)}" if text else "empty"
            raise UsageError(
                f"{core.origin}: the class name number {position} in its own list is {wrong}; pass `classes` "
                f"with {len(texts)} different names"
            )
    return texts


def _parsed(text: str) -> object:
    """A note that is a Python literal or JSON; None for any other."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


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


def as_float(g: GraphBuilder, tensor: Tensor) -> str:
    """A core's output as float32."""
    return tensor.name if tensor.dtype == np.float32 else g("Cast", tensor.name, to=TensorProto.FLOAT)


def as_probabilities(
    g: GraphBuilder, core: Core, scores: str, answers: NDArray[Any]
) -> tuple[str, tuple[str, ...]]:
    """Class scores as probabilities, through a sigmoid where they are logits, and a note if so.

    Args:
        g: where the nodes go.
        core: the network.
        scores: the tensor.
        answers: its values for the probe images.

    Raises:
        ExportError: they are neither.
    """
    if score_kind(answers, core.origin) == "probabilities":
        return scores, ()
    low, high = float(answers.min()), float(answers.max())
    note = f"its class scores are logits ({low:.3g} to {high:.3g} on the probe images): a sigmoid is applied"
    return g("Sigmoid", scores), (note,)


def as_pixels(g: GraphBuilder, core: Core, boxes: str, answers: NDArray[Any]) -> tuple[str, tuple[str, ...]]:
    """Boxes ``[N, M, 4]`` in pixels, scaled where they are shares of the input, and a note if so.

    Args:
        g: where the nodes go.
        core: the network.
        boxes: the tensor; x and y alternate.
        answers: its values for the probe images.
    """
    if not boxes_are_shares(answers, (core.height, core.width)):
        return boxes, ()
    size = g.constant([core.width, core.height, core.width, core.height], np.float32)
    note = (
        f"its boxes are shares of the input (up to {float(answers.max()):.3g} on the probe images): "
        f"scaled to {core.width}x{core.height} pixels"
    )
    return g("Mul", boxes, size), (note,)


def add_cut(g: GraphBuilder, low: str, high: str, core: Core) -> str:
    """Corners ``[N, M, 2]`` and ``[N, M, 2]`` to boxes ``[N, M, 4]`` inside the input, never inverted."""
    limits = g.constant([core.width, core.height], np.float32)
    zero = g.constant(0.0, np.float32)
    low = g("Min", g("Max", low, zero), limits)
    return g("Concat", low, g("Max", g("Min", high, limits), low), axis=2)


def add_best_class(g: GraphBuilder, scores: str) -> tuple[str, str]:
    """``[N, M, C]`` to the best score ``[N, M]`` and its class, int64 ``[N, M]``."""
    return g("ReduceMax", scores, g.ints(2), keepdims=0), g("ArgMax", scores, axis=2, keepdims=0)
