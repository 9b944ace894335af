"""The training loop: task-agnostic, resumable, one step at a time."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgevision.errors import CheckpointError, TrainingError
from edgevision.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgevision.training.optimiser import averaged, parameter_groups, set_training
from edgevision.training.runs import TrainingRun
from edgevision.training.schedule import lr_factor, momentum


class Task(Protocol):
    """What the loop needs to know about a model and its data.

    Attributes:
        model: the network, on the CPU.
        metric: name of the figure that decides which checkpoint is best.
    """

    model: nn.Module
    metric: str

    def batches(self, start: int) -> Iterator[Any]:
        """An endless stream of batches from image number ``start`` of the stream."""
        ...

    def losses(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
        """Named losses of one batch, whose sum is minimised."""
        ...

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Figures of the model on the validation set; holds ``metric``."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step, for logs and progress bars: losses are those of its batch."""

    seen: int
    losses: dict[str, float]
    lr: float
    images_per_second: float


class Trainer:
    """Runs one training to its end, from wherever it stopped.

    Args:
        config: the run.
        task: model and data.
        folder: where ``last.pt``, ``best.pt`` and ``log.jsonl`` go.
        resume: go on from ``last.pt`` in the folder.
        device: where to train.
        on_step: called after every step.
        on_figures: called after every validation with the images seen and the figures.

    Raises:
        CheckpointError: ``folder`` holds another run's checkpoint.
    """

    def __init__(
        self,
        config: TrainingRun,
        task: Task,
        folder: Path,
        resume: bool,
        device: torch.device,
        on_step: Callable[[Step], None] = lambda step: None,
        on_figures: Callable[[int, dict[str, float]], None] = lambda seen, figures: None,
    ) -> None:
        self.config, self.task, self.folder, self.device = config, task, folder, device
        self._on_step, self._on_figures = on_step, on_figures
        self.model = task.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.model, config.optimiser), lr=config.optimiser.lr
        )
        self._highest_lr = [float(group["lr"]) for group in self.optimiser.param_groups]
        self.average = (
            averaged(self.model, config.optimiser.ema_decay) if config.optimiser.ema_decay else None
        )
        self.seen = 0
        self.best: float | None = None
        self.figures: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if resume and (folder / "last.pt").exists():
            self._restore(load_checkpoint(folder / "last.pt"))

    def run(self) -> dict[str, float]:
        """Trains to ``config.loop.images`` and returns the figures of the last validation.

        Raises:
            TrainingError: a loss is not finite; the message names the batch.
        """
        loop = self.config.loop
        batches = self.task.batches(self.seen)
        with contextlib.closing(_Log(self.folder / "log.jsonl")) as log:
            while self.seen < loop.images:
                step = self._step(next(batches))
                self._on_step(step)
                log.write(seen=step.seen, lr=step.lr, images_per_second=step.images_per_second, **step.losses)
                if self._passed(loop.validate_every) or self.seen >= loop.images:
                    self._validate(log)
                if self._passed(loop.save_every) or self.seen >= loop.images:
                    self.save("last.pt")
        return self.figures

    def save(self, name: str) -> None:
        """Writes a checkpoint into the run's folder."""
        model = self.model.state_dict()
        average = self.average.module.state_dict() if self.average is not None else model
        updates = int(self.average.n_averaged) if self.average is not None else 0
        optimiser = {"state": self.optimiser.state_dict(), "updates": updates}
        checkpoint = Checkpoint(self.config, self.seen, model, average, optimiser, self.figures, self.best)
        save_checkpoint(self.folder / name, checkpoint)

    def _passed(self, interval: int) -> bool:
        """Whether the last step crossed a multiple of ``interval`` images."""
        return self.seen // interval != (self.seen - self.config.loop.batch_size) // interval

    def _step(self, batch: Any) -> Step:
        started = time.perf_counter()
        config = self.config
        factor = lr_factor(self.seen, config.loop, config.optimiser)
        for group, highest in zip(self.optimiser.param_groups, self._highest_lr, strict=True):
            group["lr"] = highest * factor
            group["betas"] = (momentum(self.seen, config.loop, config.optimiser), group["betas"][1])
        set_training(self.model, config.optimiser, self.seen)
        losses = self.task.losses(self.model, batch, self.device)
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            raise TrainingError(
                f"the loss is {float(total.detach())} in the batch of images {self.seen} to "
                f"{self.seen + config.loop.batch_size - 1} of the stream; "
                "lower the learning rate or look at the data"
            )
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if config.optimiser.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.seen += config.loop.batch_size
        rate = config.loop.batch_size / (time.perf_counter() - started)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        return Step(self.seen, values, config.optimiser.lr * factor, rate)

    def _validate(self, log: _Log) -> None:
        model = self.average.module if self.average is not None else self.model
        model.eval()
        self.figures = self.task.validate(model, self.device)
        log.write(seen=self.seen, **self.figures)
        self._on_figures(self.seen, self.figures)
        value = self.figures.get(self.task.metric)
        if value is not None and (self.best is None or value > self.best):
            self.best = value
            self.save("best.pt")

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.config.model != self.config.model or checkpoint.config.classes != self.config.classes:
            raise CheckpointError(
                f"{self.folder / 'last.pt'} belongs to another model; choose another folder or remove it"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimiser.load_state_dict(checkpoint.optimiser["state"])
        if self.average is not None:
            self.average.module.load_state_dict(checkpoint.average)
            self.average.n_averaged.fill_(checkpoint.optimiser["updates"])
        self.seen, self.best, self.figures = checkpoint.seen, checkpoint.best, checkpoint.figures


class _Log:
    """One JSON object a line, appended, so that a resumed run continues its log."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8", buffering=1)

    def write(self, **values: float) -> None:
        rounded = {key: round(value, 6) for key, value in values.items()}
        self._stream.write(json.dumps({"time": round(time.time(), 1), **rounded}) + "\n")

    def close(self) -> None:
        self._stream.close()
