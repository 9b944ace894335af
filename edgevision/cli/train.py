"""``edgevision train``: from a configuration to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgevision.cli.options import SET_OPTION, ConfigArgument, ThreadsOption

if TYPE_CHECKING:
    from rich.console import Console

    from edgevision.training.loop import Step


def train_command(
    config: ConfigArgument,
    overrides: list[str] = SET_OPTION,
    out: Path | None = typer.Option(None, "--out", help="Folder of the run; runs/<name> by default."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the folder's last checkpoint."),
    strict: bool = typer.Option(
        False, "--strict", help="Refuse data with single bad labels; they are left out or cut otherwise."
    ),
    threads: ThreadsOption = None,
) -> None:
    """Train a model; can be killed at any moment and resumed.

    The folder gets last.pt (to resume), best.pt (by the validation metric), log.jsonl and curves.png.

    \b
    Examples:
      edgevision train configs/models/retinanet-light.yaml
      edgevision train configs/models/retinanet-light.yaml --set loop.images=2000 --out runs/try
      edgevision train configs/models/retinanet-light.yaml --resume
      torchrun --nproc-per-node 2 -m edgevision train configs/models/retinanet-light.yaml
    """
    from edgevision.extras import needs_extra

    with needs_extra("train"):
        import torch

        from edgevision.training.config import load_run
        from edgevision.training.distributed import open_world
        from edgevision.training.loop import Trainer, Watcher
        from edgevision.training.tasks import build_task

    from rich.console import Console

    from edgevision.cli.console import say
    from edgevision.errors import OutputExistsError

    run = load_run(config, overrides)
    folder = out or Path("runs") / run.name
    if (folder / "last.pt").exists() and not resume:
        raise OutputExistsError(
            f"{folder} holds a training run; pass --resume to go on, or --out for another"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    with open_world() as world:
        console = Console(stderr=True, quiet=not world.is_first)
        task = build_task(run, strict)
        for note in task.notes:
            say(console, f"note: {note}")
        with _Bar(console, run.loop.images) as bar:

            def on_figures(seen: int, figures: dict[str, float]) -> None:
                text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
                say(console, f"after {seen} images: {text}")

            def on_note(text: str) -> None:
                say(console, f"skipped: {text}")

            watcher = Watcher(bar.show, on_figures, on_note)
            trainer = Trainer(run, task, folder, resume, world, watcher)
            if trainer.seen:
                say(console, f"resuming {folder} after {trainer.seen} images")
            elif resume:
                say(console, f"no checkpoint in {folder}: training from the start")
            try:
                trainer.run()
            except KeyboardInterrupt:
                say(console, _kept(folder, trainer.seen, trainer.saved))
                raise
    best = "" if trainer.best is None else f", best {task.metric} {trainer.best:.4f}"
    passed = f", {len(trainer.unreadable)} images skipped" if trainer.unreadable else ""
    say(console, f"trained on {trainer.seen} images{best}{passed}; checkpoints in {folder}")


def _kept(folder: Path, seen: int, saved: int | None) -> str:
    """What a run that was stopped has left to go on from."""
    if saved is None:
        return f"stopped after {seen} images, before the first checkpoint (loop.save_every)"
    return f"stopped after {seen} images; --resume goes on from {folder / 'last.pt'}, after {saved}"


class _Bar:
    """Feeds a progress bar, or a plain log where stderr is not a terminal."""

    def __init__(self, console: Console, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console, self._plain = console, not console.is_terminal
        self._bar = Progress(
            TextColumn("images"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=self._plain,
        )
        self._task = self._bar.add_task("images", total=total, text="")
        self._next_line, self._interval = 0, max(total // 25, 1)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, step: Step) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
        digits = 0 if step.images_per_second >= 10 else 1
        text = f"{losses}  lr {step.lr:.2e}  {step.images_per_second:.{digits}f} images/s"
        self._bar.update(self._task, completed=step.seen, text=text)
        if self._plain and step.seen >= self._next_line:
            from edgevision.cli.console import say

            say(self._console, f"{step.seen} images  {text}")
            self._next_line = step.seen + self._interval
