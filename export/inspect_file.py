"""What ``edgevision inspect`` finds out about a file, before it is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgevision.contract.manifest import Manifest, TensorSpec
from edgevision.contract.model_file import content_sha256, read_manifest
from edgevision.engines.trt.plan import PlanInfo, check_plan, read_plan_info
from edgevision.errors import EngineMismatchError, ManifestError
from edgevision.extras import install_command
from edgevision.suffixes import PLAN_SUFFIXES

if TYPE_CHECKING:
    from edgevision.graph.summary import GraphSummary


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a model file.

    Attributes:
        path: as it was found.
        size: bytes.
        manifest: its contract, or None where it is not one of ours.
        inputs, outputs: one text each: ``frames uint8 [N, 384, 384, 3]``.
        graph: what an ONNX file consists of; None for plans, and where onnx is not installed.
        plan: what a plan was built with; None for ONNX files.
        notes: what is wrong or missing, one line each.
    """

    path: str
    size: int
    manifest: Manifest | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    graph: GraphSummary | None = None
    plan: PlanInfo | None = None
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def inspect_file(path: Path) -> Inspection:
    """Looks into an ONNX file or a plan.

    Raises:
        ModelError: it is missing, damaged, or neither.
    """
    return _inspect_plan(path) if path.suffix.lower() in PLAN_SUFFIXES else _inspect_onnx(path)


def _inspect_plan(path: Path) -> Inspection:
    info = read_plan_info(path)
    notes = []
    try:
        check_plan(path, info)
    except EngineMismatchError as error:
        notes.append(str(error))
    inputs, outputs = _promised(info.manifest)
    size = path.stat().st_size
    return Inspection(
        path=str(path),
        size=size,
        manifest=info.manifest,
        inputs=inputs,
        outputs=outputs,
        plan=info,
        notes=tuple(notes),
    )


def _inspect_onnx(path: Path) -> Inspection:
    notes = []
    manifest = None
    try:
        manifest = read_manifest(path)
    except ManifestError as error:
        notes.append(str(error))
    if manifest is not None and manifest.sha256 and content_sha256(path) != manifest.sha256:
        notes.append("its content differs from the checksum in its metadata: it is damaged or was edited")
    graph = None
    try:
        import onnx  # noqa: F401  # a device may lack it
    except ModuleNotFoundError:
        notes.append(f"layers are not shown: onnx is not installed; run: {install_command('export')}")
    except ImportError as error:
        notes.append(f"layers are not shown: onnx cannot be loaded ({error})")
    else:
        graph = _summary(path, () if manifest is None else manifest.heads)
    if graph is not None:
        inputs, outputs = (tuple(map(str, tensors)) for tensors in (graph.inputs, graph.outputs))
    else:
        inputs, outputs = _promised(manifest)
    return Inspection(
        path=str(path),
        size=path.stat().st_size,
        manifest=manifest,
        inputs=inputs,
        outputs=outputs,
        graph=graph,
        notes=tuple(notes),
    )


def _summary(path: Path, heads: tuple[str, ...]) -> GraphSummary:
    from edgevision.graph.load import load_onnx
    from edgevision.graph.summary import summarise

    return summarise(load_onnx(path, weights=False), heads)


def _promised(manifest: Manifest | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if manifest is None:
        return (), ()
    specs: tuple[TensorSpec, ...] = manifest.output_specs()
    return (str(manifest.input_spec()),), tuple(map(str, specs))
