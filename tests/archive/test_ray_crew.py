"""Workers on Ray, in a network namespace that has only the loopback interface."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgevision.archive import ray_crew
from edgevision.archive.crew import Lost, Ready
from edgevision.archive.inputs import InputFile
from edgevision.archive.ray_crew import RayCrew, _is_of_node, _Opened, threads_of_each
from edgevision.archive.tasks import Job, Task
from tests.archive.test_driver import write_image
from tests.support.archive import process, results
from tests.support.models import write_block_clip
from tests.support.paths import ROOT

pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgevision[ray]'")

PROGRAM = """
import contextlib, itertools, os, sys, time
from pathlib import Path
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": sys.argv[4],
               "RAY_raylet_start_wait_time_s": "300", "RAY_worker_register_timeout_seconds": "300"}
import ray
from ray.cluster_utils import Cluster
from edgevision.archive.progress import ArchiveObserver
from edgevision.archive.ray_crew import connect, crew_at
from edgevision.video import open_source
from tests.support.archive import process

PLACE, FATE, KILLS = Path(sys.argv[4]), sys.argv[5], int(sys.argv[6])
free = itertools.count(41000)

def ports():
    # A node that has to wait for its agents to find ports gives up after 15 s.
    names = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")
    return {f"{name}_port": next(free) for name in names}

cluster = Cluster(initialize_head=True,
                  head_node_args={"num_cpus": 0, "include_dashboard": False, **ports()})
for _ in range(2):
    cluster.add_node(num_cpus=1, **ports())
assert connect(cluster.address) == 2

def open_until_killed(uri):
    # As often as it is to be killed it says where it is, and waits for its end.
    if uri.endswith("slow.png"):
        times = len(list(PLACE.glob("seen-*")))
        if times < KILLS:
            (PLACE / "partial").write_text(f"{os.getpid()} {os.getppid()}")
            (PLACE / "partial").rename(PLACE / f"seen-{times}")
            time.sleep(300)
    return open_source(uri)

class Kill(ArchiveObserver):
    def while_running(self):
        killed = set()
        def look(progress):
            for path in set(PLACE.glob("seen-*")) - killed:
                killed.add(path)
                actor, parent = map(int, path.read_text().split())
                if FATE == "worker":
                    os.kill(actor, 9)
                    continue
                (node,) = [one for one in cluster.worker_nodes
                           if parent == one.all_processes["raylet"][0].process.pid]
                cluster.remove_node(node, allow_graceful=False)  # by SIGKILL
                cluster.add_node(num_cpus=1, **ports())
        return contextlib.nullcontext(look)

outcome = process([sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]), crew=crew_at(cluster.address),
                  span_s=1.0, observer=Kill(), open_file=open_until_killed)
print("lost", len(list(PLACE.glob("seen-*"))))
print([(one.name, one.status.value) for one in outcome.summaries if one.status.value != "done"])
ray.shutdown()
cluster.shutdown()
"""


class FakeRay:
    """What a :class:`RayCrew` uses of Ray, without its processes: the test says what comes of each call.

    Attributes:
        calls: references of the calls that are not answered, with the arguments, the oldest first.
        alive: nodes.
    """

    def __init__(self, exceptions):
        self.exceptions, self.calls, self.alive = exceptions, {}, {"a", "b"}
        self._results, self._made = {}, 0

    def is_initialized(self):
        return True

    def remote(self, kind):
        return SimpleNamespace(options=lambda **settings: SimpleNamespace(remote=lambda job: self._actor()))

    def _actor(self):
        self._made += 1
        name = f"actor {self._made}"
        methods = {method: self._method(name, method) for method in ("open", "do", "close")}
        return SimpleNamespace(**methods)

    def _method(self, actor, method):
        def remote(*arguments):
            self._made += 1
            reference = (actor, method, self._made)
            self.calls[reference] = arguments
            return reference

        return SimpleNamespace(remote=remote)

    def answer(self, actor, method, result):
        """The oldest call of a method of an actor has a result, or ends with an error."""
        reference = next(one for one in self.calls if one[:2] == (f"actor {actor}", method))
        del self.calls[reference]
        self._results[reference] = result

    def wait(self, references, num_returns, timeout):
        return [one for one in references if one in self._results][:num_returns], []

    def get(self, reference):
        result = self._results.pop(reference)
        if isinstance(result, Exception):
            raise result
        return result

    def nodes(self):
        return [
            {"NodeID": node, "Alive": node in self.alive, "Resources": {"CPU": 4.0}} for node in ("a", "b")
        ]

    def kill(self, actor):
        pass


@pytest.fixture
def cluster(monkeypatch):
    """A Ray that the test answers for, and a clock that it sets."""
    import ray

    fake = FakeRay(ray.exceptions)
    fake.now_s = 100.0
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_crew, "time", SimpleNamespace(monotonic=lambda: fake.now_s, sleep=lambda s: None))
    return fake


@pytest.fixture
def crew(cluster, tmp_path):
    """Two actors with their models open, the first of them with two tasks."""
    job = Job(out=tmp_path, answers="key", models=[tmp_path / "a.onnx"], conf_threshold=0.3)
    with RayCrew(job, 2) as made:
        for actor, node in ((1, "a"), (2, "b")):
            cluster.answer(actor, "open", _Opened(["car"], node))
            assert made.wait(0.0) == [Ready(actor - 1, ["car"])]
        for name in ("1.png", "2.png"):
            made.give(0, Task("whole", InputFile(tmp_path / name, name)))
        yield made


@pytest.mark.parametrize(
    ("cpus", "size", "threads"),
    [([8, 8], 16, 1), ([8, 8], 2, 8), ([0, 8, 8], 3, 4), ([8, 8, 8], 4, 4), ([2], 9, 1), ([], 1, 1)],
)
def test_every_actor_has_room(cpus, size, threads):
    assert threads_of_each(cpus, size) == threads


def end_actor(cluster, crew):
    """The first actor ends with its two tasks; what comes of it at once."""
    gone = cluster.exceptions.ActorUnavailableError("Socket closed", None)
    events = []
    for _ in range(2):
        cluster.answer(1, "do", gone)
        events += crew.wait(0.0)
    assert [(one.task.file.name, one.is_suspect) for one in events] == [("2.png", False)]


def settled(crew):
    return [(one.task.file.name, one.is_suspect) for one in crew.wait(0.0) if isinstance(one, Lost)]


def test_a_task_is_not_blamed_for_a_node_that_is_gone(cluster, crew):
    end_actor(cluster, crew)
    for _ in range(12):
        cluster.now_s += 1
        assert settled(crew) == []
    cluster.alive.discard("a")
    cluster.now_s += 1
    assert settled(crew) == [("1.png", False)]


def test_a_task_is_blamed_when_its_actor_is_back_where_it_was(cluster, crew):
    end_actor(cluster, crew)
    cluster.now_s += 1
    assert settled(crew) == []
    cluster.answer(1, "open", _Opened(["car"], "a"))
    cluster.now_s += 1
    assert settled(crew) == [("1.png", True)]
    assert crew.idle == [0, 1]


def test_an_actor_that_is_back_on_another_node_settles_nothing(cluster, crew):
    end_actor(cluster, crew)
    cluster.now_s += 1
    assert settled(crew) == []
    cluster.answer(1, "open", _Opened(["car"], "b"))
    for _ in range(28):
        cluster.now_s += 1
        assert settled(crew) == []
    cluster.now_s += 1
    assert settled(crew) == [("1.png", True)]


def test_an_actor_without_room_ends_no_run_in_which_another_works(cluster, crew):
    gone = cluster.exceptions.ActorUnavailableError("no room", None)
    crew.give(1, Task("whole", InputFile(Path("long.mp4"), "long.mp4")))
    end_actor(cluster, crew)

    def ask_again():
        cluster.now_s += 100
        crew.wait(0.0)
        cluster.answer(1, "open", gone)
        return [one for one in crew.wait(0.0) if not isinstance(one, Lost)]

    assert [ask_again() for _ in range(4)] == [[]] * 4
    cluster.answer(2, "do", gone)
    assert crew.wait(0.0) == []
    assert ask_again() == []  # it may come back
    (refusal,) = ask_again()
    assert "no actor of Ray starts" in str(refusal.error)


@pytest.mark.parametrize(
    ("text", "is_of_node"),
    [
        ("The actor died because its node has died. Node Id: 6b1c\n\tthe actor's node was terminated.", True),
        ("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit "
         "detail: Worker unexpectedly exits with a connection error code 2.", False),
        ("The actor is dead because its worker process has died. Worker exit type: NODE_OUT_OF_MEMORY Worker "
         "exit detail: Task was killed due to the node running low on memory.", False),
    ],
)  # fmt: skip
def test_what_ray_says_of_a_node_that_is_gone(text, is_of_node):
    from ray.core.generated.common_pb2 import ActorDiedErrorContext
    from ray.exceptions import ActorDiedError

    cause = ActorDiedErrorContext(error_message=text, class_name="Actor", actor_id=b"\0" * 16, pid=7)
    assert _is_of_node(ActorDiedError(cause)) is is_of_node


def alone():
    """A command that runs the rest where no network but the loopback is; None where that is not allowed."""
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize(("fate", "kills"), [("node", 2), ("worker", 1)])
def test_two_nodes_of_which_one_is_killed_give_what_one_process_gives(tmp_path, model, fate, kills):
    """The machine that reads a file is killed, and so is the next one; or the process that reads it."""
    command = alone()
    if command is None:
        pytest.skip("no network namespace can be made here, and Ray listens on every interface")
    (tmp_path / "in").mkdir()
    write_block_clip(tmp_path / "in/long.mp4", 60)
    for number in range(8):
        write_image(tmp_path / "in" / f"{number}.png", left=8 + number)
    write_image(tmp_path / "in/slow.png", left=30)
    process([tmp_path / "in"], tmp_path / "whole", model, span_s=1.0)
    (tmp_path / "archive.py").write_text(PROGRAM)
    place = Path("/tmp") / f"ev-{tmp_path.name[-8:]}"  # Ray's sockets have short names
    place.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [*command, sys.executable, str(tmp_path / "archive.py"), str(tmp_path / "in"),
             str(tmp_path / "out"), str(model), str(place), fate, str(kills)],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(place), "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=560,
        )  # fmt: skip
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-2:] == [f"lost {kills}", "[]"]
    assert results(tmp_path / "out") == results(tmp_path / "whole")


INTERRUPTED = """
import os, sys
from pathlib import Path
from edgevision.archive.progress import ArchiveObserver
from edgevision.archive.ray_crew import connect, crew_at
from edgevision.cli.signals import signal_exit_code, stop_on_signals
from edgevision.pipeline import StopRequest
from tests.support.archive import process
import contextlib

class Tell(ArchiveObserver):
    def while_running(self):
        def look(progress):
            if progress.files:
                print("files", progress.files, flush=True)
        return contextlib.nullcontext(look)

stop = StopRequest()
connect("local")
with stop_on_signals(stop):
    process([sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]), crew=crew_at("local"), observer=Tell(),
            stop=stop)
sys.exit(signal_exit_code(stop.reason or ""))
"""


def check_interrupted(tmp_path, model, number, code):
    command = alone()
    if command is None:
        pytest.skip("no network namespace can be made here, and Ray listens on every interface")
    for image in range(60):
        write_image(tmp_path / "in" / f"{image}.png", left=8 + image)
    process([tmp_path / "in"], tmp_path / "whole", model)
    (tmp_path / "archive.py").write_text(INTERRUPTED)
    place = Path("/tmp") / f"ev-{tmp_path.name[-8:]}"
    place.mkdir(exist_ok=True)
    said = tmp_path / "said.txt"
    running = subprocess.Popen(
        [*command, sys.executable, str(tmp_path / "archive.py"), str(tmp_path / "in"), str(tmp_path / "out"),
         str(model)],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(place), "PYTHONPATH": str(ROOT),
             "RAY_TMPDIR": str(place)},
        stdout=subprocess.PIPE, stderr=said.open("w"), text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        first = running.stdout.readline()
        if not first and "The current node timed out during startup" in said.read_text():
            pytest.skip("too busy a machine: Ray gives its own processes a fixed time to start")
        assert first.startswith("files"), said.read_text()
        os.killpg(running.pid, number)  # as a terminal does, to all of them
        assert running.wait(120) == code
        end = time.monotonic() + 30
        while started_with(place) and time.monotonic() < end:
            time.sleep(0.5)
        assert started_with(place) == []
    finally:
        running.kill()
        shutil.rmtree(place, ignore_errors=True)
    process([tmp_path / "in"], tmp_path / "out", model)
    assert results(tmp_path / "out") == results(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_on_ray_that_is_interrupted_leaves_no_process_and_goes_on(tmp_path, model):
    """By what a terminal sends, which Ray listens to as well."""
    check_interrupted(tmp_path, model, signal.SIGINT, 130)


@pytest.mark.slow
@pytest.mark.usefixtures("slow_on_demand")
def test_a_run_on_ray_that_is_terminated_leaves_no_process_and_goes_on(tmp_path, model):
    check_interrupted(tmp_path, model, signal.SIGTERM, 143)


def started_with(place):
    """Processes that were given this folder, other than this one."""
    mark, found = f"RAY_TMPDIR={place}\0".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes())
    return found
