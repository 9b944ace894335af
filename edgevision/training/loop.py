"""The training loop: task-agnostic, resumable, one step at a time, in one process or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from edgevision.errors import CheckpointError, ConfigError, DataError, EdgeVisionError, TrainingError
from edgevision.files import make_folder
from edgevision.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgevision.training.config import TrainingRun
from edgevision.training.distributed import World, synchronise_norms
from edgevision.training.optimiser import (
    MixedPrecision,
    averaged,
    is_backbone_frozen,
    lr_factor,
    momentum,
    parameter_groups,
    set_training,
)
from edgevision.training.records import RunRecords
from edgevision.training.resume import check_same_network, differences

_NO_LOSS = 0.0005  # the logs show three digits
_NAMED = 8  # files of a bad batch that a message names


class Task(Protocol):
    """What the loop needs to know about a model and its data.

    Attributes:
        config: the run; its length may be changed before the first batch.
        model: the network, on the CPU.
        metric: name of the figure that decides which checkpoint is best.
        notes: one line for each thing about the data that users should know.
    """

    config: Any
    model: nn.Module
    metric: str
    notes: Sequence[str]

    def batches(self, start: int, world: World) -> Iterator[Any]:
        """An endless stream of batches from image number ``start``: this process's part of each.

        A batch has ``files``, its images, and ``unreadable``, one line for each image skipped.
        """
        ...

    def losses(self, model: nn.Module, batch: Any, device: torch.device) -> dict[str, Tensor]:
        """Named losses of one batch, whose sum is minimised."""
        ...

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Figures of the model on the validation set; holds ``metric``."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step, for logs and progress bars: losses are its batch's, and a run's rate has loading in it."""

    seen: int
    losses: dict[str, float]
    lr: float
    images_per_second: float


@dataclass(frozen=True, slots=True)
class Watcher:
    """What is called as the training goes on.

    Attributes:
        on_step: called after every step.
        on_figures: called after every validation with the images seen and the figures.
        on_note: called with one line for each image that was skipped.
        is_over: asked after every step; True ends the training as if all its images had been seen.
    """

    on_step: Callable[[Step], None] = lambda step: None
    on_figures: Callable[[int, dict[str, float]], None] = lambda seen, figures: None
    on_note: Callable[[str], None] = lambda text: None
    is_over: Callable[[], bool] = lambda: False


@contextmanager
def torch_errors(doing: str) -> Iterator[None]:
    """Turns whatever torch, or a worker that loads images, raises inside into one line.

    Args:
        doing: what is done, such as ``training``.

    Raises:
        TrainingError: torch raised an error; the remedy of the common ones is named.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the GPU's memory is full while {doing} ({_first_line(error)}); lower loop.batch_size or the "
            "model's input"
        ) from error
    except DataError as error:  # of a worker it comes with the worker's traceback
        raise DataError(_first_line(error)) from error
    except (EdgeVisionError, ImportError):
        raise
    except MemoryError as error:
        raise TrainingError(
            f"the memory is full while {doing} ({_first_line(error)}); lower loop.batch_size or loop.workers"
        ) from error
    except Exception as error:  # a worker's can be of any class: OSError, IndexError, cv2.error
        text = _first_line(error)
        if not isinstance(error, RuntimeError | ValueError) and type(error).__name__ not in text:
            text = f"{type(error).__name__}: {text}"
        if "more than 1 value per channel" in text:
            raise TrainingError(
                "the last maps of the model are one pixel, and BatchNorm cannot learn from one image of "
                "them; set loop.batch_size to 2 or more for each process, or a larger input"
            ) from error
        raise TrainingError(f"torch failed while {doing}: {text}") from error


def _first_line(error: Exception) -> str:
    """The message alone; torch puts the traceback of a worker before it."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if not any("Original Traceback" in line for line in lines):
        return lines[0].strip()
    kind, _, text = lines[-1].partition(": ")
    return (text if kind.rpartition(".")[2] == "DataError" else lines[-1]).strip()


class Trainer:
    """Runs one training to its end, from wherever it stopped.

    Args:
        config: the run.
        task: model and data.
        folder: where ``last.pt``, ``best.pt``, ``log.jsonl`` and ``curves.png`` go.
        resume: go on from ``last.pt`` in the folder; see :mod:`edgevision.training.resume`.
        world: the processes that train together, and where.
        watcher: called as the training goes on.

    Attributes:
        changes: a line for each key that differs from the checkpoint's configuration, ``KEY: OLD -> NEW``;
            empty where nothing is resumed.

    Raises:
        CheckpointError: ``folder`` holds another network's checkpoint.
        SinkError: ``folder`` cannot be created.
        ConfigError: the processes cannot share a batch evenly.
    """

    def __init__(
        self,
        config: TrainingRun,
        task: Task,
        folder: Path,
        resume: bool = False,
        world: World | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.config, self.task, self.folder = config, task, folder
        self.world, self._watcher = world or World(), watcher or Watcher()
        if config.loop.batch_size % self.world.size:
            raise ConfigError(
                f"loop.batch_size is {config.loop.batch_size}; expected a multiple of the "
                f"{self.world.size} processes"
            )
        model = synchronise_norms(task.model, self.world)
        self.model = model.to(self.world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.model, config.optimiser), lr=config.optimiser.lr
        )
        self._highest_lr = [float(group["lr"]) for group in self.optimiser.param_groups]
        self._precision = MixedPrecision(config.loop.precision, self.world.device)
        self._precision.prepare(self.model)
        self.average = (
            averaged(self.model, config.optimiser.ema_decay) if config.optimiser.ema_decay else None
        )
        self.seen = 0
        self.saved: int | None = None  # images seen at the checkpoint that a resumed run starts from
        self.best: float | None = None
        self.figures: dict[str, float] = {}
        self.unreadable: set[str] = set()
        self.changes: tuple[str, ...] = ()
        self._loss: float | None = None  # of the last step
        make_folder(folder, parents=True)
        if resume and (folder / "last.pt").exists():
            self._restore(load_checkpoint(folder / "last.pt"))
        self._network: nn.Module | None = None  # the model, or what averages its gradients

    def run(self) -> dict[str, float]:
        """Trains to ``config.loop.images`` and returns the figures of the last validation.

        Raises:
            TrainingError: a loss or a gradient is not finite; the message names the batch.
        """
        if self.world.is_first:
            with RunRecords(self.folder, self.seen, self.config.loop.tensorboard) as records:
                for change in self.changes:
                    records.note(self.seen, f"changed: {change}")
                self._run(records)
        else:
            self._run(None)
        return self.figures

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the trained model worthless, a line each: a loss of 0, or a best figure of 0."""
        remedy = "'edgevision data check' looks at the labels"
        found = []
        if self._loss is not None and self._loss < _NO_LOSS:
            found.append(f"the loss is 0 at the end: no label teaches the model anything; {remedy}")
        if self.best == 0:
            found.append(
                f"{self.task.metric} is 0: the model finds nothing that is labelled; {remedy}, and a longer "
                "training may be needed"
            )
        return tuple(found)

    def save(self, name: str) -> None:
        """Writes a checkpoint into the run's folder."""
        model = self.model.state_dict()
        average = self.average.module.state_dict() if self.average is not None else model
        updates = int(self.average.n_averaged) if self.average is not None else 0
        optimiser = {
            "state": self.optimiser.state_dict(),
            "updates": updates,
            "scaler": self._precision.scaler.state_dict(),
        }
        checkpoint = Checkpoint(self.config, self.seen, model, average, optimiser, self.figures, self.best)
        save_checkpoint(self.folder / name, checkpoint)

    def _run(self, records: RunRecords | None) -> None:
        loop = self.config.loop
        batches = self.task.batches(self.seen, self.world)
        ended = False
        while self.seen < loop.images and not ended:
            started = time.perf_counter()
            with torch_errors("reading a batch"):
                batch = next(batches)
            step = self.step(batch, started)
            self._loss = sum(step.losses.values())
            self._watcher.on_step(step)
            if records is not None:
                self._record(records, step, batch)
            ended = self.seen >= loop.images or self._watcher.is_over()
            if ended or self._passed(loop.validate_every):
                if records is not None:
                    self._validate(records)
                self.world.wait()
            if records is not None and (ended or self._passed(loop.save_every)):
                self.save("last.pt")
                self.saved = self.seen

    def _passed(self, interval: int) -> bool:
        """Whether the last step crossed a multiple of ``interval`` images."""
        return self.seen // interval != (self.seen - self.config.loop.batch_size) // interval

    def step(self, batch: Any, started: float | None = None) -> Step:
        """Trains on one batch.

        Args:
            batch: of the task.
            started: when the batch was asked for, by ``time.perf_counter``; None for now.

        Raises:
            TrainingError: a loss or a gradient is not finite.
        """
        started = time.perf_counter() if started is None else started
        config, scaler = self.config, self._precision.scaler
        factor = lr_factor(self.seen, config.loop, config.optimiser)
        for group, highest in zip(self.optimiser.param_groups, self._highest_lr, strict=True):
            group["lr"] = highest * factor
            group["betas"] = (momentum(self.seen, config.loop, config.optimiser), group["betas"][1])
        self._seed_step()
        network = self._prepared()
        with torch_errors("training"), self._precision.autocast():
            losses = self.task.losses(network, batch, self.world.device)
        total = torch.stack(list(losses.values())).sum()
        self._refuse_non_finite("loss", total, batch)
        self.optimiser.zero_grad(set_to_none=True)
        with torch_errors("training"):
            scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip_norm or float("inf"))
        if (
            not scaler.is_enabled() or scaler.get_scale() < 1
        ):  # a scaler skips such a step and halves its scale
            self._refuse_non_finite("gradient", norm, batch)
        scaler.step(self.optimiser)
        scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.seen += config.loop.batch_size
        values = self.world.mean(torch.stack([loss.detach().float() for loss in losses.values()])).tolist()
        rate = config.loop.batch_size / (time.perf_counter() - started)
        return Step(self.seen, dict(zip(losses, values, strict=True)), config.optimiser.lr * factor, rate)

    def _seed_step(self) -> None:
        """Lets dropout depend on the seed and the images alone, so that a resumed run draws the same."""
        seed = self.config.loop.seed * 1_000_003 + self.seen + self.world.rank
        torch.default_generator.manual_seed(seed)
        if self.world.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _prepared(self) -> nn.Module:
        """The network, in training mode where it learns now."""
        config = self.config.optimiser
        set_training(self.model, config, self.seen)
        before = self.seen - self.config.loop.batch_size
        thaws = is_backbone_frozen(before, config) and not is_backbone_frozen(self.seen, config)
        if self._network is None or thaws:  # the wrapper notes which parameters learn when it is made
            self._network = self.world.wrap(self.model)
            if self.config.loop.compile:
                self._network = cast("nn.Module", torch.compile(self._network))
        return self._network

    def _refuse_non_finite(self, what: str, value: Tensor, batch: Any) -> None:
        if bool(torch.isfinite(value)):
            return
        files = ", ".join(batch.files[:_NAMED])
        more = f" and {len(batch.files) - _NAMED} more" if len(batch.files) > _NAMED else ""
        raise TrainingError(
            f"the {what} is {float(value.detach())} in the batch of images {self.seen} to "
            f"{self.seen + self.config.loop.batch_size - 1} of the stream ({files}{more}); "
            "lower the learning rate or look at the data"
        )

    def _record(self, records: RunRecords, step: Step, batch: Any) -> None:
        records.write(step.seen, lr=step.lr, images_per_second=step.images_per_second, **step.losses)
        for text in batch.unreadable:
            if text not in self.unreadable:
                self.unreadable.add(text)
                records.note(step.seen, text)
                self._watcher.on_note(text)

    def _validate(self, records: RunRecords) -> None:
        model = self.average.module if self.average is not None else self.model
        model.eval()
        with torch_errors("validating"):
            self.figures = self.task.validate(model, self.world.device)
        records.write(self.seen, **self.figures)
        records.draw()
        self._watcher.on_figures(self.seen, self.figures)
        value = self.figures.get(self.task.metric)
        if value is not None and (self.best is None or value > self.best):
            self.best = value
            self.save("best.pt")

    def _restore(self, checkpoint: Checkpoint) -> None:
        check_same_network(checkpoint.config, self.config, self.folder / "last.pt")
        self.changes = differences(checkpoint.config, self.config)
        decays = [group["weight_decay"] for group in self.optimiser.param_groups]
        self.model.load_state_dict(checkpoint.model)
        try:
            self.optimiser.load_state_dict(checkpoint.optimiser["state"])
        except ValueError as error:
            raise CheckpointError(
                f"{self.folder / 'last.pt'} was trained with other lr_factors; keep them to resume, or start "
                "another run from it with 'initial'"
            ) from error
        for group, decay in zip(self.optimiser.param_groups, decays, strict=True):
            group["weight_decay"] = decay  # the checkpoint's, as the rate, is not what is asked for now
        if scale := checkpoint.optimiser.get("scaler"):
            self._precision.scaler.load_state_dict(scale)
        if self.average is not None:
            self.average.module.load_state_dict(checkpoint.average)
            self.average.n_averaged.fill_(checkpoint.optimiser["updates"])
        self.seen, self.best, self.figures = checkpoint.seen, checkpoint.best, checkpoint.figures
        self.saved = checkpoint.seen
