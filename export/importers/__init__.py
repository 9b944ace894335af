"""Other people's detectors, from their ONNX files into the contract. Needs onnx, never torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.contract.manifest import Manifest
from edgevision.errors import UsageError, nearest
from edgevision.export.importers import picodet, yolo
from edgevision.export.importers.core import load_core
from edgevision.graph.compose import compose, save_model

KINDS = ("picodet", "yolo")
"""Whose files :func:`import_model` takes."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote.

    Attributes:
        manifest: the contract, as stored.
        batch: images that the graph takes at once; None for any number.
        notes: what was read from the numbers that the network answers, one line each.
    """

    manifest: Manifest
    batch: int | None
    notes: tuple[str, ...] = ()


def import_model(
    path: Path,
    kind: str,
    out: Path,
    *,
    classes: tuple[str, ...] | None = None,
    name: str | None = None,
    licence: str | None = None,
) -> Imported:
    """Wraps a detector's ONNX file into the contract: uint8 frames in, boxes after NMS out.

    Args:
        path: the ONNX file as its own project exported it.
        kind: one of :data:`KINDS`.
        out: the file to write.
        classes: names in the order of the model's outputs; None takes those that the file carries.
        name: of the model; that of ``out`` by default.
        licence: one line for the manifest; what the file says of itself by default.

    Raises:
        ModelError: the file is missing, damaged, or not an ONNX model.
        ExportError: its inputs or outputs are not those of the kind, or their numbers are not.
        UsageError: there is no such kind, or the class names are missing or do not fit.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{nearest(kind, KINDS) or ''}; choose {' or '.join(KINDS)}")
    core = load_core(path)
    wrap = picodet.wrap if kind == "picodet" else yolo.wrap
    wrapping = wrap(core, name or out.stem, classes, licence)
    model = compose(core.model, wrapping.before, wrapping.after, wrapping.manifest, core.batch)
    return Imported(save_model(model, out, wrapping.manifest), core.batch, wrapping.notes)
