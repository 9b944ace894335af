"""``edgevision bench``: how fast models run on this machine, and which setup to take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import JsonOption, ThreadsOption, TrustOption

if TYPE_CHECKING:
    from edgevision.doctor.speed import Speed

_HEAD = ("engine", "threads", "batch", "at once", "ms", "images/s")


def bench_command(
    models: list[str] = typer.Argument(
        None,
        metavar="[MODEL]...",
        help="Names of models that ship, ONNX files or plans. Default: the first detector. Other precisions "
        "of a file that lie beside it (NAME.int8.onnx, NAME.engine) are measured too.",
    ),
    seconds: float = typer.Option(2.0, "--seconds", min=0.1, help="How long each setup is measured."),
    threads: ThreadsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure models on this machine: engines, precisions, threads, batches and calls at the same time.

    Each figure includes letterbox, inference and reading of the results. Beside it stands the accuracy that
    the model's card gives. The last lines say which setup edgevision would take for a camera, where the
    latency counts, and for recordings, where the images a second count.

    \b
    Examples:
      edgevision bench
      edgevision bench mine.onnx mine.int8.onnx --seconds 5
      edgevision bench retinanet-light --json > bench.json
    """
    import msgspec
    from rich.console import Console  # these load the runtime, so not for --help

    from edgevision.cli.console import counting, say, wrapped
    from edgevision.doctor.speed import files_beside, for_camera, for_recordings, measure_all, setups
    from edgevision.engines.base import usable_cores
    from edgevision.engines.choose import machine_facts
    from edgevision.errors import EngineError
    from edgevision.files import json_text
    from edgevision.zoo import default_model, find_model

    paths = [find_model(one) for one in models or []] or [default_model().path]
    files = list(dict.fromkeys(file for path in paths for file in files_beside(path)))
    console, speeds = Console(stderr=True), []
    total = len(setups(files, machine_facts(), threads or usable_cores()))
    with counting(console, "measuring", total) as on_done:
        for speed in measure_all(files, seconds, threads=threads, trust=trust):
            speeds.append(speed)
            on_done(len(speeds))
    camera, recordings = for_camera(speeds), for_recordings(speeds)
    if as_json:
        choice = {"camera": camera, "recordings": recordings}
        document = {"measured": speeds, "choice": {what: one and one.setup for what, one in choice.items()}}
        typer.echo(json_text(msgspec.to_builtins(document)), nl=False)
    else:
        _print_table([one for one in speeds if one.error is None])
        for what, one in (("a camera", camera), ("recordings", recordings)):
            if one is not None:
                typer.echo(wrapped(f"for {what}: {_advice(one)}", Console().width))
    for failed in (one for one in speeds if one.error is not None):
        say(console, f"note: {failed.setup.file} in {failed.setup.engine}: {failed.error}")
    if camera is None and recordings is None:
        raise EngineError("no engine runs any of these files here; 'edgevision doctor' says what is missing")


def _print_table(speeds: Sequence[Speed]) -> None:
    """A table for each file, under a line with its precision and accuracy."""
    for file in dict.fromkeys(map(_file, speeds)):
        of_file = [one for one in speeds if _file(one) == file]
        figure = next((f", {name} {value:.3g}" for name, value in of_file[0].figures.items()), "")
        typer.echo(f"{file}: {of_file[0].precision}{figure}")
        rows = [
            (
                one.setup.engine,
                str(one.setup.threads),
                str(one.setup.batch),
                str(one.setup.requests),
                f"{one.latency_ms:.1f}",
                f"{one.images_per_second:.1f}",
            )
            for one in of_file
        ]
        widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
        for row in (_HEAD, *rows):
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            typer.echo(f"  {'  '.join(cells)}".rstrip())


def _file(speed: Speed) -> str:
    return speed.setup.file.rpartition("/")[2]


def _advice(speed: Speed) -> str:
    """What to take, and the options that say it."""
    from edgevision.zoo import list_models

    setup = speed.setup
    shipped = {
        str(file.path): f"{model.name} --precision {file.manifest.precision}"
        for model in list_models()
        for file in model.files
    }
    command = f"--model {shipped.get(setup.file) or shlex.quote(setup.file)} --engine {setup.engine}"
    figure = f"{speed.latency_ms:.1f} ms an image" if setup.batch == setup.requests == 1 else ""
    rate = f"{speed.images_per_second:.1f} images a second"
    how = [f"{setup.threads} threads"]
    how += [f"{setup.requests} at once"] if setup.requests > 1 else []
    how += [f"batches of {setup.batch}"] if setup.batch > 1 else []
    return f"{_file(speed)} in {setup.engine}, {', '.join(how)}: {figure or rate} ({command})"
