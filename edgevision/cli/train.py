"""``edgevision train``: from a configuration, or from labelled images alone, to a checkpoint and a model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import (
    CROWDS_OPTION,
    DATA_IMAGES_OPTION,
    SET_OPTION,
    UNLABELLED_OPTION,
    ThreadsOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.cli.train_request import Request
    from edgevision.data.layouts.reading import Choices
    from edgevision.finetune.prepare import Prepared


def train_command(
    config: Path | None = typer.Argument(None, help="A training configuration, as in configs/models."),
    data: Path | None = typer.Option(
        None,
        "--data",
        help="Labelled images, instead of a configuration: a folder, data.yaml, json or archive.",
    ),
    base: str = typer.Option(
        "",
        "--from",
        help="With --data: what to start from: a shipped model, a run's folder, a checkpoint, or a family "
        "such as ssd ('edgevision models --families').",
    ),
    minutes: float | None = typer.Option(
        None, "--minutes", min=0.1, help="With --data: how long the whole may take; 30 by default."
    ),
    epochs: float | None = typer.Option(
        None, "--epochs", min=0.1, help="With --data: how often each image is seen, instead of a time."
    ),
    int8: bool = typer.Option(
        False, "--int8", help="With --data: write model.int8.onnx too, and say what it loses."
    ),
    max_drop: float | None = typer.Option(
        None,
        "--max-drop",
        min=0.0,
        max=0.99,
        show_default="any, and told",
        help="With --int8: how far the figure may fall in INT8; where it falls further, none is written.",
    ),
    print_config: bool = typer.Option(
        False, "--print-config", help="With --data: write the labels, print the configuration, train nothing."
    ),
    overrides: list[str] = SET_OPTION,
    out: Path | None = typer.Option(None, "--out", help="Folder of the run; runs/<name> by default."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the folder's last checkpoint."),
    strict: bool = typer.Option(
        False, "--strict", help="Refuse data with single bad labels; they are left out or cut otherwise."
    ),
    images: Path | None = DATA_IMAGES_OPTION,
    unlabelled: str = UNLABELLED_OPTION,
    crowds_are_objects: bool = CROWDS_OPTION,
    threads: ThreadsOption = None,
) -> None:
    """Train a model; can be stopped at any moment and resumed.

    With --data alone: the layout is recognised, a validation split is made where there is none, the shipped
    model is fine-tuned, and the folder ends with model.onnx, its card model.md, and report.html; with --int8
    also with model.int8.onnx, quantised on the training images and measured on the validation labels.

    The folder gets last.pt (to resume), best.pt (by the validation metric), log.jsonl and curves.png.

    \b
    Examples:
      edgevision train --data my-photos --out run
      edgevision train --data my-photos --int8 --out run
      edgevision train --data download.zip --from unet-light --minutes 60 --out run
      edgevision train --data my-photos --from ssd --out run-ssd
      edgevision train --resume --out run
      edgevision train configs/models/retinanet-light.yaml
      edgevision train configs/models/retinanet-light.yaml --set loop.images=2000 --out runs/try
      torchrun --nproc-per-node 2 -m edgevision train configs/models/retinanet-light.yaml
    """
    from edgevision.cli.train_request import Request
    from edgevision.cli.train_run import train_run
    from edgevision.errors import UsageError

    request = Request(data, base, minutes, epochs, images, unlabelled, crowds_are_objects, int8, max_drop)
    if resume and print_config:
        raise UsageError("--print-config trains nothing; leave out --resume")
    if resume and config is None and (folder := out or (data and _folder_of(data))):
        request = request.resumed(folder)
        data = request.data
    if (config is None) == (data is None):
        found = "neither" if config is None else "both"
        raise UsageError(f"expected a configuration, or --data with labelled images; found {found}")
    if data is None:
        needs_data = {
            "--from": base,
            "--minutes": minutes is not None,
            "--epochs": epochs is not None,
            "--int8": int8,
            "--print-config": print_config,
            "--images": images is not None,
            "--unlabelled": unlabelled != UNLABELLED_OPTION.default,
            "--crowds-are-objects": crowds_are_objects,
        }
        if given := [option for option, is_given in needs_data.items() if is_given]:
            raise UsageError(f"only with --data: {', '.join(given)}; a configuration names its own data")
    if max_drop is not None and not request.int8:
        raise UsageError("--max-drop needs --int8: it bounds what the INT8 model may lose")
    if minutes is not None and epochs is not None:
        raise UsageError("--minutes and --epochs both say how long; give one of them")
    if data is not None:
        _train_on_data(request, out, overrides, resume, strict, threads, print_config)
        return

    from edgevision.extras import needs_extra

    with needs_extra("train"):
        from edgevision.training.config import load_run  # without torch: a fault is told at once

    assert config is not None
    run = load_run(config, overrides)
    folder = out or Path("runs") / run.name
    if not resume:
        _refuse_run(folder)
    train_run(run, folder, resume, strict, threads)


def _folder_of(data: Path) -> Path:
    """Where a run on such data goes if nothing else is said."""
    from edgevision.files import safe_name

    return Path("runs") / safe_name(data.stem)


def _refuse_run(folder: Path) -> None:
    from edgevision.errors import OutputExistsError

    if (folder / "last.pt").exists():
        raise OutputExistsError(
            f"{folder} holds a training run; pass --resume to go on, or --out for another"
        )


def _train_on_data(
    request: Request,
    out: Path | None,
    overrides: Sequence[str],
    resume: bool,
    strict: bool,
    threads: int | None,
    print_config: bool,
) -> None:
    from rich.console import Console

    from edgevision.cli.console import say
    from edgevision.cli.train_run import train_run
    from edgevision.extras import needs_extra
    from edgevision.files import safe_name

    assert request.data is not None
    console = Console(stderr=True)
    folder = out or _folder_of(request.data)
    if not resume:
        _refuse_run(folder)
    prepared = _prepared(request.data, request.choices(), folder / "data", console)
    say(console, prepared.headline)
    for note in prepared.notes:
        say(console, f"note: {note}")
    for account in prepared.accounts:
        say(console, str(account))
    with needs_extra("train"):
        import torch

        from edgevision.finetune.recipe import find_base, make_run, run_yaml, small_boxes
        from edgevision.training.config import DetectorTraining, apply_overrides, load_run
    if threads is not None:
        torch.set_num_threads(threads)
    kept = folder / "config.yaml"
    if resume and kept.exists():
        request.write(folder)
        train_run(load_run(kept, overrides), folder, True, strict, None, request, prepared)
        return
    config, initial, note = find_base(request.base, prepared.task)
    if note:
        say(console, f"note: {note}")
    images = round((request.epochs or 1) * prepared.train_images)
    run, lines = make_run(prepared, config, initial, safe_name(folder.name or request.data.stem), images)
    for line in lines:
        say(console, line)
    run = apply_overrides(run, overrides)
    small = small_boxes(prepared.sides, run.model.input_size) if isinstance(run, DetectorTraining) else ""
    if small:
        say(console, f"warning: {small}")
    if print_config:
        head = f"edgevision train --data {request.data}; its labels are in {folder / 'data'}"
        typer.echo(run_yaml(run, (head,)), nl=False)
        return
    request.write(folder)
    train_run(run, folder, False, strict, None, request, prepared)


def _prepared(data: Path, choices: Choices, folder: Path, console: Console) -> Prepared:
    """The data as a training reads them, in ``folder``; nothing is left of it where they are refused."""
    from contextlib import ExitStack

    from edgevision.cli.console import counting, say
    from edgevision.extras import needs_extra
    from edgevision.files import new_folder

    with needs_extra("train"):
        from edgevision.data.archives import is_archive, unpack
        from edgevision.data.layouts.recognise import recognise
        from edgevision.finetune.prepare import prepare

    with ExitStack() as undo:
        undo.enter_context(new_folder(folder))
        place = data
        if is_archive(data):
            place = folder / "images"
            if not place.is_dir():
                say(console, f"unpacking {data} into {place}")
                partial = folder / "images.partial"  # it may be there from a run that was killed
                shutil.rmtree(partial, ignore_errors=True)
                with new_folder(partial):
                    unpack(data, partial)
                undo.enter_context(new_folder(place)).rmdir()
                partial.rename(place)
        found = replace(recognise(place, choices), path=data)
        with counting(console, "looking at the images", None) as on_image:
            return prepare(found, folder, on_image=on_image)
