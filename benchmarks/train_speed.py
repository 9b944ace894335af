"""Share of data loading in the training time.

Trains in rounds, in one process: repeatedly on one batch, and on batches from the real loader. The
order of the two alternates, and the loader is warmed up before its first round.

    python benchmarks/train_speed.py CONFIG [--set KEY=VALUE] [--steps 20] [--rounds 4] [--json PATH]

Prints JSON: images per second with and without loading and the share lost. ``contention`` is the share of the
machine's CPU time used by other processes: above a few per cent those figures are unreliable. The share of
loading in the CPU time, ``cpu_share_of_loading``, hardly depends on other processes: it is the cost of
loading when every core is busy. On a busy machine measure it with ``--threads 1``, because threads that
wait for each other count as computation.

``memory`` compares freed memory that is kept for the next step, as ``edgevision train`` keeps it, with the
usual way of glibc: page faults a step, and the median over the rounds of the ratio of the rates on one batch.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from common import Figures, machine, new_parser, report

from edgevision.allocator import keep_as_usual, keep_freed_memory
from edgevision.training.config import TrainingRun, load_run
from edgevision.training.distributed import World
from edgevision.training.loop import Task, Trainer
from edgevision.training.tasks import build_task


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("config", type=Path, help="of the training")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="as of 'edgevision train'; repeat it for more",
    )
    parser.add_argument("--steps", type=int, default=20, help="a round")
    parser.add_argument("--rounds", type=int, default=4, help="of so many steps")
    parser.add_argument("--threads", type=int, help="of the arithmetic; default: all cores")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    def measure_run() -> Figures:
        run = load_run(options.config, options.overrides)
        return measure(run, build_task(run), options.steps, options.rounds)

    return report(measure_run, options.json)


def measure(run: TrainingRun, task: Task, steps: int, rounds: int) -> Figures:
    """Images per second with and without loading: medians over rounds."""
    here = machine()
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(run, task, Path(folder), world=World(device=device))
        loaded = task.batches(0, trainer.world)
        same = repeat(next(loaded))
        _rate(trainer, loaded, 4)
        _rate(trainer, same, 4)
        rates: dict[str, list[float]] = {"with": [], "without": []}
        idle, training, loading, started = _idle_s(), _trainer_s(), _loader_s(), time.perf_counter()
        for number in range(rounds):
            pair = (("with", loaded), ("without", same))
            for name, batches in pair if number % 2 else reversed(pair):
                rates[name].append(_rate(trainer, batches, steps))
        wall = time.perf_counter() - started
        capacity = wall * (os.cpu_count() or 1)
        training, loading = _trainer_s() - training, _loader_s() - loading
        others = max(capacity - (_idle_s() - idle) - training - loading, 0.0)
        memory = _compare_memory(trainer, same, steps, rounds)
    images = rounds * steps * run.loop.batch_size
    without, with_loading = statistics.median(rates["without"]), statistics.median(rates["with"])
    return {
        "config": run.name,
        "batch_size": run.loop.batch_size,
        "workers": run.loop.workers,
        "cache": run.loop.cache,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "without_loading": round(without, 2),
        "with_loading": round(with_loading, 2),
        "lost": round(1 - with_loading / without, 4),
        "rounds": {name: [round(rate, 2) for rate in values] for name, values in rates.items()},
        # On busy cores CPU time is the fairer measure: the loader reads for half of the rounds.
        "cpu_ms_per_image": {
            "training": round(1000 * training / (2 * images), 2),
            "loading": round(1000 * loading / images, 2),
        },
        "cpu_share_of_loading": round(loading / (training / 2 + loading), 4),
        "contention": round(others / capacity, 3),
        "memory": memory,
        "machine": here,
    }


def _rate(trainer: Trainer, batches: Iterator[Any], steps: int) -> float:
    """Images per second over ``steps`` steps, including the wait for batches."""
    started = time.perf_counter()
    for _ in range(steps):
        trainer.step(next(batches))
    return steps * trainer.config.loop.batch_size / (time.perf_counter() - started)


def _compare_memory(trainer: Trainer, batches: Iterator[Any], steps: int, rounds: int) -> Figures | None:
    """Rates and page faults with freed memory kept and with glibc's usual way; None without glibc."""
    rates: dict[str, list[float]] = {"kept": [], "usual": []}
    faults: dict[str, list[float]] = {"kept": [], "usual": []}
    ways = (("kept", keep_freed_memory), ("usual", keep_as_usual))
    for number in range(rounds):
        for name, configure in ways if number % 2 else reversed(ways):
            if not configure():
                return None
            _rate(trainer, batches, 1)  # what one way has freed is not counted for the other
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            rates[name].append(_rate(trainer, batches, steps))
            faults[name].append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps)
    return {
        "speedup": round(statistics.median(a / b for a, b in zip(*rates.values(), strict=True)), 3),
        "images_per_second": {name: [round(rate, 2) for rate in values] for name, values in rates.items()},
        "page_faults_a_step": {name: round(statistics.median(values)) for name, values in faults.items()},
    }


def _cpu_s(pids: Iterable[int | None]) -> float:
    """CPU time that processes have taken so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _trainer_s() -> float:
    return _cpu_s([os.getpid()])


def _loader_s() -> float:
    return _cpu_s(child.pid for child in multiprocessing.active_children())


def _idle_s() -> float:
    """Seconds that the machine's cores were idle since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
