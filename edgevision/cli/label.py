"""``edgevision label``: labels from a teacher, for pictures that have none or too few."""

from __future__ import annotations

from pathlib import Path

import typer


def label_command(
    sources: list[str] = typer.Argument(..., metavar="SRC...", help="Images, folders and video files."),
    model: str = typer.Option(..., "--model", help="The teacher: a name that ships, a model file, or a .pt."),
    out: Path = typer.Option(..., "--out", help="The COCO instances json to write."),
    images_out: Path | None = typer.Option(
        None, "--images-out", help="Folder for the frames of videos, which are written there as JPEG."
    ),
    merge: Path | None = typer.Option(
        None,
        "--merge",
        help="A COCO json whose boxes are kept; what the teacher sees beside them is marked to be ignored.",
    ),
    positive: float = typer.Option(0.42, "--positive", help="From this score on a detection is a box."),
    ignore: float = typer.Option(
        0.25, "--ignore", help="From this score on it is a region to ignore, so that it teaches nothing."
    ),
    classes: str | None = typer.Option(
        None, "--classes", help="Only these: voc, coco, a file of names, or names with commas between."
    ),
    every: int = typer.Option(1, "--every", min=1, help="Of videos, take one frame in so many."),
    seed: int | None = typer.Option(
        None, "--seed", help="With --every: draw that frame at random instead of taking the first."
    ),
    flip: bool = typer.Option(False, "--flip", help="Look at the mirror image too: slower, a little better."),
    tiles: bool = typer.Option(
        False, "--tiles", help="Look at four overlapping parts too: five times as slow, finds small things."
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
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace outputs that exist."),
) -> None:
    """Label pictures and videos with a model, for training another one.

    Scores are kept with the boxes. 'file_name' entries are relative to the folder that the command names
    when it is done: give that folder to train and eval as the folder of the pictures.

    \b
    Examples:
      edgevision label --model teacher.onnx photos/ --out labels.json
      edgevision label --model teacher.onnx a.mp4 b.mp4 --every 30 --images-out frames --out labels.json
      edgevision label --model teacher.onnx photos/ --merge persons.json --classes person --out more.json
    """
    from edgevision.labelling.job import Request, label
    from edgevision.session.request import PlanPolicy

    exit_code = label(
        Request(
            sources=sources,
            model=model,
            out=out,
            images_out=images_out,
            merge=merge,
            positive=positive,
            ignore=ignore,
            classes=classes,
            every=every,
            seed=seed,
            flip=flip,
            tiles=tiles,
            engine=engine,
            plans=PlanPolicy(trust, rebuild),
            overwrite=overwrite,
        )
    )
    if exit_code:
        raise typer.Exit(exit_code)
