"""Signals ask a run to finish, a second one interrupts, and handlers are put back."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import av
import pytest

from edgevision.cli import signals
from edgevision.cli.signals import end_on_sigterm, signal_exit_code, stop_on_signals
from edgevision.pipeline import StopRequest
from edgevision.session.reload import ReloadRequest
from tests.support.models import write_colour_model
from tests.support.video import eventually, write_clip


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_asks_and_the_second_interrupts(name):
    number, stop = getattr(signal, name), StopRequest()
    before = signal.getsignal(number)
    with stop_on_signals(stop):
        send(number)
        assert stop.reason == name
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert signal.getsignal(number) is before


def test_a_hangup_reloads_unless_the_terminal_was_closed(monkeypatch):
    stop, reload, terminal = StopRequest(), ReloadRequest(), [True]
    monkeypatch.setattr(signals, "_has_terminal", lambda: terminal[0])
    with stop_on_signals(stop, reload):
        send(signal.SIGHUP)
        send(signal.SIGHUP)
        assert (reload.asked, stop.reason) == (2, None)
        terminal[0] = False
        send(signal.SIGHUP)
        assert (reload.asked, stop.reason) == (2, "SIGHUP")
    terminal[0] = False  # as a service has none
    stop.reason = None
    with stop_on_signals(stop, reload):
        send(signal.SIGHUP)
        assert (reload.asked, stop.reason) == (3, None)
        send(signal.SIGTERM)
        assert stop.reason == "SIGTERM"


def test_an_ignored_hangup_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopRequest()
        with stop_on_signals(stop):
            send(signal.SIGHUP)
        assert stop.reason is None
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_sigterm_ends_a_block_with_its_exit_code():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, end_on_sigterm():
        send(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_exit_codes():
    assert [signal_exit_code(name) for name in ("SIGINT", "SIGTERM", "SIGHUP")] == [130, 143, 129]
    assert signal_exit_code("the source ended") is None


@pytest.mark.parametrize(("signals", "codes"), [(1, {143}), (2, {130, 143})])
def test_two_signals_end_a_run_whose_source_stalls(tmp_path, signals, codes):
    """A FIFO that gives a part of a clip and then nothing, as a process and with real signals."""
    model = write_colour_model(tmp_path / "colours.onnx")
    clip = write_clip(tmp_path / "clip.ts", [40 * number for number in range(300)], size=(320, 192))
    fifo, lines, movie = tmp_path / "fifo.ts", tmp_path / "o.jsonl", tmp_path / "o.mp4"
    os.mkfifo(fifo)
    ended = threading.Event()

    def feed():
        with contextlib.suppress(BrokenPipeError), fifo.open("wb", buffering=0) as pipe:
            pipe.write(clip.read_bytes()[: clip.stat().st_size * 3 // 4])
            ended.wait(300)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    command = [sys.executable, "-m", "edgevision", "run", "--source", str(fifo), "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--save-json", str(lines), "--output", str(movie)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert eventually(lambda: lines.exists() and lines.read_bytes().count(b"\n") > 50, timeout_s=120)
        time.sleep(1)
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        ended.set()
        feeder.join(10)
    assert process.returncode in codes, errors
    assert "Traceback" not in errors
    with av.open(movie) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert 50 < frames <= lines.read_bytes().count(b"\n")
