"""Options that several commands take, each said once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgevision.service.logs import LogFormat


class YesOrNo(str, Enum):
    """Of an option that is on unless one says no."""

    YES = "yes"
    NO = "no"


EngineOption = Annotated[
    str,
    typer.Option("--engine", help="auto, onnxruntime, onnxruntime-cuda, openvino or tensorrt."),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Load a TensorRT plan that was not built here. It holds machine code."),
]
RebuildOption = Annotated[
    bool,
    typer.Option("--rebuild", help="Build a plan that does not fit again, from the ONNX file beside it."),
]
WatchOption = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Take the file of streams and its zones in force whenever they are saved, as SIGHUP does "
        "(docs/guides/streams.md).",
    ),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Format of stderr: text, or json with one object a line.")
]
LogJsonOption = Annotated[bool, typer.Option("--log-json", help="Short for --log-format json.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="The folder of the images of a COCO json.")
]
SplitOption = Annotated[str | None, typer.Option("--split", help="Segmentation: which part of the folder.")]
MinBoxesOption = Annotated[
    int,
    typer.Option("--min-boxes", min=1, help="Labelled boxes that a class needs to count in ap50_mean."),
]
ClassesOfDataOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="Evaluate these only: voc, coco, a file of names, or names separated by commas. "
        "Default: every class that both the model and the data have.",
    ),
]
ConfigArgument = Annotated[Path, typer.Argument(help="A training configuration, as in configs/models.")]
SET_OPTION: list[str] = typer.Option(
    [], "--set", metavar="KEY=VALUE", help="Change one key of the configuration, such as loop.images=3000."
)
"""As the default of ``overrides: list[str]``; an alias would leave a mutable default to each command."""
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; every core by default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""For commands that print; others take a file."""
OnnxOutOption = Annotated[Path, typer.Option("--out", help="The ONNX file to write.")]

DATA_IMAGES_OPTION = typer.Option(None, "--images", help="The folder of the images, where it is another one.")
UNLABELLED_OPTION = typer.Option(
    "auto",
    "--unlabelled",
    help="Images without a label file: empty (they show nothing), leave-out, or auto: what the layout means.",
)
CROWDS_OPTION = typer.Option(
    False, "--crowds-are-objects", help="Take boxes marked as crowds for objects; CVAT marks every mask so."
)


def check_onnx_out(out: Path) -> None:
    """Refuses an output that is not named as an ONNX file.

    Raises:
        UsageError: its name ends in something else.
    """
    from edgevision.errors import UsageError

    if out.suffix.lower() != ".onnx":
        raise UsageError(f"--out {out}: expected a file name that ends in .onnx")
