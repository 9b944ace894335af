"""``edgevision snapshot``: one image of each stream, without a window and without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgevision.cli.options import OverwriteOption, RebuildOption, TrustOption
from edgevision.cli.stream_options import STREAM_OPTIONS, given, takes
from edgevision.session.settings import STREAM_SETTINGS

_SETTINGS = ("model", "engine", "conf", "classes", "zones", "start", "tiles", "alpha")


@takes([option for option in STREAM_OPTIONS if option.name in _SETTINGS], after="out")
def snapshot_command(
    what: str = typer.Argument(
        metavar="STREAMS|SOURCE", help="A YAML file of streams, or one source as in 'edgevision run'."
    ),
    out: Path = typer.Option(Path("snapshots"), "--out", help="Folder of the images; made where missing."),
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    overwrite: OverwriteOption = False,
    **settings: Any,
) -> None:
    """Write one image of each stream: as it came, with boxes, and with its zones.

    NAME.jpg is the image, NAME.boxes.jpg what the model finds in it, NAME.zones.jpg the zones and lines, for
    streams that have some. Of a camera it is taken after one second, when the exposure has settled. The
    outputs of the streams (recordings, events and so on) are not touched.

    \b
    Examples:
      edgevision snapshot streams.yaml --out snapshots
      edgevision snapshot rtsp://camera.local/live --zones zones.yaml
      edgevision snapshot street.mp4 --start 1:30 --overwrite
    """
    from rich.console import Console  # these load the runtime, so not for --help

    from edgevision.cli.run import run_session
    from edgevision.cli.run_console import BriefObserver
    from edgevision.pipeline import StopRequest
    from edgevision.session.request import PlanPolicy, RunRequest
    from edgevision.session.spec import StreamSpec, read_streams

    of_streams = given({**dict.fromkeys(setting.name for setting in STREAM_SETTINGS), **settings})
    if Path(what).suffix.lower() in (".yaml", ".yml"):
        specs = [spec.without_outputs() for spec in read_streams(Path(what), of_streams)]
    else:
        specs = [StreamSpec(source=what, **of_streams)]
    request = RunRequest(streams=specs, plans=PlanPolicy(trust, rebuild), overwrite=overwrite, snapshots=out)
    console, stop = Console(stderr=True), StopRequest()
    run_session(request, console, stop, BriefObserver(console, stop))
