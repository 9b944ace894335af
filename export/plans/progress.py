"""How far a build has come, and how it is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

Watch = Callable[[float, str], None]
"""Called a few times a second with the share that is done (0..1) and what is being done."""

_WATCH_EVERY_S = 0.1


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """What TensorRT reports of a build: phases in phases, each with a number of steps.

    TensorRT calls from threads of its own; the rest of the program reads ``fraction`` and ``doing`` and
    may call :meth:`cancel`.

    Attributes:
        doing: name of the innermost phase that runs.
    """

    def __init__(self) -> None:
        self.doing = ""
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()
        self._reached = 0.0
        self._cancelled = threading.Event()

    @property
    def fraction(self) -> float:
        """Share of the build that is done, 0..1; it never falls."""
        with self._lock:
            top = [name for name, phase in self._phases.items() if phase.parent not in self._phases]
            self._reached = max([self._reached, *map(self._share, top)])
            return self._reached

    def cancel(self) -> None:
        """Asks TensorRT to stop at its next step."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self.doing = name

    def step(self, name: str, step: int) -> bool:
        """One step of a phase is done, counted from 0; returns whether to go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
        return not self._cancelled.is_set()

    def finish(self, name: str) -> None:
        with self._lock:
            ended = self._phases.pop(name, None)
            if ended is not None and ended.parent in self._phases:
                self.doing = ended.parent
            if ended is not None and not self._phases and not self._cancelled.is_set():
                self._reached = 1.0

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        inner = [self._share(child) for child, other in self._phases.items() if other.parent == name]
        running = sum(inner) / len(inner) if inner else 0.0
        return min((phase.done + running) / phase.steps, 1.0)


def progress_monitor(trt: Any, progress: BuildProgress) -> Any:
    """A monitor that the library calls, reporting to ``progress``."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # known only once the library is loaded
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            return progress.step(name, step)

        def phase_finish(self, name: str) -> None:
            progress.finish(name)

    return Monitor()


def run_watched(work: Callable[[BuildProgress], T], watch: Watch | None) -> T:
    """Runs a build in a thread, so that this one can show its progress and hear Ctrl-C.

    TensorRT gives up Python's lock while it builds; Ctrl-C reaches Python's main thread only.

    Args:
        work: the build; it reports to what it is given.
        watch: called with the progress.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the build has stopped.
    """
    progress = BuildProgress()
    with ThreadPoolExecutor(1, thread_name_prefix="tensorrt") as executor:
        future: Future[T] = executor.submit(work, progress)
        try:
            while not wait([future], timeout=_WATCH_EVERY_S).done:
                if watch is not None:
                    watch(progress.fraction, progress.doing)
        except BaseException:
            progress.cancel()
            wait([future])
            raise
        return future.result()
