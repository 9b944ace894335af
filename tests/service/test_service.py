"""A run as a service: a real process with metrics, a service manager's socket, and signals."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import av
import pytest

from edgevision.cli import main
from edgevision.events import read_events
from tests.support.models import write_block_clip, write_colour_model
from tests.support.video import write_clip

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs unix sockets and signals")
LIMIT_S = 60


@pytest.fixture
def model(tmp_path):
    return write_colour_model(tmp_path / "colours.onnx")


@pytest.fixture
def camera(tmp_path):
    """A live source that lasts for a minute."""
    clip = write_clip(tmp_path / "door.mp4", range(0, 60_000, 200))
    return f"chaos://{clip}?drop=0.1&corrupt=0.1&live=yes"


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.settimeout(LIMIT_S)
        yield found


@contextlib.contextmanager
def running(*arguments, environment=None):
    process = subprocess.Popen(
        [sys.executable, "-m", "edgevision", "run", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def states(manager, wanted):
    """What the manager is told until ``wanted`` comes."""
    found = []
    while wanted not in found:
        found += manager.recv(4096).decode().splitlines()
    return found


def test_a_service_is_ready_alive_measured_and_finished_by_sigterm(model, camera, manager, tmp_path):
    out = tmp_path / "out.mp4"
    told = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000000"}
    arguments = ("--source", camera, "--model", model, "--output", out)
    with running(*arguments, "--metrics-port", 0, "--log-format", "json", environment=told) as process:
        states(manager, "READY=1")
        lines = []
        while not (lines and lines[-1]["message"].startswith("metrics: ")):
            lines.append(json.loads(process.stderr.readline()))
        url = lines[-1]["message"].removeprefix("metrics: ")
        states(manager, "WATCHDOG=1")
        scraped = ""
        while not re.search(r"edgevision_frames_written_total\{[^}]*\} [1-9]", scraped):
            with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
                scraped = answer.read().decode()
        with urllib.request.urlopen(url.replace("metrics", "healthz"), timeout=LIMIT_S) as answer:
            health = json.loads(answer.read())
        process.send_signal(signal.SIGTERM)
        assert "STATUS=finishing the outputs" in states(manager, "STOPPING=1")
        lines += [json.loads(line) for line in process.stderr]
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
    assert 'edgevision_engine_info{engine="ONNX Runtime' in scraped
    assert 'edgevision_frames_captured_total{stream="' in scraped
    assert health["healthy"]
    (summary,) = [line for line in lines if "statistics" in line]
    frames = summary["statistics"]["frames"]
    settled = frames["inferred"] + sum(frames["dropped"].values()) + sum(frames["failed"].values())
    assert frames["captured"] == settled
    with av.open(out) as container:
        assert sum(1 for _ in container.decode(video=0)) == summary["statistics"]["written"]


def test_sighup_finishes_the_outputs_and_asks_for_a_restart(model, camera, manager, tmp_path):
    out = tmp_path / "out.mp4"
    told = {"NOTIFY_SOCKET": manager.getsockname()}
    with running("--source", camera, "--model", model, "--output", out, environment=told) as process:
        states(manager, "READY=1")
        while "fps" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGHUP)
        rest = process.stderr.read()
        assert process.wait(LIMIT_S) == 128 + signal.SIGHUP
    assert "ended early by SIGHUP; the outputs are complete up to there" in rest
    with av.open(out) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0


def test_a_killed_run_that_starts_again_counts_from_0_and_keeps_its_events(model, tmp_path):
    """Counts of a process end with it, as the page of metrics says; what is on the disk goes on."""
    pytest.importorskip("trackers", reason="needs the extra 'track'")
    clip, events, stats = tmp_path / "door.mp4", tmp_path / "events.jsonl", tmp_path / "stats.json"
    write_block_clip(clip, 600, step=0)
    arguments = ("--model", model, "--events", events, "--append")
    with running("--source", f"chaos://{clip}?live=yes", *arguments) as process:
        deadline = time.monotonic() + LIMIT_S
        while not (events.exists() and events.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.kill()
        assert process.wait(LIMIT_S) == -signal.SIGKILL
    before = [line for line in events.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert before
    with events.open("a") as torn:
        torn.write('{"kind": "upd')  # the kill was in the middle of a line
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", str(clip), *map(str, arguments), "--max-frames", "5", "--stats", str(stats)])
    assert ended.value.code in (0, None)
    after = events.read_text().splitlines(keepends=True)
    assert after[: len(before)] == before
    assert len({event.id for event in read_events(events)}) == 2
    assert json.loads(stats.read_text())["objects"] == {"red": 1}


def test_nohup_keeps_a_run_going(model, camera, manager):
    told = {"NOTIFY_SOCKET": manager.getsockname()}
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a process inherits
    try:
        with running("--source", camera, "--model", model, "--max-frames", 8, environment=told) as process:
            states(manager, "READY=1")
            process.send_signal(signal.SIGHUP)
            process.stderr.read()
            assert process.wait(LIMIT_S) == 0
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_errors_are_records_too(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "nowhere.mp4", "--log-format", "json"])
    assert ended.value.code == 1
    (entry,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert entry["level"] == "error"
    assert entry["message"].startswith("source not found: nowhere.mp4")
    with pytest.raises(SystemExit):
        main(["run", "--source", "nowhere.mp4"])
    assert capsys.readouterr().err.startswith("error: source not found: nowhere.mp4")


def test_a_port_in_use_is_refused_before_anything_is_made(model, tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", range(0, 400, 40))
    out = tmp_path / "out.mp4"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "run",
                    "--source",
                    str(clip),
                    "--model",
                    str(model),
                    "--output",
                    str(out),
                    "--metrics-port",
                    str(port),
                ]
            )
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: metrics port {port} is in use on 127.0.0.1; choose")
    assert not out.exists()


def test_a_host_without_a_port_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "demo", "--metrics-host", "0.0.0.0"])
    assert ended.value.code == 2
    assert "--metrics-host 0.0.0.0 needs --metrics-port" in capsys.readouterr().err
