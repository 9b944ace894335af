"""Settings for the whole suite."""

from __future__ import annotations

import contextlib
import gc
import os
import signal

with contextlib.suppress(ImportError):
    # Before anything imports distutils: torch's compiler imports setuptools, which insists on its own of it.
    import setuptools  # noqa: F401

import pytest
from hypothesis import settings

# The networks of these tests are tiny: threads that wait for each other cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what runs in the background with SIGINT ignored, nohup with SIGHUP, and every child inherits
# that: the tests of both would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Equal examples in every run, so that a change is judged by what it changed; HYPOTHESIS_PROFILE=explore
# looks for more.
settings.register_profile("equal", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "equal"))

gc.disable()  # while tests are collected: what is loaded then stays


def pytest_collection_finish():
    """Leaves what is loaded by now out of every later garbage collection: a million objects that stay."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty current folder on a machine without a display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return tmp_path


@pytest.fixture
def slow_on_demand(request):
    """Leaves slow tests out where nobody asked for them with ``-m slow``: others hold the same rule."""
    if request.node.get_closest_marker("slow") and "slow" not in request.config.getoption("markexpr"):
        pytest.skip("slow, and a faster test holds the same; 'pytest -m slow' runs it")
