"""Workers on Ray, in a network namespace that has only the loopback interface."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevision.archive.ray_crew import _is_of_node
from tests.archive.test_driver import write_image
from tests.support.archive import process, results
from tests.support.models import write_block_clip
from tests.support.paths import ROOT

pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgevision[ray]'")

PROGRAM = """
import os, sys
from pathlib import Path
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": sys.argv[4],
               "RAY_raylet_start_wait_time_s": "300"}
import ray
from ray.cluster_utils import Cluster
from edgevision.archive import ray_crew
from edgevision.archive.progress import ArchiveObserver
from edgevision.archive.ray_crew import connect, crew_at
from tests.support.archive import process
import contextlib

is_of_node = ray_crew._is_of_node

def tell(error):
    print("lost with its node:", is_of_node(error), " ".join(str(error).split()))
    return is_of_node(error)

ray_crew._is_of_node = tell
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
assert connect(cluster.address) == 2

def parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0

def actors():
    # Those of this cluster, whose nodes this process started; a machine may run another one.
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name = (path / "cmdline").read_bytes()
        except OSError:
            continue
        pid = int(path.name)
        if name.startswith(b"ray::Actor"):
            above = pid
            while above > 1 and above != os.getpid():
                above = parent_of(above)
            if above == os.getpid():
                yield pid

class Kill(ArchiveObserver):
    def while_running(self):
        killed = []
        def look(progress):
            if progress.files >= 3 and not killed:
                if sys.argv[5] == "node":
                    killed.append(second)
                    cluster.remove_node(second, allow_graceful=False)
                else:
                    killed.extend(actors())
                    os.kill(killed[0], 9)
                print("killed", len(killed))
        return contextlib.nullcontext(look)

process([sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]), crew=crew_at(cluster.address), span_s=1.0,
        observer=Kill())
ray.shutdown()
cluster.shutdown()
"""


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
@pytest.mark.parametrize("fate", ["node", "worker"])
def test_two_nodes_of_which_one_is_killed_give_what_one_process_gives(tmp_path, model, fate):
    command = alone()
    if command is None:
        pytest.skip("no network namespace can be made here, and Ray listens on every interface")
    (tmp_path / "in").mkdir()
    write_block_clip(tmp_path / "in/long.mp4", 60)
    for number in range(8):
        write_image(tmp_path / "in" / f"{number}.png", left=8 + number)
    process([tmp_path / "in"], tmp_path / "whole", model, span_s=1.0)
    (tmp_path / "archive.py").write_text(PROGRAM)
    place = Path("/tmp") / f"ev-{tmp_path.name[-8:]}"  # Ray's sockets have short names
    place.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [*command, sys.executable, str(tmp_path / "archive.py"), str(tmp_path / "in"),
             str(tmp_path / "out"), str(model), str(place), fate],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(place), "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=560,
        )  # fmt: skip
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "killed" in done.stdout
    if fate == "worker":  # of a node Ray says at first that the actor is unavailable, as of a worker
        assert "lost with its node: True" not in done.stdout
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


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_on_ray_that_is_interrupted_leaves_no_process_and_goes_on(tmp_path, model, number, code):
    command = alone()
    if command is None:
        pytest.skip("no network namespace can be made here, and Ray listens on every interface")
    for image in range(60):
        write_image(tmp_path / "in" / f"{image}.png", left=8 + image)
    process([tmp_path / "in"], tmp_path / "whole", model)
    (tmp_path / "archive.py").write_text(INTERRUPTED)
    place = Path("/tmp") / f"ev-{tmp_path.name[-8:]}"
    place.mkdir(exist_ok=True)
    running = subprocess.Popen(
        [*command, sys.executable, str(tmp_path / "archive.py"), str(tmp_path / "in"), str(tmp_path / "out"),
         str(model)],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(place), "PYTHONPATH": str(ROOT),
             "RAY_TMPDIR": str(place)},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("files")
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


def started_with(place):
    """Processes that were given this folder, other than this one."""
    mark, found = f"RAY_TMPDIR={place}\0".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes())
    return found
