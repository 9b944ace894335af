"""``edgevision eval``: how good a model is on labelled pictures."""

from __future__ import annotations

from pathlib import Path

import typer


def eval_command(
    data: Path = typer.Option(
        ...,
        "--data",
        help="Detection: a COCO instances json. Segmentation: a folder with images, labels and classes.json.",
    ),
    model: str | None = typer.Option(
        None, "--model", help="Name of a model that ships, an ONNX file, a plan, or a checkpoint (.pt)."
    ),
    compare: tuple[str, str] | None = typer.Option(
        None, "--compare", metavar="A B", help="Two models: what B gains over A, with its 95 % interval."
    ),
    images: Path | None = typer.Option(None, "--images", help="Detection: the folder of the pictures."),
    split: str | None = typer.Option(None, "--split", help="Segmentation: which part of the folder."),
    classes: str | None = typer.Option(
        None,
        "--classes",
        help="Evaluate these only: voc, coco, a file of names, or names with commas between. "
        "Default: every class that both the model and the data have.",
    ),
    min_boxes: int = typer.Option(
        10, "--min-boxes", min=1, help="Objects that a class needs to count in ap50_mean."
    ),
    engine: str = typer.Option(
        "auto",
        "--engine",
        help="auto, onnxruntime, onnxruntime-cuda, onnxruntime-tensorrt, openvino or tensorrt.",
    ),
    trust: bool = typer.Option(
        False, "--trust", help="Load a TensorRT plan that was not built here. It holds machine code."
    ),
    rebuild: bool = typer.Option(
        False, "--rebuild", help="Build a plan that does not fit again, from the ONNX file beside it."
    ),
    json: Path | None = typer.Option(None, "--json", help="Write the figures and where they come from."),
    plots: Path | None = typer.Option(
        None, "--plots", help="Folder for precision-recall curves or the confusion matrix, as PNG."
    ),
    worst: Path | None = typer.Option(
        None, "--worst", help="Detection: folder for the 20 pictures with the most errors, drawn."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace outputs that exist."),
) -> None:
    """Measure a model on labelled pictures, through the same code that runs it.

    Detection: AP at IoU 0.5 and 0.5:0.95 as COCO and PASCAL count them, recall, per class. Segmentation:
    IoU and Dice per class, pixel accuracy. Pictures that cannot be read are skipped, named and counted,
    and the exit code is then 3.

    \b
    Examples:
      edgevision eval --model retinanet-light --data val.json --images photos/val
      edgevision eval --model runs/mine/best.pt --data val.json --images photos/val --json report.json
      edgevision eval --compare old.onnx new.onnx --data val.json --images photos/val --classes person,car
      edgevision eval --model unet-light --data camvid --split val --plots plots/
    """
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra

    if (model is None) == (compare is None):
        raise UsageError("expected either --model NAME or --compare A B")
    if (images is None) == (split is None):
        raise UsageError("expected --images DIR beside a COCO json, or --split NAME beside a folder")
    with needs_extra("train"):
        from edgevision.cli.eval_common import Request, evaluate
        from edgevision.session.request import PlanPolicy

    exit_code = evaluate(
        Request(
            models=compare or (str(model),),
            data=data,
            images=images,
            split=split,
            classes=classes,
            min_boxes=min_boxes,
            engine=engine,
            plans=PlanPolicy(trust, rebuild),
            json=json,
            plots=plots,
            worst=worst,
            overwrite=overwrite,
        )
    )
    if exit_code:
        raise typer.Exit(exit_code)
