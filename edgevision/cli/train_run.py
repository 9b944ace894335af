"""A training in the terminal: its bar, what it says, how it is stopped, and what follows its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.allocator import freed_memory_kept
from edgevision.cli.train_request import DEFAULT_MINUTES, Request

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.finetune.finish import Finished
    from edgevision.finetune.prepare import Prepared
    from edgevision.training.config import TrainingRun
    from edgevision.training.loop import Step, Task, Trainer


def train_run(
    run: TrainingRun,
    folder: Path,
    resume: bool,
    strict: bool,
    threads: int | None,
    request: Request | None = None,
    prepared: Prepared | None = None,
) -> None:
    """Trains; a run of labelled images alone ends with its model and report.

    Args:
        run, folder, resume, strict: as of a trainer and its task.
        threads: of torch; None for its own choice.
        request, prepared: of labelled images alone.

    Raises:
        EdgeVisionError: data, configuration or files cannot be used.
        Exit: it was stopped.
    """
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
            seconds = 60 * (request.minutes or DEFAULT_MINUTES)
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
