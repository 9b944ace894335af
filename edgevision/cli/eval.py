"""``edgevision eval``: how good a model is on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import (
    ClassesOfDataOption,
    EngineOption,
    ImagesOption,
    MinBoxesOption,
    OverwriteOption,
    RebuildOption,
    SplitOption,
    TrustOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_NAMED = 5  # images that are named one by one
_MIN_BOXES = 10


def eval_command(
    data: Path = typer.Option(
        ...,
        "--data",
        help="Boxes, masks, poses, several labels: a COCO json. Segmentation: a folder with images, labels "
        "and classes.json. One label: a folder with a folder of images for each class. Panoptic: a COCO "
        "panoptic json.",
    ),
    model: str | None = typer.Option(
        None, "--model", help="Name of a model that ships, an ONNX file, a plan, or a checkpoint (.pt)."
    ),
    compare: tuple[str, str] | None = typer.Option(
        None, "--compare", metavar="A B", help="Two models: what B gains over A, with its 95 % interval."
    ),
    panoptic: Path | None = typer.Option(
        None,
        "--panoptic",
        metavar="MAPS",
        help="Maps in place of a model: a folder of 'edgevision panoptic' or a COCO panoptic json. The maps "
        "of --data lie beside it, in a folder of its name, or in --images.",
    ),
    images: ImagesOption = None,
    split: SplitOption = None,
    classes: ClassesOfDataOption = None,
    group: list[str] = typer.Option(
        [],
        "--group",
        metavar="NAME=CLASSES",
        help="Segmentation: count these classes of model and data as one, as in road=road,mark. "
        "NAME=* takes all others. Can be repeated.",
    ),
    crops: bool = typer.Option(
        False,
        "--crops",
        help="Classification: each box of the COCO json is cut out and has its one label.",
    ),
    min_boxes: MinBoxesOption = _MIN_BOXES,
    tiles: str | None = typer.Option(
        None,
        "--tiles",
        help="Detection: look at 2x2 overlapping tiles of each image too, or 3x2:0.2 (overlap).",
    ),
    at: str | None = typer.Option(
        None,
        "--at",
        help="Precision, recall and what is taken for what at a score: 0.35, or the --json of another "
        "evaluation, for the best threshold that each class had there.",
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    json: Path | None = typer.Option(None, "--json", help="Write the figures and where they come from."),
    plots: Path | None = typer.Option(
        None, "--plots", help="Folder for precision-recall curves or the confusion matrix, as PNG."
    ),
    worst: Path | None = typer.Option(
        None, "--worst", help="Detection: folder for the 20 images with the most errors, drawn."
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Measure a model on labelled images, through the same code that runs it.

    Detection: AP at IoU 0.5 and 0.5:0.95 as COCO and PASCAL count them, recall, per class; the IoU is that of
    masks or rotated boxes where the model gives them, and OKS for key points. Segmentation: IoU and Dice per
    class, pixel accuracy. Classification: top 1 and top 5, or mAP of several labels. Panoptic maps: PQ, SQ
    and RQ. Images that cannot be read are skipped, named and counted, and the exit code is then 3.

    \b
    Examples:
      edgevision eval --model retinanet-light --data val.json --images photos/val
      edgevision eval --model runs/mine/best.pt --data val.json --images photos/val --json report.json
      edgevision eval --compare old.onnx new.onnx --data val.json --images photos/val --classes person,car
      edgevision eval --model retinanet-light --data val.json --images photos/val --at 0.35
      edgevision eval --model unet-light --data camvid --split val --plots plots/
      edgevision eval --model yolo11n-pose.onnx --data person_keypoints_val2017.json --images val2017
      edgevision eval --model classifier.onnx --data photos/by_class
      edgevision eval --model classifier.onnx --data val.json --images photos/val --crops
      edgevision eval --model unet-light --data camvid --split val --group way=road,pavement --group rest=*
      edgevision eval --panoptic panoptic --data panoptic_val2017.json
    """
    from contextlib import ExitStack
    from functools import partial

    from rich.console import Console

    from edgevision.cli.app import EXIT_DAMAGED, Commands
    from edgevision.cli.console import counting, say
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing

    if panoptic is not None:
        without_effect = {
            "--model": model is not None,
            "--compare": compare is not None,
            "--split": split is not None,
            "--group": bool(group),
            "--crops": crops,
            "--min-boxes": min_boxes != _MIN_BOXES,
            "--tiles": tiles is not None,
            "--at": at is not None,
            "--engine": engine != "auto",
            "--trust": trust,
            "--rebuild": rebuild,
            "--plots": plots is not None,
            "--worst": worst is not None,
        }
        for option, given in without_effect.items():
            if given:
                raise UsageError(f"--panoptic measures maps that are written; {option} has no effect on them")
        if json is not None:
            refuse_existing(json, overwrite)
        _measure_panoptic(panoptic, data, images, classes, json)
        return
    if (model is None) == (compare is None):
        raise UsageError("expected either --model NAME or --compare A B")
    with needs_extra("train"):
        from edgevision.cli.any_model import open_model
        from edgevision.cli.eval_table import show_figures
        from edgevision.data.classes import parse_groups
        from edgevision.evaluation.job import evaluate
        from edgevision.evaluation.labelled import LabelledData
        from edgevision.evaluation.report import write_report
        from edgevision.session.request import PlanPolicy
        from edgevision.tiling import Tiling

    labelled = LabelledData(data=data, images=images, split=split, groups=parse_groups(group), crops=crops)
    if json is not None:
        refuse_existing(json, overwrite)
    if worst is not None and images is None:
        raise UsageError("--worst draws boxes; it has no effect for segmentation and classification")
    if worst is not None and worst == plots:
        raise UsageError("--plots and --worst name the same folder; choose different ones")
    for folder in (plots, worst):
        if folder is not None:
            _refuse_filled(folder, overwrite)
    out, notes = Console(), Console(stderr=True)
    with ExitStack() as stack:
        models = [
            stack.enter_context(open_model(name, engine, PlanPolicy(trust, rebuild)))
            for name in compare or (str(model),)
        ]
        evaluation = evaluate(
            models,
            labelled,
            classes=classes,
            min_boxes=min_boxes,
            tiling=None if tiles is None else Tiling.parse(tiles),
            at=None if at is None else _thresholds(at),
            note=lambda line: say(notes, f"note: {line}"),
            progress=partial(counting, notes),
        )
        _say_skipped(evaluation.skipped, evaluation.yardstick.images, notes)
        show_figures(evaluation, out)
        if json is not None:
            write_report(json, evaluation.report(Commands.line))
        if plots is not None:
            evaluation.plot(plots)
        if worst is not None:
            evaluation.save_worst(worst)
    if evaluation.skipped:
        raise typer.Exit(EXIT_DAMAGED)


def _measure_panoptic(
    maps: Path, data: Path, images: Path | None, classes: str | None, report: Path | None
) -> None:
    """Panoptic quality of maps that are written."""
    from functools import partial

    from rich.console import Console

    from edgevision.cli.app import Commands
    from edgevision.cli.console import counting, say
    from edgevision.extras import needs_extra

    with needs_extra("train"):
        from edgevision.cli.eval_table import show_panoptic
        from edgevision.evaluation.panoptic_data import measure_panoptic, read_panoptic

    notes = Console(stderr=True)
    measured = measure_panoptic(
        read_panoptic(maps),
        read_panoptic(data, images),
        classes=classes,
        command=Commands.line,
        note=lambda line: say(notes, f"note: {line}"),
        progress=partial(counting, notes),
    )
    show_panoptic(measured, Console())
    if report is not None:
        measured.write(report)


def _thresholds(text: str) -> float | dict[str, float]:
    """A number, or the best threshold of each class of a report."""
    from edgevision.errors import UsageError
    from edgevision.evaluation.report import best_thresholds

    try:
        value = float(text)
    except ValueError:
        return best_thresholds(text)
    if not 0 <= value <= 1:
        raise UsageError(f"--at {text}: expected a score, 0 to 1, or a report")
    return value


def _refuse_filled(folder: Path, overwrite: bool) -> None:
    from edgevision.errors import OutputExistsError, SinkError

    if folder.exists() and not folder.is_dir():
        raise SinkError(f"output {folder} is not a folder; choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"output folder is not empty: {folder}; choose another or pass --overwrite")


def _say_skipped(skipped: Sequence[str], total: int, notes: Console) -> None:
    """Names the images that were left out."""
    from edgevision.cli.console import say

    for line in skipped[:_NAMED]:
        say(notes, f"warning: skipped: {line}")
    if skipped:
        rest = f" (the first {_NAMED} are named above)" if len(skipped) > _NAMED else ""
        say(notes, f"warning: skipped {len(skipped)} of {total} images{rest}; the figures are without them")
