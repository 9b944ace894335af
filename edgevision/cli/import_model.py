"""``edgevision import``: another project's model as a model file of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgevision.cli.app import name_options
from edgevision.cli.options import OnnxOutOption, OverwriteOption, check_onnx_out


def import_command(
    file: Annotated[
        Path, typer.Argument(help="An ONNX file as its own project exports it, or a darknet .cfg.")
    ],
    out: OnnxOutOption,
    kind: str | None = typer.Option(
        None,
        "--kind",
        help="The family, where the file does not show it (docs/guides/import.md). Default: found from it.",
    ),
    classes: str | None = typer.Option(
        None,
        "--classes",
        help="coco, voc, a file with one name a line, or names separated by commas, in the order of the "
        "model's outputs. Default: the names in the file, else numbers.",
    ),
    name: str | None = typer.Option(None, "--name", help="The model's name; that of --out by default."),
    licence: str | None = typer.Option(
        None, "--licence", help="One line kept in the file; by default what the file says of itself."
    ),
    size: str | None = typer.Option(
        None, "--size", metavar="WxH", help="The input's size, where the file takes any, such as 640x384."
    ),
    colours: str | None = typer.Option(None, "--colours", help="What it takes: rgb or bgr."),
    scale: str | None = typer.Option(
        None,
        "--scale",
        help="unit (0 to 1), raw (0 to 255), imagenet, or six numbers: mean and standard deviation of the "
        "channels, of values 0 to 255.",
    ),
    resize: str | None = typer.Option(None, "--resize", help="letterbox, top-left, stretch or crop."),
    fill: int | None = typer.Option(None, "--fill", help="Value of a letterbox's padding, 0 to 255."),
    anchors: str | None = typer.Option(
        None, "--anchors", help="Of raw YOLO heads: yolov5, yolov7, yolov7-tiny, or 18 numbers in pixels."
    ),
    min_score: float | None = typer.Option(
        None, "--min-score", help="Weaker detections are never in the output. Default 0.01."
    ),
    iou: float | None = typer.Option(
        None, "--iou", help="Overlap above which NMS takes the weaker box out; the family's own by default."
    ),
    candidates: int | None = typer.Option(
        None, "--candidates", help="Boxes that enter NMS, the best-scoring ones. Default 300."
    ),
    several_classes: bool | None = typer.Option(
        None,
        "--several-classes/--best-class",
        help="Whether a box can be several classes, as COCO's evaluation counts; else as the family does.",
    ),
    preview: Path | None = typer.Option(
        None, "--preview", metavar="IMAGE", help="Also draw what the imported model sees in this image."
    ),
    weights: Path | None = typer.Option(
        None, "--weights", help="Of a darknet .cfg: its weights; the .weights of the same name by default."
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Wrap another project's ONNX file, so that run, eval and label take it like our own models.

    The family is found from the file itself; what was concluded, and why, is printed. Preprocessing, decoding
    and NMS go into the graph; the weights stay as they are. Of a file that is in edgevision's form already,
    --min-score, --iou, --candidates and --several-classes write a copy with other limits.

    \b
    Examples:
      edgevision import yolo11n.onnx --out yolo11n.ev.onnx --preview street.jpg
      edgevision import picodet_s_416_coco.onnx --classes coco --out picodet.onnx
      edgevision import yolov3.cfg --weights yolov3.weights --classes coco --out yolov3.onnx
      edgevision import picodet.onnx --min-score 0.001 --candidates 1000 --out picodet-measured.onnx
    """
    from edgevision.data.classes import parse_classes
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing
    from edgevision.units import image_size

    check_onnx_out(out)
    refuse_existing(out, overwrite)
    drawn = None if preview is None else out.with_name(f"{out.stem}.preview.jpg")
    if drawn is not None:
        refuse_existing(drawn, overwrite)
    if out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"--out {out} would overwrite the file that is imported; choose another name")
    limits = {"min_score": min_score, "iou": iou, "candidates": candidates, "several": several_classes}
    rest = (kind, classes, name, licence, size, colours, scale, resize, fill, anchors)
    if any(value is not None for value in limits.values()) and _is_ours(file):
        if any(value is not None for value in rest):
            raise UsageError(
                f"{file} is in edgevision's form already: only --min-score, --iou, --candidates and "
                "--several-classes can still change; for the rest import the original file again"
            )
        typer.echo(_with_limits(file, out, limits))
        if preview is not None and drawn is not None:
            typer.echo(_preview(out, preview, drawn))
        return
    names = None if classes is None else parse_classes(classes)
    wanted = None if size is None else image_size(size)
    with needs_extra("export"):
        from edgevision.export.importers import Choices, import_model

    choices = Choices(
        classes=names,
        name=name,
        licence=licence,
        kind=kind,
        size=None if wanted is None else (wanted[1], wanted[0]),
        colours=colours,
        scale=scale,
        resize=resize,
        fill=fill,
        anchors=anchors,
        min_score=min_score,
        iou=iou,
        candidates=candidates,
        several=several_classes,
    )
    if file.suffix.lower() == ".cfg":
        if kind is not None or anchors is not None:
            raise UsageError(f"{file} says what it is: leave out --kind and --anchors")
        with needs_extra("train"):
            from edgevision.export.darknet import import_darknet

        imported = import_darknet(file, weights, out, choices)
    elif weights is not None:
        raise UsageError(f"--weights belongs to a darknet .cfg, and {file} is none; leave it out")
    else:
        imported = import_model(file, out, choices)
    manifest = imported.manifest
    batch = "any batch size" if imported.batch is None else f"batch size {imported.batch} only"
    typer.echo(f"kind {imported.kind}: {imported.conclusion}")
    typer.echo(f"takes {imported.pixels}")
    typer.echo(
        f"{out}: {manifest.name}, {len(manifest.classes)} classes, "
        f"input {manifest.input_width}x{manifest.input_height} ({manifest.resize.rule}), {batch}; "
        f"licence: {manifest.licence}"
    )
    for note in imported.notes:
        typer.echo(f"note: {name_options(note)}", err=True)
    if preview is not None and drawn is not None:
        typer.echo(_preview(out, preview, drawn))


def _is_ours(file: Path) -> bool:
    """Whether a file is in the contract; False too where it cannot be read, which the import then says."""
    from edgevision.contract.model_file import METADATA_KEY, read_onnx_metadata

    return file.is_file() and METADATA_KEY in read_onnx_metadata(file)


def _with_limits(file: Path, out: Path, limits: dict[str, Any]) -> str:
    """Writes a copy of a file of ours with other limits; returns the line that says which it has."""
    from edgevision.export.importers import Choices
    from edgevision.extras import needs_extra

    with needs_extra("export"):
        from edgevision.export.limits import change_limits

    Choices(**limits).check()
    manifest = change_limits(file, out, **limits)
    nms = manifest.nms
    suppressed = (
        f"IoU {nms.iou_threshold:g}, {nms.candidates} candidates"
        if nms is not None and nms.form != "none"
        else "no suppression"
    )
    return (
        f"{out}: {manifest.name} with scores above {manifest.score_threshold:g}, {suppressed}, at most "
        f"{manifest.max_detections} detections"
    )


def _preview(model: Path, image: Path, drawn: Path) -> str:
    """Draws what the model sees in an image; returns the line that says so."""
    from edgevision import api
    from edgevision.types import FrameResult

    found: list[FrameResult] = []
    api.run(model, str(image), output=str(drawn), overwrite=True, on_frame=found.append)
    detections = found[0].detections if found else None
    if detections is None:
        return f"{drawn}: what it sees in {image}"
    seen = ", ".join(f"{one.name} {one.score:.2f}" for one in list(detections)[:5])
    return f"{drawn}: {len(detections)} detections in {image}" + (f": {seen}" if seen else "")
