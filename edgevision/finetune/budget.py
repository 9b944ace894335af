"""How many images a training can see in the time it is given, measured on this machine with this model."""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path

from edgevision.training.config import TrainingRun
from edgevision.training.distributed import World
from edgevision.training.loop import Task, Trainer

_SECONDS = 10.0  # of measuring at most
_SHARE = 0.08  # of the time given that measuring may take
_FIRST = 2  # steps that warm up and are not counted
_VALIDATING = 0.2  # of the time that validation may take
RESERVE_S = 15.0
"""For the export, the evaluation and the report."""

QUANTISING_S = 60.0
"""For an int8 model besides."""

MOST_VALIDATIONS = 8


def images_within(
    run: TrainingRun, task: Task, seconds: float, world: World, reserve_s: float = RESERVE_S
) -> tuple[int, int]:
    """Images to train on, and how often to validate, so that all of it takes about ``seconds``.

    The task's model is as it was afterwards.

    Args:
        run: the training; its own length does not matter.
        task: model and data.
        seconds: for the training with its validations, the export and the report.
        world: where to compute.
        reserve_s: for what comes after the training, in seconds.
    """
    begun = time.perf_counter()
    weights = copy.deepcopy(task.model.state_dict())
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        trainer = Trainer(run, task, Path(folder), world=world)
        batches = task.batches(0, world)
        limit = min(_SECONDS, _SHARE * seconds)
        started, steps = time.perf_counter(), 0
        while steps <= _FIRST or time.perf_counter() - started < limit:
            if steps == _FIRST:
                started = time.perf_counter()
            trainer.step(next(batches))
            steps += 1
        rate = (steps - _FIRST) * run.loop.batch_size / (time.perf_counter() - started)
        started = time.perf_counter()
        trainer.model.eval()
        task.validate(trainer.model, world.device)
        validation = time.perf_counter() - started
    task.model.load_state_dict(weights)
    left = max(seconds - (time.perf_counter() - begun) - reserve_s, 0.3 * seconds)
    validations = max(1, min(MOST_VALIDATIONS, int(_VALIDATING * left / max(validation, 1e-3))))
    images = rate * max(left - validations * validation, 0.5 * left)
    return max(int(images), run.loop.batch_size), validations
