"""``edgevision inspect``: what a model file promises and consists of."""

from __future__ import annotations

import typer

from edgevision.cli.options import JsonOption


def inspect_command(
    model: str = typer.Argument(
        ..., help="An ONNX file or a TensorRT plan (.engine), ours or not, or the name of a model that ships."
    ),
    as_json: JsonOption = False,
) -> None:
    """Show a model's contract, its inputs and outputs, its layers by precision, and how a plan was built.

    Nothing is run, and no GPU is needed. What TensorRT would refuse is listed.

    \b
    Examples:
      edgevision inspect retinanet-light
      edgevision inspect street.engine --json
    """
    import json
    import sys

    from rich.console import Console

    from edgevision.cli.inspect_table import show
    from edgevision.export.inspect_file import inspect_file
    from edgevision.zoo import find_model

    found = inspect_file(find_model(model))
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2))
        return
    # A pipe has no width; lines cut at 80 characters would be useless in it.
    show(found, Console(width=None if sys.stdout.isatty() else 120))
