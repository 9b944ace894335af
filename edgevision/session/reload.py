"""A file of streams that is read again while they run: when asked to, or when it was saved."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgevision.closeable import Closeable
from edgevision.errors import EdgeVisionError
from edgevision.pipeline.statistics import ConfigReload
from edgevision.session.models import version_of
from edgevision.suffixes import MODEL_SUFFIXES

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.1
_WATCH_S = 0.25
"""Files are read this often. A change counts once two looks in a row see the same content: an editor that
writes in place is seen in the middle of it otherwise."""


Contents = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class ReloadRequest:
    """Asks a run to read its file of streams again.

    It is a plain number without a lock, so that a signal handler can raise it at any moment; what is asked
    for while a reload goes on is done after it.
    """

    asked: int = 0


class Reloadable(Protocol):
    """What can take a file in force again, such as :class:`edgevision.session.control.SessionControl`."""

    def reload(self) -> str:
        """Takes the file in force; says what has changed, in words.

        Raises:
            EdgeVisionError: it has a fault; nothing is changed.
        """
        ...

    def files(self) -> Sequence[Path]:
        """The file and those that it names now, whose content matters."""
        ...

    def let_go(self) -> None:
        """Closes what streams had that ended after a reload no longer waited for them; called often."""
        ...


class Reloader(Closeable):
    """Reloads on a thread of its own until it is closed; a context manager.

    Args:
        control: reloads.
        request: asks for it.
        watch: also reload where the content of a file changes, however it was saved: in place, by a rename,
            or by a link that points elsewhere.
        known: the :func:`contents` of the files before they were read the first time; None where nothing can
            have been saved since.

    Attributes:
        state: how the last reload went.
    """

    def __init__(
        self,
        control: Reloadable,
        request: ReloadRequest,
        watch: bool = False,
        known: Contents | None = None,
    ) -> None:
        self._control, self._request, self._watch = control, request, watch
        self.state = ConfigReload(successful=True, success_time=time.time())
        self._done = request.asked
        self._look = contents(control.files())
        self._known = self._look if known is None else known
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; safe to call twice. A reload that goes on is waited for."""
        self._closed.set()
        self._thread.join(30.0)

    def _run(self) -> None:
        next_look = time.monotonic() + _WATCH_S
        while not self._closed.wait(_LOOK_S):
            is_asked = self._request.asked != self._done
            if not is_asked and self._watch and time.monotonic() >= next_look:
                next_look = time.monotonic() + _WATCH_S
                is_asked = self._has_changed()
            if is_asked:
                self._done = self._request.asked
                self._reload()
            try:
                self._control.let_go()
            except Exception as error:  # of a library, at one engine: later reloads need this thread
                _LOG.warning("a stream ended late: %s: %s", type(error).__name__, error, exc_info=True)

    def _has_changed(self) -> bool:
        before, self._look = self._look, contents(self._control.files())
        return self._look == before and self._look != self._known

    def _reload(self) -> None:
        self._known = contents(self._control.files())  # what is saved from now on is another change
        try:
            told = self._control.reload()
        except EdgeVisionError as error:
            self.state = ConfigReload(successful=False, success_time=self.state.success_time)
            _LOG.warning("not in force, and nothing has changed: %s", error)
        except Exception as error:  # of a library, at one stream: the run goes on, and the gauge says it
            self.state = ConfigReload(successful=False, success_time=self.state.success_time)
            _LOG.warning("the reload failed: %s: %s", type(error).__name__, error, exc_info=True)
        else:
            self.state = ConfigReload(successful=True, success_time=time.time())
            _LOG.info("%s", told)


def contents(files: Sequence[Path]) -> Contents:
    """The files with the hash of what is in each, of models with their version.

    It differs, too, where a link leads elsewhere meanwhile.
    """
    return tuple(
        (str(path), str(version_of(path)) if path.suffix.lower() in MODEL_SUFFIXES else _hash_of(path))
        for path in files
    )


def _hash_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""  # between the two steps of a save; a file that stays away is a fault of the next reload
