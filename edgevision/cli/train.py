"""``edgevision train``: from a configuration, or from labelled images alone, to a checkpoint and a model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.allocator import freed_memory_kept
from edgevision.cli.options import (
    CROWDS_OPTION,
    DATA_IMAGES_OPTION,
    SET_OPTION,
    UNLABELLED_OPTION,
    ThreadsOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.data.layouts.reading import Choices
    from edgevision.finetune.finish import Finished
    from edgevision.finetune.prepare import Prepared
    from edgevision.training.config import TrainingRun
    from edgevision.training.loop import Step, Task, Trainer


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
    from edgevision.errors import OutputExistsError, UsageError

    request = Request(data, base, minutes, epochs, images, unlabelled, crowds_are_objects, int8, max_drop)
    if resume and print_config:
        raise UsageError("--print-config trains nothing; leave out --resume")
    if resume and config is None and (folder := out or (data and _folder_of(data))):
        request = request.resumed(folder)
        data = request.data
    if (config is None) == (data is None):
        raise UsageError("expected a configuration, or --data with labelled images")
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
    if (folder / "last.pt").exists() and not resume:
        raise OutputExistsError(
            f"{folder} holds a training run; pass --resume to go on, or --out for another"
        )
    _train(run, folder, resume, strict, threads)


@dataclass(frozen=True)
class Request:
    """What ``--data`` and the options beside it ask for; kept in the run's folder, for --resume."""

    data: Path | None
    base: str
    minutes: float | None
    epochs: float | None
    images: Path | None
    unlabelled: str
    crowds_are_objects: bool
    int8: bool = False
    max_drop: float | None = None

    def write(self, folder: Path) -> None:
        """Keeps it."""
        from edgevision.files import write_json

        found = {key: None if value is None else str(value) for key, value in vars(self).items()}
        write_json(folder / _REQUEST, found)

    def resumed(self, folder: Path) -> Request:
        """What the run in a folder was asked for, with what may change: where the data are, and INT8.

        Raises:
            DataError: the folder holds no run of ``--data``, and this names no data to begin one with.
            UsageError: this asks for something else that the run was not begun with.
        """
        from edgevision.errors import UsageError

        if self.data is not None and not (folder / _REQUEST).exists():
            return self
        begun = Request.read(folder)
        length = begun.minutes or (None if begun.epochs else _DEFAULT_MINUTES)
        settled = {
            "--from": self.base not in ("", begun.base),
            "--minutes": self.minutes not in (None, length),
            "--epochs": self.epochs not in (None, begun.epochs),
            "--unlabelled": self.unlabelled not in (UNLABELLED_OPTION.default, begun.unlabelled),
            "--crowds-are-objects": self.crowds_are_objects and not begun.crowds_are_objects,
        }
        if changed := [option for option, is_changed in settled.items() if is_changed]:
            raise UsageError(
                f"{folder} was begun with another {', '.join(changed)}, and --resume goes on with that: "
                "leave it out, or begin another run with --out (--set loop.images=N trains on for longer)"
            )
        return replace(
            begun,
            data=self.data or begun.data,
            images=self.images or begun.images,
            int8=self.int8 or begun.int8,
            max_drop=begun.max_drop if self.max_drop is None else self.max_drop,
        )

    @classmethod
    def read(cls, folder: Path) -> Request:
        """What a run was asked for."""
        import json

        from edgevision.errors import DataError

        try:
            found = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
            return cls(
                Path(found["data"]),
                found["base"],
                None if found["minutes"] is None else float(found["minutes"]),
                None if found["epochs"] is None else float(found["epochs"]),
                None if found["images"] is None else Path(found["images"]),
                found["unlabelled"],
                found["crowds_are_objects"] == "True",
                found.get("int8") == "True",
                None if found.get("max_drop") is None else float(found["max_drop"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder} holds no run of --data to go on with; expected its folder, or a configuration"
            ) from error

    def choices(self) -> Choices:
        """As the readers of layouts take them."""
        from edgevision.cli.data import make_choices

        return make_choices(self.images, self.unlabelled, self.crowds_are_objects)


_DEFAULT_MINUTES = 30.0
_REQUEST = "request.json"


def _folder_of(data: Path) -> Path:
    """Where a run on such data goes if nothing else is said."""
    from edgevision.files import safe_name

    return Path("runs") / safe_name(data.stem)


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
    from edgevision.errors import OutputExistsError
    from edgevision.extras import needs_extra
    from edgevision.files import safe_name

    assert request.data is not None
    console = Console(stderr=True)
    folder = out or _folder_of(request.data)
    if (folder / "last.pt").exists() and not resume:
        raise OutputExistsError(
            f"{folder} holds a training run; pass --resume to go on, or --out for another"
        )
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
        _train(load_run(kept, overrides), folder, True, strict, None, request, prepared)
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
    _train(run, folder, False, strict, None, request, prepared)


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


def _train(
    run: TrainingRun,
    folder: Path,
    resume: bool,
    strict: bool,
    threads: int | None,
    request: Request | None = None,
    prepared: Prepared | None = None,
) -> None:
    from edgevision.extras import needs_extra

    with needs_extra("train"):
        import torch

        from edgevision.training.distributed import open_world
        from edgevision.training.loop import Trainer, Watcher
        from edgevision.training.resume import as_begun
        from edgevision.training.tasks import build_task

    from contextlib import nullcontext

    from rich.console import Console

    from edgevision.cli.console import say
    from edgevision.cli.signals import signal_exit_code, stop_on_signals
    from edgevision.files import atomic_path
    from edgevision.pipeline import StopRequest

    if threads is not None:
        torch.set_num_threads(threads)
    stop = StopRequest()
    with open_world() as world:
        console = Console(stderr=True, quiet=not world.is_first)
        task = build_task(as_begun(run, folder) if resume else run, strict)
        run = task.config  # with the ranges that it has measured
        for note in task.notes:
            if prepared is None or note not in prepared.notes:
                say(console, f"note: {note}")
        ends = None
        if request is not None and request.epochs is None and not resume:
            seconds = 60 * (request.minutes or _DEFAULT_MINUTES)
            run, ends = _planned(run, task, seconds, request.int8, console)
        if request is not None and not resume:
            from edgevision.finetune.recipe import run_yaml

            with atomic_path(folder / "config.yaml") as partial:
                partial.write_text(run_yaml(run), encoding="utf-8")
        if _fits(run, task, folder, resume, console):
            return
        say(console, f"training {run.name} ({', '.join(run.classes[:6])}) on {run.loop.images} images seen")
        with freed_memory_kept(), _Bar(console, run.loop.images, task.metric) as bar:

            def on_figures(seen: int, figures: dict[str, float]) -> None:
                bar.figures(figures)
                text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
                say(console, f"after {seen} images: {text}")

            def on_note(text: str) -> None:
                say(console, f"skipped: {text}")

            def is_over() -> bool:
                return stop.reason is not None or (ends is not None and time.monotonic() > ends)

            watcher = Watcher(bar.show, on_figures, on_note, is_over)
            trainer = Trainer(run, task, folder, resume, world, watcher)
            if trainer.seen:
                say(console, f"resuming {folder} after {trainer.seen} images")
                for change in trainer.changes:
                    say(console, f"note: changed since {folder / 'last.pt'}: {change}")
            elif resume:
                say(console, f"no checkpoint in {folder}: training from the start")
            try:
                with stop_on_signals(stop) if request is not None else nullcontext():
                    trainer.run()
            except KeyboardInterrupt:
                say(console, _kept(folder, trainer.seen, trainer.saved))
                raise
    _say_end(console, folder, trainer, task.metric)
    if stop.reason is not None:
        say(console, f"stopped; edgevision train --resume --out {folder} goes on, and exports at the end")
        raise typer.Exit(signal_exit_code(stop.reason) or 1)
    if request is not None and prepared is not None and trainer.best is not None:
        _finish(folder, run, request, prepared, console)


def _fits(run: TrainingRun, task: Task, folder: Path, resume: bool, console: Console) -> bool:
    """Fits a model that is not trained in steps, unless it resumes a fitted one; False for all others."""
    from edgevision.cli.console import counting, say
    from edgevision.models.rcnn.settings import RcnnConfig
    from edgevision.training.detection import DetectionTask
    from edgevision.training.rcnn import check_fitted, fit_rcnn

    if not isinstance(run.model, RcnnConfig) or not isinstance(task, DetectionTask):
        return False
    if resume and (folder / "last.pt").exists():
        check_fitted(run, folder)
        say(console, f"{folder} holds the fitted {run.name}: nothing is left to do; --out fits another")
        return True
    if resume:
        say(console, f"no checkpoint in {folder}: fitting from the start")
    say(console, f"fitting {run.name} ({', '.join(run.classes[:6])}) on {run.model.fit.images} images")
    with counting(console, "looking at regions", run.model.fit.images) as on_image:
        figures = fit_rcnn(task, folder, on_image)
    text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
    say(console, f"fitted on {run.model.fit.images} images: {text}; checkpoints in {folder}")
    return True


def _planned(
    run: TrainingRun, task: Task, seconds: float, int8: bool, console: Console
) -> tuple[TrainingRun, float]:
    """The run with as many images as fit, and when it must end by ``time.monotonic``."""
    from edgevision.cli.console import say
    from edgevision.finetune.budget import QUANTISING_S, RESERVE_S, images_within
    from edgevision.finetune.recipe import with_images
    from edgevision.training.distributed import World

    begun = time.monotonic()
    say(console, "measuring how fast this machine trains")
    reserve_s = RESERVE_S + (QUANTISING_S if int8 else 0)
    images, validations = images_within(run, task, seconds, World(), reserve_s)
    planned = with_images(run, images, validations)
    task.config = planned
    return planned, begun + seconds


def _say_end(console: Console, folder: Path, trainer: Trainer, metric: str) -> None:
    from edgevision.cli.console import say

    best = "" if trainer.best is None else f", best {metric} {trainer.best:.4f}"
    passed = f", {len(trainer.unreadable)} images skipped" if trainer.unreadable else ""
    say(console, f"trained on {trainer.seen} images{best}{passed}; checkpoints in {folder}")
    for warning in trainer.warnings:
        say(console, f"warning: {warning}")


def _finish(folder: Path, run: TrainingRun, request: Request, prepared: Prepared, console: Console) -> None:
    from edgevision.cli.console import counting, say
    from edgevision.finetune.finish import finish_run

    with counting(console, "measuring the model", prepared.val_images) as on_image:
        done = finish_run(folder, run, prepared, on_image)
    for warning in done.warnings:
        say(console, f"warning: {warning}")
    typer.echo(f"{done.model}: {done.figure[0]} {done.figure[1]:.4f} on {prepared.val_images} images")
    typer.echo(f"{done.report}: curves, figures by class and size, the worst images; {done.card}: its card")
    model = done.model
    if request.int8:
        model = _quantise(folder, run, request, prepared, done, console)
    typer.echo(f"run it: edgevision run --model {model} --source webcam")


def _quantise(
    folder: Path,
    run: TrainingRun,
    request: Request,
    prepared: Prepared,
    done: Finished,
    console: Console,
) -> Path:
    from functools import partial

    from edgevision.cli.app import Commands
    from edgevision.cli.console import counting, say
    from edgevision.extras import needs_extra

    with needs_extra("train"):
        from edgevision.calibration.markdown import verdict
        from edgevision.finetune.quantise import quantise_run

    made = quantise_run(
        folder,
        run,
        prepared,
        done.figure,
        request.max_drop,
        command=Commands.line,
        note=partial(say, console),
        progress=partial(counting, console),
    )
    for warning in made.warnings:
        say(console, f"warning: {warning}")
    model, report, *_ = made.outputs
    typer.echo(f"{model}: {verdict(made.report)}; {report}: its report")
    return model


def _kept(folder: Path, seen: int, saved: int | None) -> str:
    """What a run that was stopped has left to go on from."""
    if saved is None:
        return f"stopped after {seen} images, before the first checkpoint (loop.save_every)"
    return f"stopped after {seen} images; --resume goes on from {folder / 'last.pt'}, after {saved}"


class _Bar:
    """Feeds a progress bar, or a plain log where stderr is not a terminal."""

    def __init__(self, console: Console, total: int, metric: str) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._console, self._plain, self._metric = console, not console.is_terminal, metric
        self._bar = Progress(
            TextColumn("images"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=self._plain,
        )
        self._task = self._bar.add_task("images", total=total, text="")
        self._next_line, self._interval, self._last = 0, max(total // 25, 1), ""

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def figures(self, figures: dict[str, float]) -> None:
        """The last validation, which stands beside the bar."""
        if self._metric in figures:
            self._last = f"  {self._metric} {figures[self._metric]:.3f}"

    def show(self, step: Step) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
        digits = 0 if step.images_per_second >= 10 else 1
        text = f"{losses}  lr {step.lr:.2e}  {step.images_per_second:.{digits}f} images/s{self._last}"
        self._bar.update(self._task, completed=step.seen, text=text)
        if self._plain and step.seen >= self._next_line:
            from edgevision.cli.console import say

            say(self._console, f"{step.seen} images  {text}")
            self._next_line = step.seen + self._interval
