"""``edgevision export``: from a checkpoint to a model file that runs everywhere, in FP32 or FP16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgevision.cli.app import name_options
from edgevision.cli.options import OnnxOutOption, OverwriteOption, check_onnx_out

if TYPE_CHECKING:
    from edgevision.contract.manifest import Manifest
    from edgevision.export.to_half import HalfModel


def export_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint of 'edgevision train', such as runs/NAME/best.pt. With --precision fp16 "
            "also a model file of edgevision (FP32, or INT8 of 'edgevision calibrate'), or the name of one "
            "that ships.",
        ),
    ],
    out: OnnxOutOption,
    precision: str = typer.Option(
        "fp32",
        "--precision",
        help="fp32, or fp16: the network in FP16; preprocessing, decoding and NMS stay in FP32.",
    ),
    thresholds: Annotated[
        Path | None,
        typer.Option(
            "--thresholds",
            help="Of a checkpoint of several labels: the --json of an evaluation, whose best threshold "
            "of each class is kept in the file; a run goes by them in place of --conf.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a trained model as one ONNX file: preprocessing, decoding and NMS are inside it.

    \b
    Examples:
      edgevision export runs/retinanet-light/best.pt --out retinanet-light.onnx
      edgevision export runs/multi-label/best.pt --thresholds chosen.json --out multi-label.onnx
      edgevision export retinanet-light.onnx --precision fp16 --out retinanet-light.fp16.onnx
    """
    from edgevision.errors import UsageError, nearest
    from edgevision.files import refuse_existing
    from edgevision.suffixes import CHECKPOINT_SUFFIXES

    known = ("fp32", "fp16")
    if precision not in known:
        hint = nearest(precision, known) or "; choose fp32 or fp16 (int8 is made by 'edgevision calibrate')"
        raise UsageError(f"unknown precision '{precision}'{hint}")
    check_onnx_out(out)
    refuse_existing(out, overwrite)
    if Path(source).suffix.lower() in CHECKPOINT_SUFFIXES:
        _export_checkpoint(Path(source), out, precision, thresholds)
    elif thresholds is not None:
        raise UsageError(f"--thresholds goes with a checkpoint (.pt) of several labels; found {source}")
    else:
        _export_model(source, out, precision)


def _export_checkpoint(checkpoint: Path, out: Path, precision: str, thresholds: Path | None) -> None:
    import tempfile

    from edgevision.extras import needs_extra

    with needs_extra("train"):
        from edgevision.evaluation.report import best_thresholds
        from edgevision.export.to_half import export_half
        from edgevision.export.to_onnx import export_checkpoint
        from edgevision.training.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    limits = None if thresholds is None else best_thresholds(thresholds)
    if precision == "fp32":
        _say(out, export_checkpoint(loaded, out, limits))
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / out.name
        export_checkpoint(loaded, whole, limits)
        _say_half(out, export_half(whole, out))


def _export_model(source: str, out: Path, precision: str) -> None:
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra
    from edgevision.suffixes import PLAN_SUFFIXES
    from edgevision.zoo import find_model

    path = find_model(source)
    if out.exists() and out.samefile(path):
        raise UsageError(f"--out {out} would overwrite the file that is exported; choose another name")
    if path.suffix.lower() in PLAN_SUFFIXES:
        raise UsageError(f"{source} is a TensorRT plan; give the ONNX file it was built from")
    if precision == "fp32":
        raise UsageError(
            f"{source} is a model file already, so there is nothing to do; pass --precision fp16 to convert "
            "it, or give a checkpoint (.pt)"
        )
    with needs_extra("export"):
        from edgevision.export.to_half import export_half
    _say_half(out, export_half(path, out))


def _how_near(half: HalfModel) -> str:
    """What the decibels mean: FP16 rounds at some 60, and an INT8 file starts from rounded numbers."""
    if half.agreement_db >= 30:
        return "no more than FP16 rounding"
    if half.manifest.precision.startswith("int8"):
        return "usual for INT8: on noise its rounding differs"
    return "low: compare with 'edgevision parity' and 'edgevision eval'"


def _say(out: Path, manifest: Manifest) -> None:
    size = f"{manifest.input_width}x{manifest.input_height}"
    figures = "".join(f", {name} {value:.4f}" for name, value in manifest.figures.items())
    typer.echo(
        f"{out}: {manifest.name}, {manifest.precision.upper()}, {len(manifest.classes)} classes, input {size}"
        f"{figures}"
    )


def _say_half(out: Path, half: HalfModel) -> None:
    for line in half.kept:
        typer.echo(f"note: {name_options(line)}", err=True)
    _say(out, half.manifest)
    measured = "the figures are the source's; 'edgevision eval' measures them again"
    missing = "its figures are unknown: 'edgevision eval' measures them"
    typer.echo(
        f"on noise frames its heads agree with the source's to {half.agreement_db:.0f} dB "
        f"({_how_near(half)}), values up to "
        f"{half.peak:.4g} (FP16 ends at 65504); {measured if half.manifest.figures else missing}"
    )
