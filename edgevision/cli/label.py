"""``edgevision label``: labels from a teacher, for images that have none or too few."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import EngineOption, OverwriteOption, RebuildOption, TrustOption

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.labelling.job import Labelled, LabelRequest


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
        None, "--classes", help="Only these: voc, coco, a file of names, or names separated by commas."
    ),
    every: int = typer.Option(1, "--every", min=1, metavar="N", help="Of videos, take one frame in every N."),
    seed: int | None = typer.Option(
        None,
        "--seed",
        help="Random seed: with --every, draw the frame at random instead of taking the first.",
    ),
    flip: bool = typer.Option(False, "--flip", help="Look at the mirror image too: slower, a little better."),
    tiles: bool = typer.Option(
        False, "--tiles", help="Look at four overlapping parts too: five times as slow, finds small things."
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Label images and videos with a model, for training another one.

    Scores are kept with the boxes. 'file_name' entries are relative to the folder that the command names
    when it is done: give that folder to train and eval as the folder of the images.

    \b
    Examples:
      edgevision label --model teacher.onnx photos/ --out labels.json
      edgevision label --model teacher.onnx a.mp4 b.mp4 --every 30 --images-out frames --out labels.json
      edgevision label --model teacher.onnx photos/ --merge persons.json --classes person --out more.json
    """
    from functools import partial

    from rich.console import Console

    from edgevision.cli.app import EXIT_DAMAGED
    from edgevision.cli.console import counting
    from edgevision.cli.signals import signal_exit_code, stop_on_signals
    from edgevision.extras import needs_extra
    from edgevision.pipeline import StopRequest
    from edgevision.session.request import PlanPolicy

    with needs_extra("train"):
        from edgevision.cli.any_model import open_model
        from edgevision.labelling.job import LabellingJob, LabelRequest

    request = LabelRequest(
        sources=sources,
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
        overwrite=overwrite,
    )
    console, stop = Console(stderr=True), StopRequest()
    job = LabellingJob(request)
    with open_model(model, engine, PlanPolicy(trust, rebuild)) as teacher, stop_on_signals(stop):
        done = job.run(teacher.engine, model, stop=stop, progress=partial(counting, console))
    _report(request, done, stop.reason, console)
    exit_code = signal_exit_code(stop.reason or "") or (EXIT_DAMAGED if done.problems else 0)
    if exit_code:
        raise typer.Exit(exit_code)


def _report(request: LabelRequest, done: Labelled, stopped: str | None, console: Console) -> None:
    """What was done, and what went wrong."""
    from edgevision.cli.console import say

    found = ", ".join(f"{name} {count}" for name, count in done.boxes.most_common()) or "none"
    say(console, f"{request.out}: {done.images} images labelled, in {done.folder}")
    say(console, f"  boxes: {found}")
    say(console, f"  regions to ignore: {done.ignored}")
    if request.merge is not None:
        say(console, f"  {done.merged} of the images were in {request.merge}; its boxes are kept")
        if not done.merged:
            say(console, "warning: expected file names of that file; check which folder they lie in")
    if stopped is not None:
        say(console, f"  ended early by {stopped}; the labels are complete up to there")
    for problem in done.problems:
        say(console, f"warning: {problem}")
