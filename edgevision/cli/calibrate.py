"""``edgevision calibrate``: from a float model to an INT8 one, with the accuracy cost bounded."""

from __future__ import annotations

from pathlib import Path

import typer

from edgevision.cli.options import (
    ClassesOfDataOption,
    ImagesOption,
    MinBoxesOption,
    OverwriteOption,
    SplitOption,
)


def calibrate_command(
    model: str = typer.Argument(
        ..., help="An FP32 ONNX file of 'edgevision export', or the name of a model that ships."
    ),
    sources: list[str] = typer.Option(
        ...,
        "--from",
        metavar="SRC",
        help="Frames to calibrate on: a folder, a video, a stream; may be given several times.",
    ),
    out: Path = typer.Option(..., "--out", help="The ONNX file to write; its report goes beside it."),
    frames: int = typer.Option(512, "--frames", min=2, help="The most distinct frames to draw."),
    method: str = typer.Option(
        "auto",
        "--method",
        help="How ranges are chosen: minmax, peak, percentile, entropy; trained, those that the model was "
        "trained with; or auto, which takes these where there are any, and else the one that changes the "
        "model's answers least.",
    ),
    percentile: float | None = typer.Option(
        None,
        "--percentile",
        show_default="99.99",
        help="For peak and percentile: share of the magnitudes to hold, in per cent.",
    ),
    weight_scale: str = typer.Option(
        "channel",
        "--weight-scale",
        help="Scales of weights: one for each channel, or with tensor one for a convolution, depthwise ones "
        "left in float: TensorRT for RTX then keeps bias and activation within each INT8 kernel.",
    ),
    data: Path | None = typer.Option(
        None, "--data", help="Labelled data to hold the accuracy on, as 'edgevision eval' takes them."
    ),
    images: ImagesOption = None,
    split: SplitOption = None,
    max_drop: float | None = typer.Option(
        None,
        "--max-drop",
        show_default="0.01 with --data, else any",
        help="With --data: how far ap50_mean or the mean IoU may fall. Without it: how far the answers on "
        "frames held out may be from the float model's.",
    ),
    min_share: float | None = typer.Option(
        None,
        "--min-share",
        show_default="0.8",
        help="With --data or --max-drop: share of the convolution work that must stay in INT8, 0 to 1.",
    ),
    min_boxes: MinBoxesOption = 10,
    classes: ClassesOfDataOption = None,
    seed: int = typer.Option(0, "--seed", help="Random seed for the draw of frames."),
    cache: Path | None = typer.Option(
        None, "--cache", help="Folder to keep ranges and rankings in. Default: in ~/.cache/edgevision."
    ),
    no_cache: bool = typer.Option(False, "--no-cache", help="Do not use or write the cache."),
    overwrite: OverwriteOption = False,
) -> None:
    """Quantise a model to INT8, in the form that TensorRT fuses and accepts.

    With --data the INT8 model is compared with the float one on labels; with --max-drop alone, its answers
    are compared with the float model's on frames held out. Over the budget, other ranges are tried first,
    then layers that suffer most go back to float until the drop is inside --max-drop. Where that cannot be
    done, nothing is written. Beside the model are its report (.md and .json) and the list of the frames
    (.frames.json).

    \b
    Examples:
      edgevision calibrate retinanet-light --from street.mp4 --out retinanet-light.int8.onnx
      edgevision calibrate retinanet-light --from photos/ --from street.mp4 --out light.int8.onnx \\
          --data val.json --images photos/val --max-drop 0.01
      edgevision calibrate unet-light --from camvid/images/train --out unet-light.int8.onnx \\
          --data camvid --split val --max-drop 0.005
    """
    from functools import partial

    from rich.console import Console

    from edgevision.cli.app import Commands
    from edgevision.cli.console import counting, say
    from edgevision.cli.signals import end_on_sigterm
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra

    with needs_extra("train"):
        from edgevision.cache import cache_folder
        from edgevision.calibration.job import CalibrationRequest, run_calibration
        from edgevision.calibration.markdown import verdict
        from edgevision.calibration.ranges import PERCENTILE
        from edgevision.evaluation.detection import DEFAULT_MIN_BOXES
        from edgevision.evaluation.labelled import LabelledData

    if cache is not None and no_cache:
        raise UsageError("--cache and --no-cache exclude each other; give one of them")
    if cache is not None and cache.exists() and not cache.is_dir():
        raise UsageError(f"--cache {cache} is a file; expected a folder, which is made where it is missing")
    if percentile is not None and method in ("minmax", "entropy", "trained"):
        raise UsageError(
            f"--percentile {percentile:g} has no effect on --method {method}; it is for peak, percentile and "
            "auto: leave it out"
        )
    if data is None:
        if min_share is not None and max_drop is None:
            raise UsageError(
                f"--min-share {min_share:g} has no effect without --data or --max-drop; give one of these"
            )
        if images is not None or split is not None:
            raise UsageError("--images and --split need --data; name the labelled data with --data")
        if classes is not None and max_drop is None:
            raise UsageError("--classes has no effect without --data or --max-drop; give one of these")
        if min_boxes != DEFAULT_MIN_BOXES and max_drop is None:
            raise UsageError("--min-boxes has no effect without --data or --max-drop; give one of these")
    request = CalibrationRequest(
        model=model,
        sources=tuple(sources),
        out=out,
        frames=frames,
        method=method,
        percentile=PERCENTILE if percentile is None else percentile,
        weight_scale=weight_scale,
        labelled=None if data is None else LabelledData(data=data, images=images, split=split),
        max_drop=max_drop,
        min_share=0.8 if min_share is None else min_share,
        min_boxes=min_boxes,
        classes=classes,
        seed=seed,
        cache=None if no_cache else cache or cache_folder("calibration"),
        overwrite=overwrite,
    )
    result, notes = Console(), Console(stderr=True)
    with end_on_sigterm():
        done = run_calibration(
            request, command=Commands.line, note=partial(say, notes), progress=partial(counting, notes)
        )
    for line in done.warnings:
        say(notes, f"warning: {line}")
    say(result, f"{out}: {verdict(done.report)}")
    beside = ", ".join(path.name for path in done.outputs[1:])
    say(result, f"  ranges by {done.report.method}; report and frames: {beside}")
    for one in done.report.speed:
        say(result, f"  {one.engine}: {one.float_ms:.1f} ms in float, {one.int8_ms:.1f} ms in int8")
