"""``python -m edgevision``, and the program ``edgevision``.

``python -m`` looks for every module in the current folder first, where a user's ``queue.py`` or ``onnx/``
would be taken for the library of that name; so that folder is taken out of the search before anything else is
loaded. Where ``PYTHONPATH`` names it, it comes last. What Python itself loads to start a module, ``types``
among it, comes before this file: in a folder that holds a ``types.py`` no ``python -m`` works, and
``edgevision`` does.
"""

from __future__ import annotations

import os  # loaded by Python's own start, unlike pathlib
import sys


def main(by_module: bool = False) -> None:
    """Loads the command line and runs it; Ctrl-C while it still loads is one line, too.

    Args:
        by_module: started by ``python -m``.
    """
    shield_imports(by_module)
    try:
        from edgevision.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    run()


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
