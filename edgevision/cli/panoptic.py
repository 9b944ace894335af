"""``edgevision panoptic``: one answer for every pixel, of two models."""

from __future__ import annotations

from pathlib import Path

import typer

from edgevision.cli.options import EngineOption, OverwriteOption, RebuildOption, TrustOption


def panoptic_command(
    source: str = typer.Argument(help="Images or a recording, as in 'edgevision run'."),
    objects: str = typer.Option(..., "--objects", help="A model that gives masks of objects."),
    stuff: str = typer.Option(..., "--stuff", help="A segmentation model, for roads, sky and the like."),
    out: Path = typer.Option(
        Path("panoptic"),
        "--out",
        help="Folder of the maps; made where missing, continued where a run was ended early.",
    ),
    things: str | None = typer.Option(
        None,
        "--things",
        help="Classes of the segmentation model that are objects too, with commas between, beside those that "
        "mean the same as one of the other model, as pedestrian and person.",
    ),
    conf: float = typer.Option(0.5, "--conf", help="Objects below this score are left out, 0 to 1."),
    overlap: float = typer.Option(
        0.5, "--overlap", help="Share of an object that better ones must leave free, 0 to 1."
    ),
    least_area: int = typer.Option(256, "--least-area", help="Pixels of the smallest stuff."),
    output: str = typer.Option(
        "",
        "--output",
        help="Where images with the segments drawn on them go too: an .mp4, window, or frames/%06d.jpg.",
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Join the objects of one model with the class map of another: a pixel belongs to one segment at most.

    The folder gets NUMBER.png for each image, in COCO's panoptic form (a segment's id is R + 256 G +
    65536 B), and panoptic.json, which says what each segment is. Objects are laid down from the best score
    on; what they leave free is stuff. Pixels of things that were not found, and of stuff below --least-area,
    belong to none: id 0. Ended early, the same command goes on from there.

    \b
    Examples:
      edgevision panoptic photos --objects mask-rcnn.onnx --stuff unet-light --out panoptic
      edgevision panoptic street.mp4 --objects mask-rcnn.onnx --stuff unet-light --output drawn.mp4
    """
    from functools import partial  # these load the runtime, so not for --help

    from rich.console import Console

    from edgevision.cli.any_model import open_model
    from edgevision.cli.app import EXIT_DAMAGED
    from edgevision.cli.console import counting, plural, say
    from edgevision.cli.signals import signal_exit_code, stop_on_signals
    from edgevision.panoptic import PanopticRequest, write_panoptic_maps
    from edgevision.pipeline import StopRequest
    from edgevision.session.request import PlanPolicy
    from edgevision.session.spec import listed

    request = PanopticRequest(
        source=source,
        out=out,
        things=() if things is None else listed(things),
        conf=conf,
        overlap=overlap,
        least_area=least_area,
        output=output,
        overwrite=overwrite,
    )
    console, plans, stop = Console(stderr=True), PlanPolicy(trust, rebuild), StopRequest()
    with (
        open_model(objects, engine, plans) as finder,
        open_model(stuff, engine, plans) as segmenter,
        stop_on_signals(stop),
    ):
        done = write_panoptic_maps(
            (finder.engine, finder.text),
            (segmenter.engine, segmenter.text),
            request,
            stop=stop,
            note=lambda line: say(console, f"note: {line}"),
            progress=partial(counting, console),
        )
    shown = f"{out}: {done.maps} {plural('map', done.maps)}"
    if done.maps > done.continued:
        shown += f", {done.segments} segments, {done.open_share:.1%} of the pixels in none"
    say(console, shown + (f"; drawn: {done.drawn}" if done.drawn else ""))
    if not done.is_finished:
        say(console, f"  ended early by {stop.reason}; the same command goes on from here")
    for problem in done.problems:
        say(console, f"warning: {problem}")
    exit_code = signal_exit_code(stop.reason or "") or (EXIT_DAMAGED if done.problems else 0)
    if exit_code:
        raise typer.Exit(exit_code)
