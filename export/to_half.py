"""A model of the contract at another precision: the same inputs, outputs and answers, another core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevision.contract.manifest import Manifest, Precision
from edgevision.contract.model_file import read_sound_manifest
from edgevision.errors import ExportError, UsageError
from edgevision.export.half_probe import (
    agreement_db,
    core_floats,
    fixed_batch,
    probe_frames,
    run_core,
    with_rounding,
)
from edgevision.graph.compose import check, save_model
from edgevision.graph.half import to_half
from edgevision.graph.load import load_onnx

# Rounding to FP16 leaves 40 dB or more. In an int8 network it also moves values over the edges of
# quantisation steps, by as much as these cost anyway (12 dB in the worst head of the shipped detector), so
# there only a large fault can be seen.
_LEAST_AGREEMENT_DB: dict[Precision, float] = {"fp32": 25.0, "int8": 3.0}
_DERIVED: dict[Precision, Precision] = {"fp32": "fp16", "int8": "int8+fp16"}


@dataclass(frozen=True, slots=True)
class HalfModel:
    """What :func:`export_half` wrote.

    Attributes:
        manifest: as stored.
        kept: one line for each node of the core that stays in FP32, and why.
        peak: greatest magnitude in the core on the probe frames; FP16 ends at 65504.
        agreement_db: signal to rounding noise of the worst head on the probe frames.
    """

    manifest: Manifest
    kept: tuple[str, ...]
    peak: float
    agreement_db: float


def export_half(source: Path, out: Path) -> HalfModel:
    """Writes a model whose core computes in FP16, and what was quantised stays int8.

    Values are measured on frames made by a seed: layers that reach beyond FP16's range stay in FP32. The
    figures in the contract stay those of the source.

    Args:
        source: an ONNX file of the contract, FP32 or INT8.
        out: the file to write.

    Raises:
        ModelError: the source cannot be read or is not one of ours.
        UsageError: it is FP16 already.
        ExportError: it cannot become FP16, or its answers change by more than rounding.
        SinkError: the file cannot be written.
    """
    manifest = read_sound_manifest(source)
    derived = _DERIVED.get(manifest.precision)
    if derived is None:
        raise UsageError(f"{source} is {manifest.precision.upper()} already; use it as it is")
    if not manifest.heads:
        raise ExportError(
            f"{source}: its contract names no head tensors, where FP16 would end; export it again"
        )
    model = load_onnx(source)
    frames = probe_frames(manifest, fixed_batch(model))
    try:
        before = run_core(model, manifest.heads, frames, core_floats(model, manifest.heads))
        half, kept = to_half(model, manifest.heads, before.peaks)
        check(half, manifest.name)
        agreement = agreement_db(before.heads, run_core(with_rounding(half), manifest.heads, frames).heads)
    except ExportError as error:
        raise ExportError(f"{source}: {error}") from error
    least = _LEAST_AGREEMENT_DB[manifest.precision]
    if agreement < least:
        raise ExportError(
            f"{source}: in FP16 its heads agree with the source to {agreement:.0f} dB only; expected "
            f"{least:.0f} or more; keep it at {manifest.precision.upper()}"
        )
    stored = save_model(half, out, msgspec.structs.replace(manifest, precision=derived))
    return HalfModel(stored, kept, max(before.peaks.values()), agreement)
