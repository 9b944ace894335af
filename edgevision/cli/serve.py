"""``edgevision serve``: the streams of a file, watched through the page, for as long as the machine runs."""

from __future__ import annotations

from pathlib import Path

import typer

from edgevision.cli.options import (
    EngineOption,
    RebuildOption,
    ThreadsOption,
    TlsCertOption,
    TlsKeyOption,
    TrustOption,
    WebAllowLocalOption,
    WebDataOption,
    WebKeepDaysOption,
    WebKeepOption,
    WebNameOption,
    WebPasswordOption,
)
from edgevision.service.logs import LogFormat


def serve_command(
    streams: Path = typer.Argument(
        help="YAML file of streams (docs/guides/streams.md); the page changes it."
    ),
    web: str = typer.Option("8080", "--web", metavar="[HOST:]PORT", help="Where the page is served."),
    web_password: WebPasswordOption = None,
    web_name: WebNameOption = None,
    web_data: WebDataOption = None,
    web_keep: WebKeepOption = None,
    web_keep_days: WebKeepDaysOption = None,
    web_allow_local: WebAllowLocalOption = False,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    model: list[str] = typer.Option(
        [],
        "--model",
        help="Name of a model that ships, or path of an ONNX file. Default: the first detector.",
    ),
    engine: EngineOption = "auto",
    trust: TrustOption = False,
    rebuild: RebuildOption = False,
    threads: ThreadsOption = None,
    conf: float = typer.Option(0.35, "--conf", help="Leave out detections below this score, 0 to 1."),
    classes: str | None = typer.Option(
        None, "--classes", help="Only these classes, separated by commas: person,car."
    ),
    log_format: LogFormat = typer.Option(
        LogFormat.TEXT, "--log-format", help="Format of stderr: text, or json with one object a line."
    ),
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
    from edgevision.session.spec import listed, read_streams
    from edgevision.web.settings import web_settings

    console, stop = open_console(log_format), StopRequest()
    request = RunRequest(
        streams=read_streams(streams, {}),
        models=model,
        engine=engine,
        plans=PlanPolicy(trust, rebuild),
        threads=threads,
        conf_threshold=conf,
        classes=None if classes is None else listed(classes),
        append=True,
        is_kept_open=True,
        streams_file=streams,
        web=web_settings(
            web,
            password=web_password,
            names=web_name,
            folder=web_data,
            keep=web_keep,
            keep_days=web_keep_days,
            tls_cert=tls_cert,
            tls_key=tls_key,
            allow_local=web_allow_local,
        ),
        service=Service(notify=True),
    )
    run_session(request, console, stop)
