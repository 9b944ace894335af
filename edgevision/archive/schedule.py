"""Which task comes next, and what follows from how one went."""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgevision.archive.backlog import Camera, PendingFile
from edgevision.archive.crew import Answer, Crew, Far, Lost
from edgevision.archive.index import ArchiveIndex
from edgevision.archive.inputs import InputFile
from edgevision.archive.parts import PartFolder, SplitPlan
from edgevision.archive.progress import ArchiveProgress
from edgevision.archive.records import FileSummary, ResultPlaces, Status, write_summary
from edgevision.archive.results import remove_results
from edgevision.archive.tasks import Reply, Task
from edgevision.errors import EngineError, SinkError
from edgevision.suffixes import IMAGE_SUFFIXES

TRIES = 2
"""A file is ``crashed`` when one task of it has ended its process this often."""

_MOST_LOSSES = 20  # of one task, whoever's fault
_BYTES_PER_SECOND = 2_000  # no recording worth splitting has fewer
_STARTS = 3  # of a worker, without an answer


@dataclass(slots=True)
class _FileState:
    """A file that is being worked on.

    Attributes:
        suspected, lost: how often each task, by kind and part, may have ended its process, and was lost.
        left: parts that are still to be detected.
        refused: parts that are not proven, and why.
        done: share of the file, 0..1; set by the schedule.
        is_over: its summary is there; late replies do not count.
    """

    file: InputFile
    size: int
    camera: Camera | None
    suspected: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost: Counter[tuple[str, int]] = field(default_factory=Counter)
    plan: SplitPlan | None = None
    left: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    is_split: bool = False
    done: float = 0.0
    is_over: bool = False


class Schedule:
    """The tasks of one run over an archive.

    Args:
        pending: the files.
        places: where results lie.
        index: takes the summaries of finished files.
        answers: key of the settings.
        span_s: length of the parts of long files, in seconds; None where files are not split.
        note: takes one line for the user.

    Attributes:
        finished: how many files are.
        losses: how many tasks were lost with the process that did them.
    """

    def __init__(
        self,
        pending: Sequence[PendingFile],
        places: ResultPlaces,
        index: ArchiveIndex,
        answers: str,
        span_s: float | None,
        note: Callable[[str], None],
    ) -> None:
        self.finished = self.losses = 0
        self._places, self._index, self._answers = places, index, answers
        self._span_s, self._note = span_s, note
        self._queue: deque[Task] = deque()
        self._running: dict[int, list[Task]] = {}
        self._failed_starts = 0
        self._frames_per_byte = 0.0
        self._states = {one.file.name: _FileState(one.file, one.size, one.camera) for one in pending}
        self._done, self._total = 0.0, max(1, sum(max(one.size, 1) for one in pending))
        for one in pending:
            if one.task is not None:
                self._queue += self._first_tasks(one.task, self._states[one.file.name])

    @property
    def has_more(self) -> bool:
        """Whether anything waits or is being done."""
        return bool(self._queue) or any(self._running.values())

    def fill(self, crew: Crew) -> None:
        """Gives tasks to the workers that have none; the next one already, while there are many.

        A task that was lost before is done alone, so that it is known which one ends a process.
        """
        for worker in crew.idle:
            if self._queue:
                self._give(crew, worker)
        for worker in crew.ahead:
            if len(self._queue) <= len(self._running):
                return
            if not any(map(self._was_lost, (self._queue[0], *self._running.get(worker, ())))):
                self._give(crew, worker)

    def _give(self, crew: Crew, worker: int) -> None:
        task = self._queue.popleft()
        self._running.setdefault(worker, []).append(task)
        crew.give(worker, task)

    def _was_lost(self, task: Task) -> bool:
        return bool(self._states[task.file.name].lost[task.kind, task.span])

    def ready(self) -> None:
        """A worker has its models open."""
        self._failed_starts = 0

    def went_on(self, event: Far) -> None:
        """A worker says how far it is."""
        for task in self._running.get(event.worker, ())[-1:]:
            if task.kind == "whole":
                state = self._states[task.file.name]
                expected = state.size * self._frames_per_byte
                self._advance(state, min(0.95, event.frames / expected) if expected else 0.0)

    def answered(self, event: Answer) -> None:
        """A task is done; what it gives counts unless its file is finished by now.

        Raises:
            SinkError: results cannot be written.
        """
        reply, task = event.reply, event.reply.task
        self._take(event.worker, task)
        state = self._states[task.file.name]
        if state.is_over:
            return
        if task.kind == "camera":
            self._joined(reply)
        elif task.kind == "raw" and reply.summary is None:
            self._detected(state)
        elif reply.summary is not None:
            self._index.enter(reply.summary)
            self._end(state)
            if reply.summary.frames and state.size:
                rate = reply.summary.frames / state.size
                self._frames_per_byte = (self._frames_per_byte or rate) * 0.8 + rate * 0.2
        elif task.kind == "formats":
            if reply.refused:
                self._note(f"{task.file.name}: {reply.refused}")
            self._end(state)
        elif task.kind in ("span", "join") and not state.is_split:
            pass  # of a file that is read in one go by now
        elif task.kind == "span":
            self._detected_span(state, task.span, reply.refused)
        elif reply.refused or (task.kind == "plan" and reply.plan is None):
            self._in_one_go(state, reply.refused)
        elif reply.plan is not None:
            self._queue.extendleft(reversed(self._split(state, reply.plan)))

    def lost(self, event: Lost) -> None:
        """A worker ended; what it did is done again, unless it ended a process too often.

        Raises:
            EngineError: workers end before they are given anything.
            SinkError: a summary cannot be written.
        """
        task = event.task
        if task is None:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise EngineError(f"a worker ends while it starts: {event.reason}")
            return
        self.losses += 1
        self._take(event.worker, task)
        state = self._states[task.file.name]
        if state.is_over:
            return
        key = (task.kind, task.span)
        state.lost[key] += 1
        state.suspected[key] += event.is_suspect
        if state.suspected[key] < TRIES and state.lost[key] < _MOST_LOSSES:
            self._queue.appendleft(task)
        elif task.kind == "camera":
            raise EngineError(f"the files of {task.file.name} cannot be joined: {event.reason}")
        elif task.kind == "formats":  # its results stay
            self._note(f"{task.file.name}: {event.reason}")
            self._end(state)
        else:
            self._crashed(state, event.reason)

    def progress(self, workers: int) -> ArchiveProgress:
        """How far everything is, with what each of so many workers does."""
        at = tuple(_shown(self._running.get(worker, ())) for worker in range(workers))
        return ArchiveProgress(self.finished, len(self._states), min(1.0, self._done / self._total), at)

    def _advance(self, state: _FileState, share: float) -> None:
        """So much of a file is done; sums, for an archive may have a million files."""
        self._done += max(state.size, 1) * (share - state.done)
        state.done = share

    def _take(self, worker: int, task: Task) -> None:
        """It is not running any more."""
        running = self._running.get(worker, [])
        if task in running:
            running.remove(task)

    def _first_tasks(self, task: Task, state: _FileState) -> list[Task]:
        """A file in one go, or its parts as an earlier start planned them, or the plan."""
        seconds = self._span_s
        if seconds is None or task.kind != "whole" or task.file.suffix in IMAGE_SUFFIXES:
            return [task]
        if state.size < 2 * seconds * _BYTES_PER_SECOND:
            return [task]
        plan, facts = PartFolder(self._places.spans(task.file.name)).plan(), task.file.facts()
        if plan is None or facts is None or (plan.size, plan.mtime_ns) != (facts.size, facts.mtime_ns):
            return [Task("plan", task.file)]
        return self._split(state, plan)

    def _split(self, state: _FileState, plan: SplitPlan) -> list[Task]:
        parts = PartFolder(self._places.spans(state.file.name))
        state.plan, state.is_split, state.refused = plan, True, {}
        state.left = {number for number in plan.needed if parts.report(number) is None}
        spans = [Task("span", state.file, number) for number in sorted(state.left)]
        return spans or [Task("join", state.file)]

    def _detected_span(self, state: _FileState, number: int, refused: str) -> None:
        """A part is detected, or not proven: of several the first one is named, whoever answers first."""
        state.left.discard(number)
        if refused:
            state.refused[number] = refused
        if state.refused:
            first = min(state.refused)
            state.left = {one for one in state.left if one < first}
            self._queue = deque(
                task for task in self._queue if task.file != state.file or task.span in state.left
            )
            if not state.left:
                self._in_one_go(state, state.refused[first])
            return
        if state.plan is not None:
            self._advance(state, 0.95 * (1 - len(state.left) / max(1, len(state.plan.needed))))
        if not state.left:
            self._queue.appendleft(Task("join", state.file))

    def _joined(self, reply: Reply) -> None:
        if reply.refused:
            raise SinkError(f"what was detected of {reply.refused} is lost: start again")
        for summary in reply.summaries:
            self._index.enter(summary)
            self._end(self._states[summary.name])

    def _detected(self, state: _FileState, is_lost: bool = False) -> None:
        """A file of a camera is detected, or never will be; the last one of them lets it be joined."""
        camera = state.camera
        self._advance(state, 0.9)
        if camera is None or state.file.name not in camera.left:
            return
        camera.left.discard(state.file.name)
        if is_lost:
            camera.files = [pair for pair in camera.files if pair[0] != state.file]
        if not camera.left and camera.files:
            self._queue.appendleft(camera.task())

    def _in_one_go(self, state: _FileState, reason: str) -> None:
        self._drop_tasks(state)
        state.is_split = False
        self._advance(state, 0.0)
        self._queue.appendleft(Task("whole", state.file, in_one_go=reason))

    def _crashed(self, state: _FileState, reason: str) -> None:
        summary = FileSummary(
            name=state.file.name,
            path=state.file.shown,
            answers=self._answers,
            status=Status.CRASHED,
            reason=reason,
            facts=state.file.facts(),
        )
        remove_results(self._places, state.file.name)
        write_summary(self._places, summary)
        self._index.enter(summary)
        self._end(state)

    def _end(self, state: _FileState) -> None:
        self._detected(state, is_lost=True)  # where it ends before it was detected
        state.is_over = True
        self._advance(state, 1.0)
        self.finished += 1
        self._drop_tasks(state)
        if state.camera is None:
            shutil.rmtree(self._places.spans(state.file.name), ignore_errors=True)

    def _drop_tasks(self, state: _FileState) -> None:
        """Takes the parts of a file out of the queue, which is long: others have one task at most."""
        if state.is_split:
            self._queue = deque(task for task in self._queue if task.file != state.file)


def _shown(tasks: Sequence[Task]) -> str:
    """What a worker does, for people."""
    if not tasks:
        return ""
    task = tasks[0]
    return f"{task.file.name} {task.span}" if task.kind == "span" else task.file.name
