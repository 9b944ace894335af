"""Workers as processes of this machine: each has its models open and does one task at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

from edgevision.archive.launch import start_process
from edgevision.archive.tasks import Job, OnFrames, Reply, Task
from edgevision.archive.work import Worker
from edgevision.closeable import Closeable
from edgevision.engines.base import one_line
from edgevision.errors import DependencyError, EdgeVisionError, EngineError
from edgevision.extras import import_failure

_EVERY_S = 0.3  # between two reports of how far a task is
_END_S = 3.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has its models open.

    Attributes:
        names: class names of the models.
    """

    worker: int
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Far:
    """How many frames of its task a worker has done."""

    worker: int
    frames: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker has done its task."""

    worker: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Refusal:
    """A worker cannot go on, and no other could either: no model, no room on the disk."""

    worker: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker ended without an answer, and another takes its place; or its task ended in a fault.

    Attributes:
        task: that it had; None where it had none.
        reason: how it ended.
        is_suspect: the task may be what ended it; not where it waited behind another, or its machine is gone.
    """

    worker: int
    task: Task | None
    reason: str
    is_suspect: bool = True


Event = Ready | Far | Answer | Refusal | Lost


class Crew(Closeable, Protocol):
    """Workers, wherever they are."""

    @property
    def idle(self) -> list[int]:
        """Numbers of the workers that have nothing to do."""
        ...

    @property
    def ahead(self) -> list[int]:
        """Numbers of the workers that do a task and can be given the next one already."""
        ...

    def give(self, worker: int, task: Task) -> None:
        """Gives a task to a worker of ``idle`` or ``ahead``."""
        ...

    def wait(self, timeout_s: float) -> list[Event]:
        """What happened; waits for something for so long at most."""
        ...


class _Member:
    """One process."""

    def __init__(self, process: BaseProcess, channel: Connection) -> None:
        self.process, self.channel = process, channel
        self.is_ready = False
        self.task: Task | None = None


class ProcessCrew(Closeable):
    """Processes of this machine; nothing of this one is shared with them but the files.

    Args:
        job: what all have in common.
        size: how many.
    """

    def __init__(self, job: Job, size: int) -> None:
        self._job = job
        self._members = [self._start() for _ in range(size)]

    def _start(self) -> _Member:
        return _Member(*start_process(serve, self._job))

    @property
    def idle(self) -> list[int]:
        return [i for i, one in enumerate(self._members) if one.is_ready and one.task is None]

    @property
    def ahead(self) -> list[int]:
        return []  # an answer and the next task take no time here

    def give(self, worker: int, task: Task) -> None:
        member = self._members[worker]
        member.task = task
        with contextlib.suppress(OSError):  # it has ended, which wait() reports
            member.channel.send(task)

    def wait(self, timeout_s: float) -> list[Event]:
        channels = {one.channel: i for i, one in enumerate(self._members)}
        events: list[Event] = []
        for channel in multiprocessing.connection.wait(list(channels), timeout_s):
            worker = channels[channel]  # type: ignore[index]
            events.append(self._received(worker))
        return events

    def _received(self, worker: int) -> Event:
        member = self._members[worker]
        try:
            message = member.channel.recv()
        except (EOFError, OSError):
            return self._replaced(worker)
        if isinstance(message, int):
            return Far(worker, message)
        if isinstance(message, Reply):
            member.task = None
            return Answer(worker, message)
        if isinstance(message, Exception):
            return Refusal(worker, message)
        if isinstance(message, str):
            task, member.task = member.task, None
            return Lost(worker, task, message)
        member.is_ready = True
        return Ready(worker, message)

    def _replaced(self, worker: int) -> Lost:
        member = self._members[worker]
        member.channel.close()
        member.process.join(_END_S)
        self._members[worker] = self._start()
        return Lost(worker, member.task, _end_of(member.process.exitcode))

    def close(self) -> None:
        for one in self._members:
            one.process.terminate()
        for one in self._members:
            one.process.join(_END_S)
            if one.process.is_alive():
                one.process.kill()
            one.channel.close()


class InlineCrew(Closeable):
    """One worker in this process, which does a task when it is waited for: for tests, and to look for faults.

    Args:
        job: what to do it with.
        size: ignored; it is one worker.
    """

    def __init__(self, job: Job, size: int = 1) -> None:
        self._worker = Worker(job)
        self._task: Task | None = None
        self._is_new = True

    @property
    def idle(self) -> list[int]:
        return [] if self._is_new or self._task is not None else [0]

    @property
    def ahead(self) -> list[int]:
        return []

    def give(self, worker: int, task: Task) -> None:
        self._task = task

    def wait(self, timeout_s: float) -> list[Event]:
        if self._is_new:
            self._is_new = False
            return [Ready(0, self._worker.names)]
        task, self._task = self._task, None
        if task is None:
            return []
        try:
            return [Answer(0, self._worker.do(task))]
        except EdgeVisionError as error:
            return [Refusal(0, error)]

    def close(self) -> None:
        self._worker.close()


def serve(job: Job, channel: Connection) -> None:
    """A worker's process: takes tasks from a channel until it is closed.

    Args:
        job: what the workers have in common.
        channel: gets class names, then a number of frames now and then, and a reply to each task.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        with Worker(job) as worker:
            channel.send(worker.names)
            while True:
                channel.send(_done(worker, channel.recv(), _Reporter(channel)))
    except (EOFError, BrokenPipeError):
        return  # the driver has ended
    except EdgeVisionError as error:
        channel.send(error)
    except ImportError as error:
        channel.send(DependencyError(f"a worker cannot start: {import_failure(error)}"))


def _done(worker: Worker, task: Task, on_frames: OnFrames) -> Reply | str:
    """The reply, or what the engine or a library raised at this one file."""
    try:
        return worker.do(task, on_frames)
    except EngineError as error:
        return str(error)
    except (EdgeVisionError, EOFError, BrokenPipeError, ImportError):
        raise
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)}"


class _Reporter:
    """Tells the driver now and then how far a task is."""

    def __init__(self, channel: Connection) -> None:
        self._channel, self._last_s = channel, time.monotonic()

    def __call__(self, frames: int) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= _EVERY_S:
            self._last_s = now_s
            self._channel.send(frames)


def _end_with(sentinel: int) -> None:
    """Ends this process with the one that started it, however that ends."""
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit status {exit_code}"
