"""``edgevision export``: from a checkpoint to a model file that runs everywhere."""

from __future__ import annotations

from pathlib import Path

import typer


def export_command(
    checkpoint: Path = typer.Argument(
        ..., help="A checkpoint of 'edgevision train', such as runs/NAME/best.pt."
    ),
    out: Path = typer.Option(..., "--out", help="The ONNX file to write."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it exists."),
) -> None:
    """Write a trained model as one ONNX file: preprocessing, decoding and NMS are inside it.

    \b
    Example:
      edgevision export runs/retinanet-light/best.pt --out retinanet-light.onnx
    """
    from edgevision.cli.extras import needs_extra
    from edgevision.errors import UsageError
    from edgevision.files import refuse_existing

    if out.suffix.lower() != ".onnx":
        raise UsageError(f"--out {out}: expected a file name that ends in .onnx")
    refuse_existing(out, overwrite)
    with needs_extra("train"):
        from edgevision.training.checkpoint import load_checkpoint
        from export.to_onnx import export_checkpoint

    manifest = export_checkpoint(load_checkpoint(checkpoint), out)
    size = f"{manifest.input_width}x{manifest.input_height}"
    figures = "".join(f", {name} {value:.4f}" for name, value in manifest.figures.items())
    typer.echo(f"{out}: {manifest.name}, {len(manifest.classes)} classes, input {size}{figures}")
