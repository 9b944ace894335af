"""``edgevision models``: lists the shipped models, and the families that can be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgevision.zoo import ZooFile


def models_command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON, one object per model."),
    families: bool = typer.Option(False, "--families", help="List the architectures that can be trained."),
    forget: bool = typer.Option(
        False,
        "--forget-times",
        help="Forget how fast the precisions were on this machine: the next run measures them again.",
    ),
) -> None:
    """List the shipped models, the default of each task first, or the families that can be trained.

    \b
    Examples:
      edgevision models
      edgevision models --json
      edgevision models --families
      edgevision models --forget-times
    """
    import json

    if forget:
        from edgevision.errors import UsageError
        from edgevision.zoo.quickest import forget_times

        if families or as_json:
            raise UsageError("--forget-times lists nothing; give it without --json and --families")
        count = forget_times()
        typer.echo(f"{count or 'no'} kept measurement{'' if count == 1 else 's'} of precisions forgotten")
        return

    if families:
        _list_families(as_json)
        return

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
                "training_data": model.manifest.training_data,
                "licence": model.manifest.licence,
                "path": str(model.path),
                "precisions": [
                    {
                        "precision": file.manifest.precision,
                        "size": file.size,
                        "figures": file.manifest.figures,
                        "path": str(file.path),
                    }
                    for file in model.files
                ],
            }
            for model in models
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not models:
        typer.echo("no models ship with this installation; run your own with 'edgevision run --model PATH'")
        return

    import shutil

    from edgevision.cli.console import wrapped

    width = shutil.get_terminal_size().columns
    table = [
        (
            model.name,
            model.manifest.task,
            str(len(model.manifest.classes)),
            f"{model.manifest.input_width}x{model.manifest.input_height}",
            ", ".join(f"{file.manifest.precision} {file.size / 1e6:.1f}" for file in model.files),
        )
        for model in models
    ]
    head = ("name", "task", "classes", "input", "precisions, MB")
    for line, model in zip(_rows(head, table), (None, *models), strict=True):
        typer.echo(line)
        if model is not None:
            figures = ", ".join(f"{name} {value:.3g}" for name, value in model.manifest.figures.items())
            figures = "; ".join(filter(None, [figures, *map(_beside, model.files[1:])]))
            parts = (
                ("figures", figures),
                ("trained on", model.manifest.training_data),
                ("licence", model.manifest.licence),
            )
            for what, text in parts:
                if text:
                    typer.echo(wrapped(f"  {what}: {text}", width))


def _rows(head: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    """The head and the rows as lines, each column as wide as its longest text."""
    widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
    return [
        "  ".join(text.ljust(size) for text, size in zip(row, widths, strict=True)).rstrip()
        for row in (head, *table)
    ]


def _beside(file: ZooFile) -> str:
    """The first figure of another precision, and how far it is below that of FP32."""
    name, value = next(iter(file.manifest.figures.items()), ("", 0.0))
    drop = "not measured" if file.drop is None else f"{name} {value:.3g}, {_change(file.drop)}"
    return f"{file.manifest.precision}: {drop}"


def _change(drop: float) -> str:
    return f"a drop of {drop:.4f}" if drop >= 0 else f"a gain of {-drop:.4f}"


def _list_families(as_json: bool) -> None:
    """Every architecture with its task, paper and configuration."""
    import json
    from dataclasses import asdict

    from edgevision.config import config_folder
    from edgevision.models.families import FAMILIES

    if as_json:
        typer.echo(json.dumps([asdict(family) for family in FAMILIES], indent=2))
        return

    import shutil

    from edgevision.cli.console import wrapped

    width = shutil.get_terminal_size().columns
    table = [(family.name, family.task, family.configuration) for family in FAMILIES]
    for line, family in zip(
        _rows(("family", "task", "configuration"), table), (None, *FAMILIES), strict=True
    ):
        typer.echo(line)
        if family is not None:
            typer.echo(wrapped(f"  {family.text}", width))
            typer.echo(wrapped(f"  paper: {family.paper}", width))
    typer.echo(f"The configurations are in {config_folder() / 'models'}: edgevision train CONFIGURATION")
