"""``edgevision panoptic``: one answer for every pixel, of two models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import EngineOption, OverwriteOption, RebuildOption, TrustOption

if TYPE_CHECKING:
    from edgevision.panoptic import PanopticMap


def panoptic_command(
    source: str = typer.Argument(help="Images or a recording, as in 'edgevision run'."),
    objects: str = typer.Option(..., "--objects", help="A model that gives masks of objects."),
    stuff: str = typer.Option(..., "--stuff", help="A segmentation model, for roads, sky and the like."),
    out: Path = typer.Option(Path("panoptic"), "--out", help="Folder of the maps; made where missing."),
    things: str = typer.Option(
        "",
        "--things",
        help="Classes of the segmentation model that are objects too, beside those of the same name, with "
        "commas between.",
    ),
    conf: float = typer.Option(
        0.5, "--conf", min=0.0, max=1.0, help="Objects below this score are left out."
    ),
    overlap: float = typer.Option(
        0.5, "--overlap", min=0.0, max=1.0, help="Share of an object that better ones must leave free."
    ),
    least_area: int = typer.Option(256, "--least-area", min=1, help="Pixels of the smallest stuff."),
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
    """Join the objects of one model with the class map of another: every pixel belongs to one segment.

    The folder gets NUMBER.png for each image, in COCO's panoptic form (a segment's id is R + 256 G +
    65536 B), and panoptic.json, which says what each segment is. Objects are laid down from the best score
    on; what they leave free is stuff.

    \b
    Examples:
      edgevision panoptic photos --objects mask-rcnn.onnx --stuff unet-light --out panoptic
      edgevision panoptic street.mp4 --objects mask-rcnn.onnx --stuff unet-light --things car,pedestrian \\
        --output drawn.mp4
    """
    from contextlib import ExitStack

    import cv2  # these load the runtime, so not for --help
    from rich.console import Console

    from edgevision.cli.any_model import open_model
    from edgevision.cli.console import counting, say
    from edgevision.drawing.overlay import Overlay
    from edgevision.errors import SinkError, SourceError, UsageError
    from edgevision.files import atomic_path, make_folder, refuse_existing, write_json
    from edgevision.model import Model
    from edgevision.panoptic import draw_panoptic, join_panoptic, panoptic_colours
    from edgevision.session.request import PlanPolicy
    from edgevision.types import Detections, FrameResult, SegmentationMap
    from edgevision.video import open_sink, open_source

    if out.is_dir():
        refuse_existing(out / "panoptic.json", overwrite)
    console, plans = Console(stderr=True), PlanPolicy(trust, rebuild)
    with open_model(objects, engine, plans) as finder, open_model(stuff, engine, plans) as segmenter:
        tasks = ("instance-segmentation", "segmentation")
        for one, task in zip((finder, segmenter), tasks, strict=True):
            if one.engine.manifest.task != task:
                raise UsageError(
                    f"{one.text} is a model for {one.engine.manifest.task}; expected one for {task}"
                )
        models = Model(finder.engine, conf_threshold=conf), Model(segmenter.engine)
        known = segmenter.engine.manifest.classes
        chosen = [name.strip() for name in things.split(",") if name.strip()]
        for name in chosen:
            if name not in known:
                raise UsageError(f"{segmenter.text} has no class '{name}'; it has: {', '.join(known)}")
        colours = {
            name: colour
            for one in (segmenter, finder)
            for name, colour in zip(
                one.engine.manifest.classes, Overlay(one.engine.manifest).colours, strict=True
            )
        }
        with ExitStack() as opened:
            frames = opened.enter_context(open_source(source))
            if frames.info.is_live:
                raise UsageError(f"{frames.info.name} does not end; expected images or a recording")
            sink = open_sink(output, info=frames.info, overwrite=overwrite) if output else None
            if sink is not None:
                opened.enter_context(sink)
            make_folder(out, parents=True)
            images: list[dict[str, object]] = []
            segments = 0
            with counting(console, "joining", frames.info.frame_count) as on_image:
                for frame in frames:
                    (found,), (ground,) = models[0]([frame.image]), models[1]([frame.image])
                    if not isinstance(found, Detections) or not isinstance(ground, SegmentationMap):
                        raise UsageError("expected a model with masks and a segmentation model")
                    joined = join_panoptic(
                        found, ground, things=chosen, min_score=conf, overlap=overlap, least_area=least_area
                    )
                    name = f"{frame.index + 1:06d}.png"
                    encoded, data = cv2.imencode(".png", panoptic_colours(joined))
                    if not encoded:
                        raise SinkError(f"cannot encode {name}")
                    with atomic_path(out / name) as partial:
                        partial.write_bytes(data.tobytes())
                    images.append(_described(joined, name, frame.source))
                    segments += len(joined.segments)
                    if sink is not None:
                        drawn = frame.image.copy()
                        draw_panoptic(drawn, joined, colours)
                        sink.write(FrameResult(frame, (found, ground)), drawn)
                    on_image(len(images))
            problem = frames.report.problem
    write_json(out / "panoptic.json", {"annotations": images})
    also = "" if sink is None else f"; drawn: {sink.written()}"
    say(console, f"{out}: {len(images)} maps, {segments} segments{also}")
    if problem:
        raise SourceError(f"{source}: {problem}; the maps before are kept")


def _described(joined: PanopticMap, name: str, source: str) -> dict[str, object]:
    """What COCO's panoptic json says of an image, with names in place of category numbers."""
    segments = [
        {
            "id": one.number,
            "category": one.name,
            "isthing": one.is_thing,
            "area": one.area,
            "score": round(one.score, 4),
        }
        for one in joined.segments
    ]
    return {"file_name": name, "source": source, "segments_info": segments}
