"""``edgevision calibrate``: from a float model to an int8 one, with the accuracy cost bounded."""

from __future__ import annotations

from pathlib import Path

import typer


def calibrate_command(
    model: str = typer.Argument(
        ..., help="An FP32 ONNX file of 'edgevision export', or the name of a model that ships."
    ),
    sources: list[str] = typer.Option(
        ..., "--from", metavar="SRC", help="Frames to calibrate on: a folder, a video, a stream; repeatable."
    ),
    out: Path = typer.Option(..., "--out", help="The ONNX file to write; its report goes beside it."),
    frames: int = typer.Option(512, "--frames", min=2, help="Distinct frames to draw at the most."),
    method: str = typer.Option(
        "auto",
        "--method",
        help="How ranges are chosen: minmax, percentile, entropy, or auto, which takes the one that changes "
        "the model's answers least.",
    ),
    percentile: float = typer.Option(
        99.99, "--percentile", help="For percentile: share of the magnitudes to hold, in per cent."
    ),
    data: Path | None = typer.Option(
        None, "--data", help="Labelled data to hold the accuracy on, as 'edgevision eval' takes them."
    ),
    images: Path | None = typer.Option(None, "--images", help="Detection: the folder of the pictures."),
    split: str | None = typer.Option(None, "--split", help="Segmentation: which part of the folder."),
    max_drop: float | None = typer.Option(
        None,
        "--max-drop",
        show_default="0.01",
        help="With --data: how far ap50_mean or the mean IoU may fall.",
    ),
    min_share: float | None = typer.Option(
        None,
        "--min-share",
        show_default="0.8",
        help="With --data: share of the convolution work that must stay in int8, 0 to 1.",
    ),
    min_boxes: int = typer.Option(
        10, "--min-boxes", min=1, help="Objects that a class needs to count in ap50_mean."
    ),
    seed: int = typer.Option(0, "--seed", help="Of the sample of frames."),
    cache: Path | None = typer.Option(
        None, "--cache", help="Folder to keep ranges and rankings in. Default: in ~/.cache/edgevision."
    ),
    no_cache: bool = typer.Option(False, "--no-cache", help="Keep nothing, and use nothing that was kept."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace outputs that exist."),
) -> None:
    """Quantise a model to int8, in the form that TensorRT fuses and accepts.

    With --data the int8 model is compared with the float one. Over the budget, other ranges are tried first,
    then layers that suffer most go back to float until the drop is inside --max-drop. Where that cannot be
    done, nothing is written. Beside the model lie its report (.md and .json) and the list of the frames
    (.frames.json).

    \b
    Examples:
      edgevision calibrate retinanet-light --from street.mp4 --out retinanet-light.int8.onnx
      edgevision calibrate retinanet-light --from photos/ --from street.mp4 --out light.int8.onnx \\
          --data val.json --images photos/val --max-drop 0.01
      edgevision calibrate unet-light --from camvid/images/train --out unet-light.int8.onnx \\
          --data camvid --split val --max-drop 0.005
    """
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra

    with needs_extra("train"):
        from edgevision.calibration.job import Request, run_calibration

    if data is None:
        for flag, value in (("--max-drop", max_drop), ("--min-share", min_share)):
            if value is not None:
                raise UsageError(
                    f"{flag} {value:g} holds with --data only; name labelled data, or leave it out"
                )
    run_calibration(
        Request(
            model=model,
            sources=tuple(sources),
            out=out,
            frames=frames,
            method=method,
            percentile=percentile,
            data=data,
            images=images,
            split=split,
            max_drop=0.01 if max_drop is None else max_drop,
            min_share=0.8 if min_share is None else min_share,
            min_boxes=min_boxes,
            seed=seed,
            cache=cache,
            no_cache=no_cache,
            overwrite=overwrite,
        )
    )
