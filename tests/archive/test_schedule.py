"""Which worker gets which task, and when a file counts as one that ends processes.

edgevision.archive.backlog gives what is to be done; whole runs are in test_driver.py.
"""

import pytest

from edgevision.archive.backlog import PendingFile
from edgevision.archive.crew import Answer, Lost
from edgevision.archive.index import ArchiveIndex
from edgevision.archive.inputs import InputFile
from edgevision.archive.parts import PartFolder, SplitPlan
from edgevision.archive.records import FileSummary, ResultPlaces, Status
from edgevision.archive.schedule import Schedule
from edgevision.archive.tasks import Reply, Task
from edgevision.errors import EngineError
from edgevision.video.codec.scan import SpanPlan


class Desk:
    """A crew whose workers take so many tasks each; what they were given is looked at."""

    def __init__(self, size, each=2):
        self.each = each
        self.given = {worker: [] for worker in range(size)}

    @property
    def idle(self):
        return [worker for worker, tasks in self.given.items() if not tasks]

    @property
    def ahead(self):
        return [worker for worker, tasks in self.given.items() if 0 < len(tasks) < self.each]

    def give(self, worker, task):
        self.given[worker].append(task)

    def names(self):
        return {worker: [task.file.name for task in tasks] for worker, tasks in self.given.items()}

    def answer(self, schedule, worker):
        task = self.given[worker].pop(0)
        summary = FileSummary(name=task.file.name, path="", answers="key", status=Status.DONE)
        schedule.answered(Answer(worker, Reply(task, summary=summary)))

    def lose(self, schedule, worker, is_suspect=True):
        task = self.given[worker].pop(0)
        schedule.lost(Lost(worker, task, "it was killed", is_suspect))


@pytest.fixture
def make(tmp_path):
    """Makes a schedule of files, and the index that it enters them into."""
    places = ResultPlaces(tmp_path / "out")
    places.results.mkdir(parents=True)
    with ArchiveIndex(places) as index:

        def made(names, size=1, span_s=None):
            files = [InputFile(tmp_path / name, name) for name in names]
            for file in files:
                file.path.write_bytes(b"\0" * size)
            pending = [PendingFile(file, size, Task("whole", file)) for file in files]
            return Schedule(pending, places, index, "key", span_s, lambda text: None), index

        yield made


def test_a_second_task_is_given_while_there_are_many(make):
    schedule, index = make([f"{number}.png" for number in range(6)])
    desk = Desk(2)
    schedule.fill(desk)
    assert desk.names() == {0: ["0.png", "2.png"], 1: ["1.png", "3.png"]}
    desk.answer(schedule, 0)
    schedule.fill(desk)
    assert desk.names()[0] == ["2.png"]  # two are left for two workers: each waits for who is free first
    for worker in (0, 1, 1):
        desk.answer(schedule, worker)
    schedule.fill(desk)
    assert desk.names() == {0: ["4.png"], 1: ["5.png"]}
    for worker in (0, 1):
        desk.answer(schedule, worker)
    assert not schedule.has_more
    assert (schedule.finished, len(index.summaries()), schedule.progress(2).share) == (6, 6, 1.0)


def test_what_was_lost_is_done_alone_and_twice_is_enough(make):
    schedule, index = make([f"{number}.png" for number in range(8)])
    desk = Desk(2)
    schedule.fill(desk)
    desk.lose(schedule, 0)  # 0.png; 2.png waited behind it
    desk.lose(schedule, 0, is_suspect=False)
    schedule.fill(desk)
    assert desk.names() == {0: ["2.png"], 1: ["1.png", "3.png"]}
    desk.answer(schedule, 0)
    schedule.fill(desk)
    assert desk.names()[0] == ["0.png"]
    desk.lose(schedule, 0)
    assert [(one.name, one.status, one.reason) for one in index.summaries()] == [
        ("0.png", Status.CRASHED, "it was killed"), ("2.png", Status.DONE, ""),
    ]  # fmt: skip


def test_a_file_is_not_to_blame_for_machines_that_are_gone(make):
    schedule, index = make(["0.png"])
    desk = Desk(1)
    for _ in range(5):
        schedule.fill(desk)
        desk.lose(schedule, 0, is_suspect=False)
    schedule.fill(desk)
    desk.answer(schedule, 0)
    assert index.summaries()[0].status is Status.DONE
    schedule, index = make(["1.png"])
    losses = 0
    while schedule.has_more and losses < 100:
        schedule.fill(desk)
        desk.lose(schedule, 0, is_suspect=False)
        losses += 1
    assert losses < 100  # but not for ever
    assert index.summaries()[1].status is Status.CRASHED


def test_parts_of_a_file_are_counted_one_by_one(make, tmp_path):
    schedule, index = make(["long.mp4"], size=100_000, span_s=1.0)
    desk = Desk(1, each=1)
    schedule.fill(desk)
    (task,) = desk.given[0]
    assert task.kind == "plan"
    spans = [SpanPlan(number=n, start=None, end=None, first_index=10 * n, frames=10) for n in range(3)]
    parts = PartFolder(ResultPlaces(tmp_path / "out").spans("long.mp4"))
    parts.folder.mkdir(parents=True)
    plan = SplitPlan(spans=spans, needed=[0, 1, 2], size=100_000, mtime_ns=1)
    desk.given[0].clear()
    schedule.answered(Answer(0, Reply(task, plan=plan)))
    for number in range(3):  # every part is lost once, and done when it is tried again
        schedule.fill(desk)
        desk.lose(schedule, 0)
        schedule.fill(desk)
        task = desk.given[0].pop(0)
        assert (task.kind, task.span) == ("span", number)
        schedule.answered(Answer(0, Reply(task)))
    schedule.fill(desk)
    assert desk.given[0][0].kind == "join"
    assert schedule.progress(1).share == pytest.approx(0.95)
    assert index.summaries() == []


def test_of_several_parts_that_are_not_proven_the_first_is_named(make, tmp_path):
    schedule, _ = make(["long.mp4", "other.png"], size=100_000, span_s=1.0)
    desk = Desk(3, each=1)
    schedule.fill(desk)
    spans = [SpanPlan(number=n, start=None, end=None, first_index=10 * n, frames=10) for n in range(6)]
    plan = SplitPlan(spans=spans, needed=list(range(6)), size=100_000, mtime_ns=1)
    task = desk.given[0].pop(0)
    schedule.answered(Answer(0, Reply(task, plan=plan)))
    desk.answer(schedule, 1)
    schedule.fill(desk)
    given = [desk.given[worker].pop(0) for worker in range(3)]
    assert [one.span for one in given] == [0, 1, 2]
    schedule.answered(Answer(2, Reply(given[2], refused="a frame is damaged")))
    schedule.fill(desk)
    assert desk.names() == {0: [], 1: [], 2: []}  # nothing behind it matters any more
    schedule.answered(Answer(0, Reply(given[0])))
    schedule.answered(Answer(1, Reply(given[1], refused="the packets differ")))
    schedule.fill(desk)
    (whole,) = desk.given[0]
    assert (whole.kind, whole.in_one_go) == ("whole", "the packets differ")


def test_workers_that_end_as_they_start_end_the_run(make):
    schedule, _ = make(["0.png"])
    lost = Lost(0, None, "its process was ended by SIGILL")
    schedule.lost(lost)
    schedule.lost(lost)
    schedule.ready()  # another one is well
    schedule.lost(lost)
    schedule.lost(lost)
    with pytest.raises(EngineError, match="ends while it starts: its process was ended by SIGILL"):
        schedule.lost(lost)
