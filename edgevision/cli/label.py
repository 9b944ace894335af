"""``edgevision label``: labels from a teacher, for images that have none or too few."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import EngineOption, OverwriteOption, RebuildOption, TrustOption

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.labelling.image_labels import ImageLabelRequest, LabelledImages
    from edgevision.labelling.job import Labelled, LabelRequest
    from edgevision.labelling.label_maps import LabelledMaps, LabelMapRequest


def label_command(
    sources: list[str] = typer.Argument(..., metavar="SRC...", help="Images, folders and video files."),
    model: list[str] = typer.Option(
        ...,
        "--model",
        metavar="MODEL",
        help="The teacher: a name that ships, a model file, or a .pt. Detection: repeat it, and the answers "
        "of all are fused.",
    ),
    out: Path = typer.Option(
        ...,
        "--out",
        help="Models that find objects: the COCO instances json to write. Segmentation: the folder of the "
        "data set. Classification: a json, or a folder for a folder of images for each class.",
    ),
    images_out: Path | None = typer.Option(
        None,
        "--images-out",
        help="Folder for the frames of videos, as JPEG; not for segmentation.",
    ),
    merge: Path | None = typer.Option(
        None,
        "--merge",
        help="Detection: a COCO json whose boxes are kept; what the teacher sees beside them is ignored.",
    ),
    results_for: Path | None = typer.Option(
        None,
        "--results-for",
        help="Detection: a COCO json of the images: write what is seen in them, from --ignore up, as COCO "
        "results json, for 'detections' of a training source.",
    ),
    positive: float | None = typer.Option(
        None,
        "--positive",
        show_default="0.42",
        help="From this score on it is a box, or a label of the image; not segmentation.",
    ),
    ignore: float | None = typer.Option(
        None,
        "--ignore",
        show_default="0.25",
        help="Detection: from this score on it is a region to ignore, so that it teaches nothing.",
    ),
    classes: str | None = typer.Option(
        None,
        "--classes",
        help="Detection: only these: voc, coco, a file of names, or names separated by commas.",
    ),
    every: int = typer.Option(1, "--every", min=1, metavar="N", help="Of videos, take one frame in every N."),
    seed: int | None = typer.Option(
        None,
        "--seed",
        help="Random seed: with --every, draw the frame at random instead of taking the first.",
    ),
    flip: bool = typer.Option(
        False,
        "--flip",
        help="Look at the mirror image too: slower, a little better. Segmentation: pixels where the two "
        "answers differ are ignored.",
    ),
    tiles: bool = typer.Option(
        False,
        "--tiles",
        help="Detection: look at four overlapping parts too: five times as slow, finds small things.",
    ),
    scales: str | None = typer.Option(
        None,
        "--scales",
        metavar="S,S",
        help="Detection: look at these sizes too, 0.25 to 4: above 1 at overlapping parts, below 1 at the "
        "whole with a margin. --tiles is 1.667.",
    ),
    split: str | None = typer.Option(
        None,
        "--split",
        show_default="train",
        help="Segmentation: the part of the data set that is written.",
    ),
    max_ignored: float | None = typer.Option(
        None,
        "--max-ignored",
        show_default="1",
        help="Segmentation: leave images out of which more than this share is ignored (0 to 1).",
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Label images and videos with a model, for training another one.

    A detector writes COCO json; a model of masks, poses or rotated boxes adds these (run lengths, key points,
    four corners), and a classifier writes its labels. Scores are kept with the boxes. 'file_name' entries are
    relative to the folder that the command names when it is done: give that folder to train and eval as the
    folder of the images. A segmenter writes a data set: copies of the images, a label map for each, and
    classes.json.

    \b
    Examples:
      edgevision label --model teacher.onnx photos/ --out labels.json
      edgevision label --model teacher.onnx a.mp4 b.mp4 --every 30 --images-out frames --out labels.json
      edgevision label --model one.onnx --model two.onnx --flip photos/ --out labels.json
      edgevision label --model teacher.onnx photos/ --merge persons.json --classes person --out more.json
      edgevision label --model yolo11n-pose.ev.onnx photos/ --out poses.json
      edgevision label --model unet-light drive.mp4 --every 10 --flip --max-ignored 0.2 --out roads
    """
    from contextlib import ExitStack
    from functools import partial

    from rich.console import Console

    from edgevision.cli.app import EXIT_DAMAGED
    from edgevision.cli.console import counting, say
    from edgevision.cli.signals import signal_exit_code, stop_on_signals
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra
    from edgevision.pipeline import StopRequest
    from edgevision.session.request import PlanPolicy

    with needs_extra("train"):
        from edgevision.cli.any_model import open_model
        from edgevision.labelling.image_labels import ImageLabelRequest, write_image_labels
        from edgevision.labelling.job import LabellingJob, LabelRequest
        from edgevision.labelling.label_maps import LabelMapRequest, write_label_maps

    console, stop = Console(stderr=True), StopRequest()
    progress = partial(counting, console)
    request = LabelRequest(
        sources=sources,
        out=out,
        images_out=images_out,
        merge=merge,
        results_for=results_for,
        positive=0.42 if positive is None else positive,
        ignore=0.25 if ignore is None else ignore,
        classes=classes,
        every=every,
        seed=seed,
        flip=flip,
        tiles=tiles,
        scales=() if scales is None else parse_scales(scales),
        overwrite=overwrite,
    )
    if len(set(model)) < len(model):
        raise UsageError(f"--model {next(one for one in model if model.count(one) > 1)} is given twice")
    done: Labelled | LabelledMaps | LabelledImages
    with ExitStack() as opened:
        policy = PlanPolicy(trust, rebuild)
        teachers = {one: opened.enter_context(open_model(one, engine, policy)).engine for one in model}
        first = teachers[model[0]]
        task = first.manifest.task
        kind = {"segmentation": "segmenters", "classification": "classifiers"}.get(task, "detectors")
        belongs_to = {
            "--merge": (merge is not None, "detectors"),
            "--classes": (classes is not None, "detectors"),
            "--results-for": (results_for is not None, "detectors"),
            "--tiles": (tiles, "detectors"),
            "--scales": (scales is not None, "detectors"),
            "--images-out": (images_out is not None, "detectors and classifiers"),
            "--flip": (flip, "detectors and segmenters"),
            "--positive": (positive is not None, "detectors and classifiers"),
            "--ignore": (ignore is not None, "detectors"),
            "--split": (split is not None, "segmenters"),
            "--max-ignored": (max_ignored is not None, "segmenters"),
            "a second --model": (len(model) > 1, "detectors"),
        }
        for option, (given, kinds) in belongs_to.items():
            if given and kind not in kinds:
                article = "an" if task[0] in "aeiou" else "a"
                raise UsageError(
                    f"{model[0]} is {article} {task} model; {option} is for {kinds}: leave it out"
                )
        if task == "segmentation":
            maps = LabelMapRequest(
                sources=sources,
                out=out,
                split="train" if split is None else split,
                every=every,
                seed=seed,
                flip=flip,
                max_ignored=1.0 if max_ignored is None else max_ignored,
                overwrite=overwrite,
            )
            with stop_on_signals(stop):
                done = write_label_maps(first, model[0], maps, stop=stop, progress=progress)
            _report_maps(maps, done, console)
        elif task == "classification":
            wanted = ImageLabelRequest(
                sources=sources,
                out=out,
                images_out=images_out,
                positive=request.positive,
                every=every,
                seed=seed,
                overwrite=overwrite,
            )
            with stop_on_signals(stop):
                done = write_image_labels(first, model[0], wanted, stop=stop, progress=progress)
            _report_images(wanted, done, console)
        else:
            job = LabellingJob(request)
            with stop_on_signals(stop):
                done = job.run(teachers, stop=stop, progress=progress)
            _report(request, done, console)
    if stop.reason is not None:
        say(console, f"  ended early by {stop.reason}; the labels are complete up to there")
    for note in done.notes:
        say(console, f"note: {note}")
    for problem in done.problems:
        say(console, f"warning: {problem}")
    exit_code = signal_exit_code(stop.reason or "") or (EXIT_DAMAGED if done.problems else 0)
    if exit_code:
        raise typer.Exit(exit_code)


def parse_scales(text: str) -> tuple[float, ...]:
    """Numbers with commas between.

    Raises:
        UsageError: it is something else.
    """
    from edgevision.errors import UsageError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--scales {text}: expected numbers with commas between, such as 1.5,2") from None


def _report(request: LabelRequest, done: Labelled, console: Console) -> None:
    """What was done."""
    from edgevision.cli.console import say

    if request.results_for is not None:
        total, known = done.boxes.total(), request.results_for
        say(console, f"{request.out}: {total} boxes in {done.images} images of {known}")
        if done.unseen:
            say(console, f"warning: {done.unseen} images of {known} are not among the sources")
        return
    found = ", ".join(f"{name} {count}" for name, count in done.boxes.most_common()) or "none"
    say(console, f"{request.out}: {done.images} images labelled, in {done.folder}")
    say(console, f"  {done.unit}: {found}")
    say(console, f"  regions to ignore: {done.ignored}")
    if request.merge is not None:
        say(console, f"  {done.merged} of the images were in {request.merge}; its boxes are kept")
        if not done.merged:
            say(console, "warning: expected file names of that file; check which folder they lie in")


def _report_maps(request: LabelMapRequest, done: LabelledMaps, console: Console) -> None:
    """What was done."""
    from edgevision.cli.console import say

    total = max(int(done.pixels.sum()) + done.ignored, 1)
    shares = ", ".join(
        f"{name} {count / total:.1%}" for name, count in zip(done.classes, done.pixels, strict=True)
    )
    say(console, f"{request.out}: {done.images} images labelled as '{request.split}'")
    say(console, f"  pixels: {shares}, ignored {done.ignored / total:.1%}")
    if done.left_out:
        say(console, f"  {done.left_out} images left out: more than {request.max_ignored:.0%} ignored")


def _report_images(request: ImageLabelRequest, done: LabelledImages, console: Console) -> None:
    """What was done."""
    from edgevision.cli.console import say

    found = ", ".join(f"{name} {count}" for name, count in done.labels.most_common()) or "none"
    say(console, f"{request.out}: {done.images} images labelled, in {done.folder}")
    say(console, f"  labels: {found}")
    if done.left_out:
        say(console, f"  {done.left_out} images left out: no label of {request.positive:g} or more")
