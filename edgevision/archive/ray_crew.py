"""Workers on a Ray cluster: actors that hold the model, for the same tasks as processes of this machine.

Files are read and results written by path, so inputs and outputs lie where every node sees them. Ray's own
retries are off: they are used up before a dead node is noticed (measured: 4 s and 12 s). The driver gives a
task that was lost to another actor, and the first result that is committed counts. Whether the task ended its
process, or its machine is gone, is known only when Ray has noticed the node; until then a task is not blamed.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
_NODE_S = 30.0  # until Ray knows that a node is gone: five checks in a row fail, one every 3 s
_LOOK_S = 0.5  # between two looks at the nodes
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


@dataclass(frozen=True, slots=True)
class _Opened:
    """An actor has its models open: the class names, and the node that it runs on."""

    names: list[str]
    node: str


class Actor:
    """What Ray runs: a worker in a process of some node."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def open(self) -> _Opened | Exception:
        """Opens the models; what came of it, or why it cannot."""
        try:
            self._worker = self._worker or Worker(self._job)
        except EdgeVisionError as error:
            return error
        gc.freeze()  # see edgevision.archive.crew.serve
        ray: Any = importlib.import_module("ray")
        return _Opened(self._worker.names, ray.get_runtime_context().get_node_id())

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


def threads_of_each(cpus: Sequence[int], size: int) -> int:
    """Threads of so many actors, so that all of them have room.

    Args:
        cpus: of each node.
        size: how many actors.

    Example:
        >>> threads_of_each([8, 8], 2), threads_of_each([8, 8], 3), threads_of_each([0, 8], 16)
        (8, 4, 1)
    """
    for threads in range(max(cpus, default=1), 1, -1):
        if sum(count // threads for count in cpus) >= size:
            return threads
    return 1


class RayCrew(Closeable):
    """Actors on the cluster that this process is connected to, or connects to now.

    Each has two tasks in flight, so that it has the next one when it answers. It does them in turn, so the
    older one is what ended its process, if a task did. That it did is said when it is known that its node
    still lives.

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
        if job.threads is not None:  # for the cores of this machine, which may be no node at all
            cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
            job = replace(job, threads=threads_of_each(cpus, size))
        make: Any = ray.remote(Actor).options(
            num_cpus=job.threads or 1,
            num_gpus=0.5 if needs_gpu(job.models, job.engine) else 0,
            max_restarts=-1,
            max_task_retries=0,
        )
        self._members = [_Member(make.remote(job)) for _ in range(size)]
        self._calls: dict[Any, tuple[int, Task | None]] = {}
        self._doubts: list[_Doubt] = []
        self._look_at_s = 0.0
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
        events: list[Event | None] = []
        if self._calls:
            ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=timeout_s)
            events += map(self._received, ready)
        else:
            time.sleep(timeout_s)
        return [event for event in (*events, *self._settled()) if event is not None]

    def _ask(self, worker: int) -> None:
        """Asks an actor whether it has its models open; it may be starting again."""
        member = self._members[worker]
        member.ask_at_s = None
        self._calls[member.actor.open.remote()] = (worker, None)

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
        if isinstance(found, _Opened):
            member.is_ready, member.node = True, found.node
            return Ready(worker, found.names)
        return Answer(worker, found) if isinstance(found, Reply) else Lost(worker, task, found)

    def _failed(self, worker: int, reference: Any, task: Task | None, error: Exception) -> Event | None:
        """Its process or its node is gone; whether the task was done is not known."""
        now_s, member = time.monotonic(), self._members[worker]
        if member.is_ready:
            member.since_s = now_s
        member.is_ready, member.ask_at_s = False, now_s + _ASK_AGAIN_S
        if task is None:
            works = any(one.is_ready for one in self._members)
            if not works and now_s - max(one.since_s for one in self._members) > _PATIENCE_S:
                return Refusal(worker, EngineError(f"no actor of Ray starts: {one_line(error)}"))
            return None  # while others work, there may be room for it again
        if member.suspect is None:
            member.suspect = member.in_flight[0]
        member.in_flight.remove(reference)
        lost = Lost(worker, task, f"its actor ended: {type(error).__name__}", member.suspect == reference)
        if not lost.is_suspect or _is_of_node(error):
            return replace(lost, is_suspect=False)
        self._doubts.append(_Doubt(lost, member.node, now_s + _NODE_S))
        return None

    def _settled(self) -> Iterator[Lost]:
        """Tasks that were lost and of which it is known by now whether they, or their node, ended the actor.

        An actor that is started again on the node where it was shows that the node lives. One that is started
        on another does not: Ray may have heard of the actor's end before it misses the node.
        """
        now_s = time.monotonic()
        if not self._doubts or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + _LOOK_S
        alive = self._nodes()
        for doubt in tuple(self._doubts):
            member = self._members[doubt.lost.worker]
            is_gone = alive is not None and doubt.node not in alive
            is_back = member.is_ready and member.node == doubt.node
            if is_gone or is_back or now_s >= doubt.until_s:
                self._doubts.remove(doubt)
                yield replace(doubt.lost, is_suspect=not is_gone)

    def _nodes(self) -> frozenset[str] | None:
        """Those that Ray takes for alive; None where it does not say."""
        try:
            return frozenset(one["NodeID"] for one in self._ray.nodes() if one["Alive"])
        except self._ray.exceptions.RayError:
            return None

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


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A task that may have ended its process, on a node of which it is not known whether it lives.

    Attributes:
        lost: the event, to be said when that is known.
        node: where it was done.
        until_s: when a node that is still there is taken for alive.
    """

    lost: Lost
    node: str
    until_s: float


class _Member:
    """One actor.

    Attributes:
        node: where it was well last.
        in_flight: calls with tasks, the oldest first.
        suspect: the call that it did when it ended; None while it is well.
        since_s: when it was well last.
        ask_at_s: when to ask whether it is well again; None where that is not due.
    """

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.is_ready = False
        self.node = ""
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
