"""The one OpenVINO core of a process."""

from __future__ import annotations

import functools
import threading

import openvino

_MAKING = threading.Lock()


def shared_core() -> openvino.Core:
    """The core, which is made once and kept until the process ends; threads may share it.

    On processors with AMX the CPU plugin gives the thread that loads it a stack for signals, and unmaps that
    when it is unloaded. Where another thread does that, the first is left with a stack that is gone, and the
    next signal that Python handles there (SIGINT, SIGTERM, SIGCHLD) ends the process without a word. A core
    that is kept never unloads its plugin.

    Raises:
        RuntimeError: OpenVINO cannot start.
    """
    with _MAKING:
        return _core()


@functools.cache
def _core() -> openvino.Core:
    return openvino.Core()
