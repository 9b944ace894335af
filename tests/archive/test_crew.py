"""Workers that are killed: what follows is as if nothing had been.

edgevision.archive.launch too, which starts them.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevision.archive.crew import Answer, Lost, ProcessCrew, Ready, Refusal
from edgevision.archive.inputs import InputFile
from edgevision.archive.progress import ArchiveObserver
from edgevision.archive.tasks import Job, Task
from edgevision.errors import UsageError
from tests.archive.test_driver import write_image
from tests.support.archive import open_fake, open_on_a_slow_disk, open_or_die, process, results
from tests.support.models import write_block_clip
from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path):
    for name, frames in (("long.mp4", 60), ("short.mp4", 6)):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_block_clip(tmp_path / "in" / name, frames)
    for number in range(6):
        write_image(tmp_path / "in" / f"{number}.png", left=8 + number)
    return tmp_path / "in"


def until(crew, kind, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in crew.wait(0.2):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__} came")


def job(tmp_path, model, **changes):
    settings = {"out": tmp_path / "out", "answers": "key", "models": [model], "conf_threshold": 0.3}
    (tmp_path / "out/.work/partial").mkdir(parents=True, exist_ok=True)
    return Job(**{**settings, "open_engine": open_fake, "open_file": open_or_die, **changes})


def test_a_worker_that_dies_is_replaced(folder, tmp_path, model):
    killer = write_image(tmp_path / "killer.png")
    with ProcessCrew(job(tmp_path, model), 1) as crew:
        assert crew.idle == []
        assert until(crew, Ready).names == ["blue", "green", "red"]
        task = Task("whole", InputFile(killer, "killer.png"))
        crew.give(0, task)
        lost = until(crew, Lost)
        assert (lost.task, lost.reason) == (task, "its process was ended by SIGKILL")
        until(crew, Ready)
        crew.give(0, Task("whole", InputFile(folder / "0.png", "0.png")))
        assert until(crew, Answer).reply.summary.frames == 1


def test_the_next_file_is_read_while_results_are_written(folder, tmp_path, model):
    killer = InputFile(write_image(tmp_path / "killer.png"), "killer.png")
    with ProcessCrew(job(tmp_path, model, open_file=open_on_a_slow_disk), 1) as crew:
        until(crew, Ready)
        first = Task("whole", InputFile(folder / "0.png", "0.png"))
        crew.give(0, first)
        while not crew.idle:
            assert not any(isinstance(event, Answer) for event in crew.wait(0.2))
        crew.give(0, Task("whole", killer))
        lost = [event for event in crew.wait(60) if isinstance(event, Lost)]
    # The file whose results were being written is done again, and is not what ended the process.
    assert [(event.task.file.name, event.is_suspect) for event in lost] == [
        ("0.png", False), ("killer.png", True),
    ]  # fmt: skip


ONE_WORKER = """
import os, sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", os.getcwd())]
from pathlib import Path
from tests.archive.test_crew import Ready, job, until
from edgevision.archive.crew import ProcessCrew
if __name__ == "__main__":
    here = os.getcwd()
    with ProcessCrew(job(Path(sys.argv[1]), Path(sys.argv[2])), 1) as crew:
        until(crew, Ready)
    assert "PYTHONSAFEPATH" not in os.environ and os.getcwd() == here
    print("a worker was ready")
"""


def test_files_of_the_current_folder_are_no_libraries_of_a_worker(tmp_path, model):
    user, script = tmp_path / "user", tmp_path / "one_worker.py"
    user.mkdir()
    for name in ("queue", "signal", "struct", "random", "cv2"):
        (user / f"{name}.py").write_text("import os; os._exit(66)  # a file of the user was executed")
    script.write_text(ONE_WORKER)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(model)],
        cwd=user, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "a worker was ready\n"), done.stderr


def test_what_no_worker_can_do_is_refused(tmp_path, model):
    with ProcessCrew(job(tmp_path, model, classes=["zebra"]), 1) as crew:
        refusal = until(crew, Refusal)
    assert isinstance(refusal.error, UsageError)
    assert "no class 'zebra'" in str(refusal.error)


def test_a_killed_worker_costs_nothing(folder, tmp_path, model):
    process([folder], tmp_path / "whole", model, span_s=1.0)

    class Killer(ArchiveObserver):
        def while_running(self):
            import contextlib
            import multiprocessing

            killed = []

            def look(progress):
                if progress.files >= 2 and not killed:
                    killed.append(multiprocessing.active_children()[0])
                    os.kill(killed[0].pid, signal.SIGKILL)

            return contextlib.nullcontext(look)

    outcome = process([folder], tmp_path / "out", model, span_s=1.0, crew=ProcessCrew, observer=Killer())
    assert outcome.processed == 8
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_killed_fork_server_is_started_again(tmp_path, model):
    with ProcessCrew(job(tmp_path, model), 1) as crew:
        until(crew, Ready)
        server = int(
            Path(f"/proc/{crew._members[0].process.pid}/stat").read_text().rpartition(")")[2].split()[1]
        )
        assert server != os.getpid()
        os.kill(server, signal.SIGKILL)
        with ProcessCrew(job(tmp_path, model), 1) as other:
            assert until(other, Ready).names == ["blue", "green", "red"]


def test_what_a_kill_left_half_written_is_removed(tmp_path, model):
    write_image(tmp_path / "in/1.png")
    process([tmp_path / "in"], tmp_path / "out", model)
    before = results(tmp_path / "out")
    summary = (tmp_path / "out/results/1.png.json").read_bytes()
    for name in ("results/.0123456789abcdef.partial.json", ".0123456789abcdef.partial.json"):
        (tmp_path / "out" / name).write_bytes(summary)  # complete, and not renamed yet
    (tmp_path / "out/index.sqlite").unlink()
    outcome = process([tmp_path / "in"], tmp_path / "out", model)
    assert [one.name for one in outcome.summaries] == ["1.png"]
    assert results(tmp_path / "out") == before
