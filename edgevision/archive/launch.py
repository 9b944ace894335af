"""How worker processes are started: by a server that has the libraries loaded, and forks one in milliseconds.

To load them takes most of a second; the server does it while this process loads what it needs itself. So this
module loads nothing but what starts the server. Nothing else of this process is shared with workers. The
server ends with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from edgevision.errors import EngineError

LIBRARIES = ("edgevision.archive.work", "edgevision.engines.onnxrt")
"""What the server loads, with all that they import."""

_ATTEMPTS = 40
_WAIT_S = 0.1

_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # a new Python looks for modules in the current folder first
    "OPENBLAS_NUM_THREADS": "1",  # it starts threads as it is loaded, and a fork has none of them
}


def start_server(modules: Sequence[str] = ()) -> None:
    """Starts the server, where it does not run yet; returns before it has loaded anything.

    Args:
        modules: what it loads beside :data:`LIBRARIES`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, *modules])
    with _apart_from_the_user():
        forkserver.ensure_running()


def start_process(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Starts a process that ends with this one.

    Args:
        target: a function of a module; called with the arguments and the other end of a pipe.
        arguments: can be sent to another process.

    Returns:
        The process, and this end of the pipe.

    Raises:
        EngineError: none can be started.
    """
    context = multiprocessing.get_context("forkserver")
    for attempt in range(1, _ATTEMPTS + 1):
        start_server()
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
        try:
            process.start()
        except (EOFError, OSError) as error:  # the server was killed; it is started again
            ours.close()
            if attempt == _ATTEMPTS:
                reason = str(error) or type(error).__name__
                raise EngineError(f"no worker can be started: {reason}") from error
            time.sleep(_WAIT_S)  # one that is ending refuses, and is not known to be gone yet
            continue
        finally:
            theirs.close()
        break
    return process, ours


@contextlib.contextmanager
def _apart_from_the_user() -> Iterator[None]:
    """A user's ``queue.py`` in the current folder is not taken for the library of that name.

    Python 3.10 does not know the variable for it; there the server is started in an empty folder. Workers go
    to this process's current folder as they start.
    """
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        with contextlib.ExitStack() as stack:
            if sys.version_info < (3, 11):
                stack.enter_context(_empty_folder())
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _empty_folder() -> Iterator[None]:
    """The current folder is an empty one for a while."""
    place = os.open(".", os.O_RDONLY)
    try:
        with tempfile.TemporaryDirectory(prefix="edgevision-") as empty:
            os.chdir(empty)
            try:
                yield
            finally:
                os.fchdir(place)
    finally:
        os.close(place)
