"""The core that OpenVINO's engines and teachers share."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.models import write_colour_model

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
shared_core = pytest.importorskip("edgevision.engines.ov_core").shared_core


def test_threads_get_the_same_core() -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(shared_core())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(core is shared_core() for core in found)


@pytest.mark.parametrize(
    "opened",
    [
        "edgevision.engines import load_engine; opened = [load_engine(sys.argv[1], 'openvino')]",
        "edgevision.training.onnx_teacher import open_teacher; opened = [open_teacher(sys.argv[1], [])]",
    ],
    ids=["engine", "teacher"],
)
def test_a_signal_is_handled_after_another_thread_let_a_model_go(tmp_path: Path, opened: str) -> None:
    """OpenVINO's plugin takes the stack for signals with it that it gave the thread which loaded it."""
    model = write_colour_model(tmp_path / "colours.onnx")
    code = (
        f"import gc, os, signal, sys, threading\nfrom {opened}\n"
        "thread = threading.Thread(target=lambda: (opened.clear(), gc.collect()))\n"
        "thread.start()\nthread.join()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n")
