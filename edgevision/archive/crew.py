"""Workers as processes of this machine: each has its models open and does one task at a time."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

from edgevision.archive.launch import start_process
from edgevision.archive.tasks import Job, Reply, Task
from edgevision.archive.work import Worker
from edgevision.closeable import Closeable
from edgevision.engines.base import one_line
from edgevision.errors import DependencyError, EdgeVisionError, EngineError
from edgevision.extras import import_failure

_EVERY_S = 0.3  # between two reports of how far a task is
_END_S = 3.0
_WRITING = 4  # results that a worker writes at the same time, which a disk takes at one go


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


@dataclass(frozen=True, slots=True)
class _Computed:
    """Sent by a worker that needs its models for its task no more: it writes results, and takes the next."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """Sent by a worker: what the engine or a library raised at one file."""

    task: Task
    reason: str


class _Member:
    """One process.

    Attributes:
        task: that it computes; None for none.
        writing: those whose results it writes.
    """

    def __init__(self, process: BaseProcess, channel: Connection) -> None:
        self.process, self.channel = process, channel
        self.is_ready = False
        self.task: Task | None = None
        self.writing: list[Task] = []

    def forget(self, task: Task) -> None:
        """It is done with a task."""
        if task in self.writing:
            self.writing.remove(task)
        elif self.task == task:
            self.task = None


class ProcessCrew(Closeable):
    """Processes of this machine; nothing of this one is shared with them but the files.

    A worker that writes the results of a task is given the next one already.

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
            events += self._received(worker)
        return events

    def _received(self, worker: int) -> list[Event]:
        member = self._members[worker]
        try:
            message = member.channel.recv()
        except (EOFError, OSError):
            return self._replaced(worker)
        if isinstance(message, int):
            return [Far(worker, message)]
        if isinstance(message, _Computed):
            if member.task is not None:
                member.writing.append(member.task)
                member.task = None
            return []
        if isinstance(message, Reply):
            member.forget(message.task)
            return [Answer(worker, message)]
        if isinstance(message, _Fault):
            member.forget(message.task)
            return [Lost(worker, message.task, message.reason)]
        if isinstance(message, Exception):
            return [Refusal(worker, message)]
        member.is_ready = True
        return [Ready(worker, message)]

    def _replaced(self, worker: int) -> list[Event]:
        member = self._members[worker]
        member.channel.close()
        member.process.join(_END_S)
        self._members[worker] = self._start()
        reason, computed = _end_of(member.process.exitcode), member.task
        lost: list[Event] = [Lost(worker, one, reason, computed is None) for one in member.writing]
        if computed is not None or not lost:
            lost.append(Lost(worker, computed, reason))
        return lost

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
        channel: gets class names, then a number of frames now and then, and a reply to each task. It can be
            given the next task when it has said that it has computed one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    talk = _Talk(channel)
    try:
        with Worker(job) as worker, ThreadPoolExecutor(_WRITING) as writers:
            talk.say(worker.names)
            gc.freeze()  # what stays is not looked through each time
            written: deque[Future[None]] = deque()
            while True:
                task = channel.recv()
                rest = _begun(worker, task, talk)
                talk.say(_Computed())
                gc.collect()  # decoders of files that are closed, which PyAV's cycles of references keep
                while len(written) >= _WRITING or (written and written[0].done()):
                    written.popleft().result()
                written.append(writers.submit(talk.finish, task, rest))
    except (EOFError, BrokenPipeError):
        return  # the driver has ended
    except EdgeVisionError as error:
        talk.say(error)
    except ImportError as error:
        talk.say(DependencyError(f"a worker cannot start: {import_failure(error)}"))


class _Talk:
    """What a worker says to its driver, from any of its threads."""

    def __init__(self, channel: Connection) -> None:
        self._channel, self._lock = channel, threading.Lock()
        self._last_s = time.monotonic()

    def say(self, message: object) -> None:
        with self._lock:
            self._channel.send(message)

    def went_on(self, frames: int) -> None:
        """Says now and then how far a task is."""
        now_s = time.monotonic()
        if now_s - self._last_s >= _EVERY_S:
            self._last_s = now_s
            self.say(frames)

    def finish(self, task: Task, rest: Callable[[], Reply] | _Fault) -> None:
        """Does the rest of a task, and says what came of it."""
        try:
            self.say(rest if isinstance(rest, _Fault) else rest())
        except (EOFError, BrokenPipeError):
            raise
        except EngineError as error:
            self.say(_Fault(task, str(error)))
        except EdgeVisionError as error:
            self.say(error)
        except Exception as error:
            self.say(_fault(task, error))


def _begun(worker: Worker, task: Task, talk: _Talk) -> Callable[[], Reply] | _Fault:
    """What does the rest of a task, or what the engine or a library raised at this one file."""
    try:
        return worker.begin(task, talk.went_on)
    except EngineError as error:
        return _Fault(task, str(error))
    except (EdgeVisionError, EOFError, BrokenPipeError, ImportError):
        raise
    except Exception as error:
        return _fault(task, error)


def _fault(task: Task, error: Exception) -> _Fault:
    return _Fault(task, f"{type(error).__name__}: {one_line(error)}")


def _end_with(sentinel: int) -> None:
    """Ends this process with the one that started it, however that ends."""
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit status {exit_code}"
