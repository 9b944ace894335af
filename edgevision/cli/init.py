"""``edgevision init``: looks at the machine, and writes a file of streams to start with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import OverwriteOption

if TYPE_CHECKING:
    from edgevision.doctor import Finding


def init_command(
    path: Path = typer.Argument(Path("streams.yaml"), metavar="[FILE]", help="The file to write."),
    source: list[str] = typer.Option(
        [], "--source", help="A camera, stream, video or demo, as in 'edgevision run'. May be repeated."
    ),
    name: list[str] = typer.Option([], "--name", help="What a stream is called; in the order of --source."),
    model: str = typer.Option("", "--model", help="Model of all streams. Default: the first detector."),
    classes: str = typer.Option("", "--classes", help="Only these classes: person,car. Default: all."),
    record: str = typer.Option("", "--record", help="Folder for recordings. Default: none."),
    yes: bool = typer.Option(False, "--yes", help="Ask nothing: take what was found and the defaults."),
    overwrite: OverwriteOption = False,
) -> None:
    """Look at this machine and write a commented file of streams; says the next command.

    Cameras, GPU and engines are looked for. On a terminal it asks for what no option says; otherwise the
    sources are the cameras that were found, or the demo.

    \b
    Examples:
      edgevision init
      edgevision init --source rtsp://camera.local/live --name gate --classes person --record recordings
      edgevision init site.yaml --yes
    """
    from edgevision import doctor
    from edgevision.cli.starter import starter_text
    from edgevision.doctor.gpu import check_driver
    from edgevision.doctor.inference import check_onnx_runtime, check_openvino
    from edgevision.doctor.video import check_cameras
    from edgevision.errors import UsageError
    from edgevision.files import atomic_path, refuse_existing
    from edgevision.session.spec import listed
    from edgevision.video.sources.camera import list_cameras

    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"{path} is not a name for the file; expected one such as {path.stem}.yaml")
    refuse_existing(path, overwrite)
    checks = (check_cameras, check_driver, check_onnx_runtime, check_openvino)
    _show(list(doctor.examine(checks=checks)))
    sources = list(source)
    is_asking = not yes and sys.stdin.isatty()
    if is_asking:
        sources = sources or _asked_sources(list_cameras())
        classes = classes or typer.prompt("classes, such as person,car (Enter: all)", "", show_default=False)
        record = record or typer.prompt("folder for recordings (Enter: none)", "", show_default=False)
    sources = sources or list_cameras() or ["demo"]
    text = starter_text(
        sources,
        name,
        model=model,
        classes=listed(classes),
        record=record,
        track=find_spec("trackers") is not None,
    )
    with atomic_path(path) as partial:
        partial.chmod(0o600)  # it may hold passwords
        partial.write_text(text, encoding="utf-8")
    file = shlex.quote(str(path))
    typer.echo(f"written: {path} ({len(sources)} {'stream' if len(sources) == 1 else 'streams'})")
    typer.echo(f"check:   edgevision check {file} --connect")
    typer.echo(f"next:    edgevision snapshot {file}        # an image of each, to see whether it works")
    typer.echo(f"then:    edgevision run --streams {file}   # or with a page: edgevision serve {file}")


def _show(findings: Sequence[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{finding.check}: {finding.found}")


def _asked_sources(cameras: Sequence[str]) -> list[str]:
    """What a person types, until an empty line."""
    found: list[str] = []
    usual = cameras[0] if cameras else "demo"
    while True:
        text = "source: a camera's address, a file, webcam or demo" if not found else "another source"
        hint = f"Enter: {usual}" if not found else "Enter: no more"
        answer = typer.prompt(f"{text} ({hint})", "", show_default=False).strip()
        if not answer:
            return found or [usual]
        found.append(answer)
