"""Workers on a Ray cluster: actors that hold the model, for the same tasks as processes of this machine.

Files are read and results written by path, so inputs and outputs lie where every node sees them. Ray's own
retries are off: they are used up before a dead node is noticed (measured: 4 s and 12 s). The driver gives a
task that was lost to another actor, and the first result that is committed counts.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from edgevision.archive.crew import Answer, Crew, Event, Lost, Ready, Refusal
from edgevision.archive.work import Job, Reply, Task, Worker
from edgevision.closeable import Closeable
from edgevision.engines.base import one_line
from edgevision.errors import EdgeVisionError, EngineError, UsageError
from edgevision.extras import needs_extra
from edgevision.suffixes import PLAN_SUFFIXES

LOCAL = "local"
"""Address that starts Ray on this machine, for as long as the run lasts."""

_PATIENCE_S = 120.0  # for an actor that is started again, perhaps on another node
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def connect(address: str) -> int:
    """Connects to Ray, or starts it, without usage reports and dashboard; our handlers of signals stay.

    Args:
        address: ``local``, ``auto``, or that of a head node, ``10.0.0.1:6379``.

    Returns:
        The CPUs of the cluster.

    Raises:
        UsageError: Ray is not installed, or no cluster is there.
    """
    with needs_extra("ray", "`ray`"):
        ray: Any = importlib.import_module("ray")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _own_signals():
        try:
            ray.init(
                address=None if address == LOCAL else address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({"include_dashboard": False} if address == LOCAL else {}),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UsageError(
                f"`ray` {address}: {one_line(error)}; start a cluster, or pass '{LOCAL}'"
            ) from error
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray puts a handler of its own in the place of ours."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Actor:
    """What Ray runs: a worker in a process of some node."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def names(self) -> list[str] | Exception:
        """Opens the models; the class names, or why it cannot."""
        try:
            self._worker = self._worker or Worker(self._job)
        except EdgeVisionError as error:
            return error
        return self._worker.names

    def do(self, task: Task) -> Reply | Exception | str:
        """The reply, an error that no other worker could avoid, or what a library raised at this file."""
        try:
            self._worker = self._worker or Worker(self._job)
            return self._worker.do(task)
        except EngineError as error:
            return str(error)
        except EdgeVisionError as error:
            return error
        except Exception as error:
            return f"{type(error).__name__}: {one_line(error)}"


class RayCrew(Closeable):
    """Actors on the cluster that this process is connected to, or connects to now.

    Args:
        job: what all have in common.
        size: how many actors.
        address: see :func:`connect`.
    """

    def __init__(self, job: Job, size: int, address: str = LOCAL) -> None:
        ray: Any = importlib.import_module("ray")
        self._ray = ray
        self._was_connected: bool = ray.is_initialized()
        if not self._was_connected:
            connect(address)
        has_gpu = job.engine in ("tensorrt", "onnxruntime-cuda") or any(
            path.suffix.lower() in PLAN_SUFFIXES for path in job.models
        )
        make: Any = ray.remote(Actor).options(
            num_cpus=job.threads or 1,
            num_gpus=0.5 if has_gpu else 0,
            max_restarts=-1,
            max_task_retries=0,
        )
        self._actors = [make.remote(job) for _ in range(size)]
        self._running: dict[Any, tuple[int, Task | None]] = {}
        self._idle: list[int] = []
        self._since_s = dict.fromkeys(range(size), time.monotonic())
        self._later: dict[int, float] = {}
        for worker in range(size):
            self._look(worker)

    @property
    def idle(self) -> list[int]:
        return list(self._idle)

    def give(self, worker: int, task: Task) -> None:
        self._idle.remove(worker)
        self._running[self._actors[worker].do.remote(task)] = (worker, task)

    def wait(self, timeout_s: float) -> list[Event]:
        now_s = time.monotonic()
        for worker in [one for one, at_s in self._later.items() if at_s <= now_s]:
            del self._later[worker]
            self._look(worker)
        if not self._running:
            time.sleep(timeout_s)
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return [event for event in map(self._received, ready) if event is not None]

    def _look(self, worker: int) -> None:
        """Asks an actor whether it has its models open; it may be starting again."""
        self._running[self._actors[worker].names.remote()] = (worker, None)

    def _received(self, reference: Any) -> Event | None:
        worker, task = self._running.pop(reference)
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return self._failed(worker, task, error)
        if isinstance(found, Exception):
            return Refusal(worker, found)
        self._idle.append(worker)
        self._since_s[worker] = time.monotonic()
        if task is None:
            return Ready(worker, found)
        return Answer(worker, found) if isinstance(found, Reply) else Lost(worker, task, found)

    def _failed(self, worker: int, task: Task | None, error: Exception) -> Event | None:
        """Its process or its node is gone; whether the task was done is not known."""
        now_s = time.monotonic()
        if task is None and now_s - self._since_s[worker] > _PATIENCE_S:
            return Refusal(worker, EngineError(f"an actor of Ray does not start: {one_line(error)}"))
        self._later[worker] = now_s + 0.5
        return None if task is None else Lost(worker, task, f"its actor ended: {type(error).__name__}")

    def close(self) -> None:
        for one in self._actors:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(one)
        if not self._was_connected:
            with _own_signals():
                self._ray.shutdown()


def crew_at(address: str) -> Callable[[Job, int], Crew]:
    """What makes a :class:`RayCrew` at an address."""
    return functools.partial(RayCrew, address=address)
