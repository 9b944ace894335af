"""``edgevision check``: all that is wrong with a file of streams, without starting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgevision.cli.stream_options import STREAM_OPTIONS, given, takes


@takes(STREAM_OPTIONS, after="connect")
def check_command(
    streams: Path = typer.Argument(help="YAML file of streams (docs/guides/streams.md)."),
    connect: bool = typer.Option(False, "--connect", help="Open every source too."),
    **settings: Any,
) -> None:
    """Say all that is wrong with a file of streams, and where each value comes from, without starting it.

    Options of a stream hold for all of them, as in 'edgevision run'. The exit code is 0 where nothing is
    wrong, else 2.

    \b
    Examples:
      edgevision check streams.yaml
      edgevision check streams.yaml --conf 0.6 --connect
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from edgevision.session.check import check_streams

    found = check_streams(streams, given(settings), connect=connect)
    console = Console(highlight=False)
    for stream in found.streams:
        console.print(stream.name, style="bold", markup=False)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for _ in range(3):
            table.add_column(overflow="fold")
        for value in stream.values:
            table.add_row(*map(Text, (value.setting, value.value, value.origin)))
        console.print(Padding(table, (0, 0, 0, 2)))
    for fault in found.faults:
        typer.echo(f"error: {' '.join(fault.split())}", err=True)
    if found.faults:
        raise typer.Exit(2)
    count = len(found.streams)
    typer.echo(f"{streams}: {count} stream{'s' if count > 1 else ''}, nothing is wrong")
