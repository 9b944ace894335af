"""``edgevision models``: lists the shipped models."""

from __future__ import annotations

import typer


def models_command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON, one object per model."),
) -> None:
    """List the shipped models, the default of each task first.

    \b
    Examples:
      edgevision models
      edgevision models --json
    """
    import json

    from edgevision.zoo import list_models

    models = list_models()
    if as_json:
        rows = [
            {
                "name": model.name,
                "task": model.manifest.task,
                "classes": list(model.manifest.classes),
                "input": [model.manifest.input_width, model.manifest.input_height],
                "size": model.size,
                "figures": model.manifest.figures,
                "licence": model.manifest.licence,
                "path": str(model.path),
            }
            for model in models
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not models:
        typer.echo("no models ship with this installation; run your own with 'edgevision run --model PATH'")
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "task", "classes", "input", "size", "figures", "licence"):
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "task", "size"))
    for model in models:
        manifest = model.manifest
        table.add_row(
            model.name,
            manifest.task,
            str(len(manifest.classes)),
            f"{manifest.input_width}x{manifest.input_height}",
            f"{model.size / 1e6:.1f} MB",
            ", ".join(f"{name} {value:.3g}" for name, value in manifest.figures.items()),
            manifest.licence,
        )
    Console().print(table)
