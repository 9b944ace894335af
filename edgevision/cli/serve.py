"""``edgevision serve``: the streams of a file, watched through the page, for as long as the machine runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgevision.cli.options import (
    LogFormatOption,
    LogJsonOption,
    RebuildOption,
    ThreadsOption,
    TrustOption,
    WatchOption,
)
from edgevision.cli.stream_options import PAGE_OPTIONS, STREAM_OPTIONS, given, page, takes
from edgevision.service.logs import LogFormat


@takes(STREAM_OPTIONS, after="web")
@takes(PAGE_OPTIONS, after="web")
def serve_command(
    streams: Path = typer.Argument(
        help="YAML file of streams (docs/guides/streams.md); the page changes it."
    ),
    web: str = typer.Option("8080", "--web", metavar="[HOST:]PORT", help="Where the page is served."),
    watch: WatchOption = False,
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    threads: ThreadsOption = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_json: LogJsonOption = False,
    **settings: Any,
) -> None:
    """Run the streams of a file and serve the page, until a signal ends it.

    A source that is not there yet is waited for, and a stream that ends leaves the others running. Outputs
    that exist are continued or renamed, as a service needs that starts again. Streams that the page adds,
    changes or removes are written to the file; the file before is kept beside it as NAME.bak.

    \b
    Examples:
      edgevision serve streams.yaml
      edgevision serve streams.yaml --web 0.0.0.0:8443 --web-password page.password
    """
    from edgevision.cli.console import open_console  # these load the runtime, so not for --help
    from edgevision.cli.run import run_session
    from edgevision.pipeline import StopRequest
    from edgevision.service.service import Service
    from edgevision.session.request import PlanPolicy, RunRequest
    from edgevision.session.spec import read_streams

    console, stop = open_console(LogFormat.JSON if log_json else log_format), StopRequest()
    of_streams = given(settings)
    request = RunRequest(
        streams=read_streams(streams, of_streams),
        given=of_streams,
        plans=PlanPolicy(trust, rebuild),
        threads=threads,
        append=True,
        is_kept_open=True,
        streams_file=streams,
        reload_from=streams,
        watch=watch,
        web=page(web, settings),
        service=Service(notify=True),
    )
    run_session(request, console, stop)
