"""``edgevision compile``: from an ONNX file to a TensorRT plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import OverwriteOption

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.export.plans.build import BuildOptions
    from edgevision.export.plans.compile import Compiled
    from edgevision.export.plans.progress import Watch


def _three_numbers(batch: tuple[str, str, str] | None) -> tuple[str, str, str] | None:
    """Refuses ``--batch 4 --out b.engine``, which took the next option for a number."""
    if batch is not None and not all(size.isdecimal() for size in batch):
        raise typer.BadParameter(
            f"expected three whole numbers, MIN OPT MAX, as in '1 4 8'; found '{' '.join(batch)}'"
        )
    return batch


def compile_command(
    model: str = typer.Argument(
        ..., help="An ONNX file of 'edgevision export', or the name of a model that ships."
    ),
    out: Path = typer.Option(..., "--out", help="The plan to write (.engine); its .json goes beside it."),
    target: str = typer.Option(
        "auto",
        "--target",
        help="What to build for. rtx20, rtx30, rtx40 and rtx50 build on any x86-64 machine (TensorRT for "
        "RTX); jetson-orin-nano, jetson-orin-nx, jetson-agx-orin, jetson-thor, t4, a10 and h100 build on the "
        "device itself; auto is the GPU of this machine.",
    ),
    batch: tuple[str, str, str] | None = typer.Option(
        None,
        "--batch",
        metavar="MIN OPT MAX",
        callback=_three_numbers,
        help="Batch sizes to build for: three numbers. Default: 1 1 1.",
    ),
    workspace: int | None = typer.Option(
        None,
        "--workspace",
        min=1,
        metavar="MIB",
        help="Most scratch memory that a layer may take. Default: on a Jetson a quarter of its memory, "
        "elsewhere the library's.",
    ),
    dla_core: int | None = typer.Option(
        None, "--dla", min=0, metavar="CORE", help="Run on this core of an Orin's deep learning accelerator."
    ),
    timing_cache: Path | None = typer.Option(
        None, "--timing-cache", help="Keep the builder's measurements in this file: later builds are faster."
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Build a TensorRT plan. Precision is that of the model: export or calibrate it first.

    A plan that is up to date is kept. Ctrl-C cancels the build and leaves nothing behind.

    \b
    Examples:
      edgevision compile retinanet-light.int8.onnx --out retinanet-light.engine
      edgevision compile retinanet-light --out rtx40.engine --target rtx40 --batch 1 4 8
    """
    from rich.console import Console

    from edgevision.cli.console import say
    from edgevision.cli.signals import end_on_sigterm
    from edgevision.engines.trt.plan import BatchRange
    from edgevision.errors import UsageError
    from edgevision.export.plans.build import BuildOptions
    from edgevision.export.plans.compile import compile_model
    from edgevision.export.plans.targets import BuildsOnDeviceError
    from edgevision.suffixes import PLAN_SUFFIXES
    from edgevision.zoo import find_model

    if out.suffix.lower() not in PLAN_SUFFIXES:
        raise UsageError(f"--out {out}: expected a file name that ends in .engine")
    path = find_model(model)
    if path.suffix.lower() in PLAN_SUFFIXES:
        raise UsageError(f"{model} is a plan already; give the ONNX file it was built from")
    options = BuildOptions(None if batch is None else BatchRange(*map(int, batch)), workspace, dla_core)
    console = Console(stderr=True)
    try:
        with end_on_sigterm(), _bar(f"{path.name} for {target}", console) as watch:
            compiled = compile_model(
                path, out, target, options, timing_cache=timing_cache, overwrite=overwrite, watch=watch
            )
    except BuildsOnDeviceError as error:
        there = _device_command(path, out, target, options, timing_cache)
        raise UsageError(f"{error.found}; copy the model there and run: {there}") from error
    for note in compiled.notes:
        say(console, f"note: {note}")
    typer.echo(_summary(out, compiled))


@contextmanager
def _bar(title: str, console: Console) -> Iterator[Watch | None]:
    """A progress bar on a terminal; nothing elsewhere: a log needs the result only."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}  (Ctrl-C cancels)", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0, doing="")

        def watch(fraction: float, doing: str) -> None:
            bar.update(task, completed=fraction, doing=doing)

        yield watch


def _device_command(
    model: Path, plan: Path, target: str, options: BuildOptions, timing_cache: Path | None
) -> str:
    """The same on the device, where the files lie in the folder that it is run in."""
    import shlex

    command = ["edgevision", "compile", model.name, "--out", plan.name]
    if options.batch is not None:
        command += ["--batch", *str(options.batch).split()]
    cache = None if timing_cache is None else timing_cache.name
    others = {"--workspace": options.workspace_mib, "--dla": options.dla_core, "--timing-cache": cache}
    for option, value in others.items():
        if value is not None:
            command += [option, str(value)]
    return shlex.join([*command, "--target", target])


def _summary(out: Path, compiled: Compiled) -> str:
    info = compiled.info
    built = "up to date, kept" if compiled.is_reused else f"built in {info.build_seconds:.1f} s"
    text = f"{out}: {info.describe()}, {info.plan_bytes / 1e6:.1f} MB, {built}"
    if info.dla_fallback:
        named = ", ".join(info.dla_fallback[:3])
        more = len(info.dla_fallback) - 3
        rest = f" and {more} more" if more > 0 else ""
        text += f"; {len(info.dla_fallback)} layers run on the GPU, not the DLA: {named}{rest}"
    return text
