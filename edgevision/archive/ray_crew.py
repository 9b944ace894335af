"""Workers on a Ray cluster: actors that hold the model, for the same tasks as processes of this machine.

Files are read and results written by path, so inputs and outputs lie where every node sees them. Ray's own
retries are off: they are used up before a dead node is noticed (measured: 4 s and 12 s). The driver gives a
task that was lost to another actor, and the first result that is committed counts.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from edgevision.archive.crew import Answer, Crew, Event, Lost, Ready, Refusal
from edgevision.archive.room import needs_gpu
from edgevision.archive.tasks import Job, Reply, Task
from edgevision.archive.work import Worker
from edgevision.closeable import Closeable
from edgevision.engines.base import one_line
from edgevision.errors import EdgeVisionError, EngineError, UsageError
from edgevision.extras import needs_extra

LOCAL = "local"
"""Address that starts Ray on this machine, for as long as the run lasts."""

_PATIENCE_S = 120.0  # for an actor that is started again, perhaps on another node
_ASK_AGAIN_S = 0.5
_END_S = 3.0
_SETTINGS = {
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine needs more than the 30 that Ray waits
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def connect(address: str) -> int:
    """Connects to Ray, or starts it, without usage reports and dashboard; our handlers of signals stay.

    Where it is started, only this process and those that it starts can use it.

    Args:
        address: ``local``, ``auto``, or that of a head node, ``10.0.0.1:6379``.

    Returns:
        The CPUs of the cluster.

    Raises:
        UsageError: Ray is not installed, or no cluster is there.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # A token of this run alone: else Ray keeps one in the user's home, or lets in whoever reaches it. It
        # reads this as it is imported.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with needs_extra("ray", "`ray`"):
        ray: Any = importlib.import_module("ray")
    with _own_signals():
        try:
            ray.init(
                address=None if address == LOCAL else address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({"include_dashboard": False} if address == LOCAL else {}),
            )
        except Exception as error:  # Ray raises that very type where its start takes too long
            ray.shutdown()
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
        gc.freeze()  # see edgevision.archive.crew.serve
        return self._worker.names

    def close(self) -> None:
        """Removes what it keeps on its machine."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

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
        finally:
            gc.collect()


class RayCrew(Closeable):
    """Actors on the cluster that this process is connected to, or connects to now.

    Each has two tasks in flight, so that it has the next one when it answers. It does them in turn, so the
    older one is what ended its process, if a task did.

    Args:
        job: what all have in common.
        size: how many actors.
        address: see :func:`connect`.
    """

    def __init__(self, job: Job, size: int, address: str = LOCAL) -> None:
        loaded: Any = sys.modules.get("ray")
        self._was_connected: bool = loaded is not None and loaded.is_initialized()
        if not self._was_connected:
            connect(address)
        ray: Any = importlib.import_module("ray")
        self._ray = ray
        make: Any = ray.remote(Actor).options(
            num_cpus=job.threads or 1,
            num_gpus=0.5 if needs_gpu(job.models, job.engine) else 0,
            max_restarts=-1,
            max_task_retries=0,
        )
        self._members = [_Member(make.remote(job)) for _ in range(size)]
        self._calls: dict[Any, tuple[int, Task | None]] = {}
        for worker in range(size):
            self._ask(worker)

    @property
    def idle(self) -> list[int]:
        return [i for i, one in enumerate(self._members) if one.is_ready and not one.in_flight]

    @property
    def ahead(self) -> list[int]:
        return [i for i, one in enumerate(self._members) if one.is_ready and len(one.in_flight) == 1]

    def give(self, worker: int, task: Task) -> None:
        member = self._members[worker]
        reference = member.actor.do.remote(task)
        member.in_flight.append(reference)
        self._calls[reference] = (worker, task)

    def wait(self, timeout_s: float) -> list[Event]:
        now_s = time.monotonic()
        for worker, one in enumerate(self._members):
            if one.ask_at_s is not None and one.ask_at_s <= now_s:
                self._ask(worker)
        if not self._calls:
            time.sleep(timeout_s)
            return []
        ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=timeout_s)
        return [event for event in map(self._received, ready) if event is not None]

    def _ask(self, worker: int) -> None:
        """Asks an actor whether it has its models open; it may be starting again."""
        member = self._members[worker]
        member.ask_at_s = None
        self._calls[member.actor.names.remote()] = (worker, None)

    def _received(self, reference: Any) -> Event | None:
        worker, task = self._calls.pop(reference)
        member = self._members[worker]
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return self._failed(worker, reference, task, error)
        if task is not None:
            member.in_flight.remove(reference)
        if isinstance(found, Exception):
            return Refusal(worker, found)
        member.suspect, member.since_s = None, time.monotonic()
        if task is None:
            member.is_ready = True
            return Ready(worker, found)
        return Answer(worker, found) if isinstance(found, Reply) else Lost(worker, task, found)

    def _failed(self, worker: int, reference: Any, task: Task | None, error: Exception) -> Event | None:
        """Its process or its node is gone; whether the task was done is not known."""
        now_s, member = time.monotonic(), self._members[worker]
        if task is None and now_s - member.since_s > _PATIENCE_S:
            return Refusal(worker, EngineError(f"an actor of Ray does not start: {one_line(error)}"))
        member.is_ready, member.ask_at_s = False, now_s + _ASK_AGAIN_S
        if task is None:
            return None
        if member.suspect is None:
            member.suspect = member.in_flight[0]
        is_suspect = member.suspect == reference and not _is_of_node(error)
        member.in_flight.remove(reference)
        return Lost(worker, task, f"its actor ended: {type(error).__name__}", is_suspect)

    def close(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            closing = [self._members[worker].actor.close.remote() for worker in self.idle]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_END_S)
        for one in self._members:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(one.actor)
        if not self._was_connected:
            with _own_signals():
                self._ray.shutdown()


class _Member:
    """One actor.

    Attributes:
        in_flight: calls with tasks, the oldest first.
        suspect: the call that it did when it ended; None while it is well.
        since_s: when it was well last.
        ask_at_s: when to ask whether it is well again; None where that is not due.
    """

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.is_ready = False
        self.in_flight: list[Any] = []
        self.suspect: Any = None
        self.since_s = time.monotonic()
        self.ask_at_s: float | None = None


def _is_of_node(error: Exception) -> bool:
    """Whether a call failed because its machine is gone: ``The actor died because its node has died.``

    A worker that was ended because its node lacks memory is not meant.
    """
    text = str(error)
    return "node has died" in text or "node is dead" in text or bool(getattr(error, "preempted", False))


def crew_at(address: str) -> Callable[[Job, int], Crew]:
    """What makes a :class:`RayCrew` at an address."""
    return functools.partial(RayCrew, address=address)
