"""``edgevision zones check``: whether a file of zones is right, and where its zones lie on an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import OverwriteOption

if TYPE_CHECKING:
    from edgevision.tracking import ZoneLayout
    from edgevision.types import Frame

zones_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check zones and lines.")


@zones_app.callback()
def _zones() -> None:
    """Check zones and lines."""


@zones_app.command("check")
def check_zones_command(
    path: Path = typer.Argument(metavar="FILE", help="YAML file of zones and lines."),
    source: str | None = typer.Option(
        None, "--on", metavar="SOURCE", help="Draw them on the first image of this source."
    ),
    start: str | None = typer.Option(None, "--start", help="Of a recording, on the image at: 90s or 1:30."),
    out: Path | None = typer.Option(
        None, "--out", help="The image to write with --on. Default: FILE's name with .jpg, here."
    ),
    model: list[str] = typer.Option(
        [],
        "--model",
        help="The models that will run, whose classes the file may name. Default: the first detector.",
    ),
    then: str | None = typer.Option(
        None,
        "--then",
        help="The second model that will run: the file may name what it says, as person:helmet.",
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Check a file of zones and lines, and draw them on an image of a source.

    What is wrong in the file is one line. With --on, a zone or line that nothing can enter or cross, because
    it lies outside the image or is too thin, is a warning, and an image shows all of them with their arrows.

    \b
    Examples:
      edgevision zones check zones.yaml
      edgevision zones check zones.yaml --on rtsp://camera.local/live
      edgevision zones check zones.yaml --on street.mp4 --start 1:30 --out yard.jpg
    """
    from rich.console import Console

    from edgevision.cli.run_console import show_log
    from edgevision.drawing.snapshot import image_of_zones
    from edgevision.errors import UsageError
    from edgevision.files import refuse_existing
    from edgevision.suffixes import SAVED_IMAGE_SUFFIXES
    from edgevision.tracking import ZoneMonitor, load_zones
    from edgevision.video.sinks.images import save_image

    if source is None and (out is not None or start is not None):
        raise UsageError(f"`{'out' if out is not None else 'start'}` needs `on`, a source to draw on")
    layout = load_zones(path, _class_names(model), () if then is None else _class_names([then]))
    place = Path(f"{path.stem}.jpg") if out is None else out
    if source is not None:
        if place.suffix.lower() not in SAVED_IMAGE_SUFFIXES:
            raise UsageError(f"`out` {place} is not an image; expected a name such as {place.stem}.jpg")
        refuse_existing(place, overwrite)
    _show(layout)
    if source is None:
        return
    frame = _first_frame(source, start)
    with show_log(Console(stderr=True)):
        ZoneMonitor(layout).update([], 0.0, (frame.width, frame.height))  # warns of those that nothing enters
    save_image(place, image_of_zones(frame.image, layout))
    typer.echo(f"written: {place} ({frame.width}x{frame.height})")


def _class_names(models: Sequence[str]) -> list[str]:
    """Class names of all models, each once."""
    from edgevision.contract.model_file import read_sound_manifest
    from edgevision.engines.trt.plan import read_plan_info
    from edgevision.suffixes import PLAN_SUFFIXES
    from edgevision.zoo import default_model, find_model

    paths = [find_model(one) for one in models] or [default_model().path]
    found = [
        read_plan_info(one).manifest if one.suffix.lower() in PLAN_SUFFIXES else read_sound_manifest(one)
        for one in paths
    ]
    return list(dict.fromkeys(name for manifest in found for name in manifest.classes))


def _show(layout: ZoneLayout) -> None:
    for zone in layout.zones:
        typer.echo(
            f"zone {zone.name}: {len(zone.polygon)} corners, {_counted(zone.classes)}, {zone.anchor.value}"
        )
    for line in layout.lines:
        ends = " to ".join(f"[{x:g}, {y:g}]" for x, y in (line.start, line.end))
        typer.echo(f"line {line.name}: {ends}, {_counted(line.classes)}, {line.anchor.value}")


def _counted(classes: Sequence[str] | None) -> str:
    return "all classes" if classes is None else f"counts {', '.join(classes)}"


def _first_frame(source: str, start: str | None) -> Frame:
    from edgevision.errors import SourceError
    from edgevision.session.streams import selected
    from edgevision.video import open_source
    from edgevision.video.selection import Selection

    with selected(open_source(source), Selection.parse(None, start, None)) as opened:
        frame = next(iter(opened), None)
        if frame is None:
            raise SourceError(f"{opened.info.name} has no image at that place; choose another `start`")
        return frame
