"""``edgevision import``: another project's detector as a model file of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgevision.cli.options import OnnxOutOption, OverwriteOption, check_onnx_out


def import_command(
    file: Annotated[Path, typer.Argument(help="The ONNX file, as its own project exports it.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="picodet (without its postprocessing) or yolo (ultralytics-style export)."
        ),
    ],
    out: OnnxOutOption,
    classes: str | None = typer.Option(
        None,
        "--classes",
        help="coco, voc, a file with one name a line, or names separated by commas, in the order of the "
        "model's outputs. Default: the names in the file.",
    ),
    name: str | None = typer.Option(None, "--name", help="The model's name; that of --out by default."),
    licence: str | None = typer.Option(
        None, "--licence", help="One line kept in the file; by default what the file says of itself."
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Wrap a detector's ONNX file, so that run, eval and label take it like our own models.

    Preprocessing, decoding and NMS go into the graph; the weights stay as they are.

    \b
    Examples:
      edgevision import picodet_s_416_coco.onnx --kind picodet --classes coco --out picodet.onnx
      edgevision import yolo-helmets.onnx --kind yolo --out helmets.onnx
    """
    from edgevision.data.classes import parse_classes
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing

    check_onnx_out(out)
    refuse_existing(out, overwrite)
    if out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"--out {out} would overwrite the file that is imported; choose another name")
    names = None if classes is None else parse_classes(classes)
    with needs_extra("export"):
        from edgevision.export.importers import import_model

    imported = import_model(file, kind, out, classes=names, name=name, licence=licence)
    manifest = imported.manifest
    batch = "any batch size" if imported.batch is None else f"batch size {imported.batch} only"
    typer.echo(
        f"{out}: {manifest.name}, {len(manifest.classes)} classes, "
        f"input {manifest.input_width}x{manifest.input_height} ({manifest.resize.rule}), {batch}; "
        f"licence: {manifest.licence}"
    )
    for note in imported.notes:
        typer.echo(f"note: {note}", err=True)
