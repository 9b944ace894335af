"""``edgevision schema``: the JSON Schema of a YAML file that edgevision reads, for editors."""

from __future__ import annotations

from enum import Enum
from importlib import resources

import typer


class SchemaName(str, Enum):
    """Kinds of files that have a schema."""

    STREAMS = "streams"
    ZONES = "zones"
    TRAIN = "train"
    DEVICE = "device"


def schema_command(
    name: SchemaName = typer.Argument(
        help="streams: of --streams; zones: of --zones; train: configurations; device: targets of compile."
    ),
    path: bool = typer.Option(False, "--path", help="Print where the file of the schema lies."),
) -> None:
    """Print the JSON Schema of a file that edgevision reads: keys, types and what each means.

    An editor with a YAML language server completes and checks a file that names its schema in the first line:
    # yaml-language-server: $schema=streams.schema.json

    \b
    Examples:
      edgevision schema streams > streams.schema.json
      edgevision schema zones --path
    """
    file = resources.files("edgevision").joinpath(f"schemas/{name.value}.schema.json")
    typer.echo(str(file) if path else file.read_text(encoding="utf-8"), nl=path)
