"""``edgevision parity``: whether a model answers alike in every engine and precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import JsonOption, RebuildOption, TrustOption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgevision.contract.manifest import Manifest
    from edgevision.export.parity.parity import ParityReport


def parity_command(
    models: list[str] = typer.Argument(
        ..., help="Names, ONNX files or plans of one network; the first is the reference."
    ),
    source: str = typer.Option(..., "--source", help="Where the frames come from, as for 'run'."),
    checkpoint: Path | None = typer.Option(
        None, "--checkpoint", help="The checkpoint that they were exported from, as the reference."
    ),
    frames: int = typer.Option(8, "--frames", min=1, help="How many frames, spread over the source."),
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the same frames through PyTorch, ONNX Runtime, OpenVINO and TensorRT, where present.

    The normalised input, the head maps and the final answers are compared, and the first stage that
    differs by more than the precision explains is named. The exit code is 1 where any do.

    \b
    Examples:
      edgevision parity retinanet-light --source street.mp4
      edgevision parity model.onnx model.int8.onnx --source street.mp4 --checkpoint runs/mine/best.pt
    """
    from functools import partial

    from edgevision.cli.any_model import open_engine
    from edgevision.extras import needs_extra
    from edgevision.session.request import PlanPolicy
    from edgevision.zoo import find_model

    with needs_extra("export"):
        from edgevision.export.parity.parity import Parity
        from edgevision.export.parity.runs import Run
    paths = [find_model(name) for name in models]
    reference: Run | None = None
    if checkpoint is not None:
        with needs_extra("train"):
            from edgevision.contract.model_file import read_manifest
            from edgevision.export.parity.torch_run import TorchRun
            from edgevision.training.checkpoint import load_checkpoint
        reference = TorchRun(load_checkpoint(checkpoint), read_manifest(paths[0]).heads)
    open_plan = partial(open_engine, engine="tensorrt", policy=PlanPolicy(trust, rebuild))
    with Parity(paths, reference, open_plan) as parity:
        report = parity.compare(_batches(source, parity.manifest, frames))
    typer.echo(_json(report) if as_json else _text(report))
    if not report.agrees:
        raise typer.Exit(1)


def _batches(uri: str, manifest: Manifest, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Frames spread evenly over a source of known length, else its first ones; one a batch."""
    from edgevision.contract.letterbox import Letterbox
    from edgevision.video import open_source

    with open_source(uri) as source:
        step = max(1, (source.info.frame_count or 0) // frames)
        taken = 0
        for frame in source:
            if frame.index % step:
                continue
            size = (manifest.input_width, manifest.input_height)
            yield Letterbox.fit(frame.width, frame.height, *size, manifest.resize).image(frame.image)[None]
            taken += 1
            if taken == frames:
                return


def _text(report: ParityReport) -> str:
    lines = []
    for one in report.comparisons:
        wrong = one.first_divergent
        verdict = "agrees" if wrong is None else f"DIVERGES at {wrong}"
        lines.append(f"{one.run} against {one.reference}: {verdict}")
        if wrong is not None:
            lines += [f"  {difference}" for difference in one.differences]
    lines += [f"not run: {line}" for line in report.missing]
    diverging = sum(not one.agrees for one in report.comparisons)
    total = len(report.comparisons)
    lines.append(
        f"{report.frames} frames: all {total} comparisons agree"
        if not diverging
        else f"{report.frames} frames: {diverging} of {total} comparisons diverge"
    )
    return "\n".join(lines)


def _json(report: ParityReport) -> str:
    import json

    import msgspec

    comparisons = [
        {
            **msgspec.to_builtins(one),
            "agrees": one.agrees,
            "first_divergent": None if one.first_divergent is None else str(one.first_divergent),
        }
        for one in report.comparisons
    ]
    document = {"agrees": report.agrees, **msgspec.to_builtins(report), "comparisons": comparisons}
    return json.dumps(document, indent=2)
