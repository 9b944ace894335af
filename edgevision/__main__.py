"""``python -m edgevision``, and the program ``edgevision``.

``python -m`` looks for every module in the current folder first, where a user's ``queue.py`` or ``onnx/``
would be taken for the library of that name; so that folder is taken out of the search before anything else is
loaded. Where ``PYTHONPATH`` names it, it comes last. What Python itself loads to start a module, ``types``
among it, comes before this file: in a folder that holds a ``types.py`` no ``python -m`` works, and
``edgevision`` does.
"""

from __future__ import annotations

import atexit
import os  # loaded by Python's own start, unlike pathlib
import sys


def main(by_module: bool = False) -> None:
    """The program, from its start to the end of the process: call it once in a process, and first.

    A source that does not answer keeps its thread within FFmpeg or a driver. FFmpeg then asks Python ten
    times a second whether to go on, and crashes once Python has taken itself apart. So where a thread is
    left, the process ends just before that: every thread that is waited for has ended, and all that was
    registered with ``atexit`` is done, such as the removal of temporary folders.

    Args:
        by_module: started by ``python -m``.
    """
    status = 1

    def end() -> None:
        if _has_threads():
            os._exit(status if _flush() else status or 1)

    atexit.register(end)  # before anything else is loaded: what is registered first is called last
    try:
        run_program(by_module)
    except SystemExit as ended:
        status = _status(ended)
        raise


def run_program(by_module: bool = False) -> None:
    """Loads the command line and runs it; Ctrl-C where no command is there to take it is one line, too.

    Args:
        by_module: started by ``python -m``.
    """
    shield_imports(by_module)
    try:
        from edgevision.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None


def _has_threads() -> bool:
    """Whether there is a thread besides this one."""
    import threading  # once the current folder is shielded

    return any(one is not threading.current_thread() for one in threading.enumerate())


def _flush() -> bool:
    """Hands on what was printed; False where nobody takes it any more."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _status(ended: SystemExit) -> int:
    """The exit status that Python makes of it: anything but a number was printed as an error."""
    if ended.code is None:
        return 0
    return ended.code if isinstance(ended.code, int) else 1


def shield_imports(by_module: bool) -> None:
    """Lets no file of the current folder take the place of a library.

    Args:
        by_module: the first entry of ``sys.path`` is what ``python -m`` put there.
    """
    try:
        here = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:  # the current folder was removed
        return
    if here == os.path.dirname(os.path.dirname(os.path.abspath(__file__))):  # noqa: PTH100, PTH120
        return  # a clone: edgevision itself is found here, and nothing beside it has a library's name
    if by_module and not getattr(sys.flags, "safe_path", False) and sys.path[:1] == [here]:
        del sys.path[0]
    if here in sys.path:
        sys.path[:] = [*(entry for entry in sys.path if entry != here), here]


if __name__ == "__main__":
    main(by_module=__spec__ is not None)
