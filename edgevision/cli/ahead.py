"""Begins to load a model while the rest of the program is still imported and the source is opened."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edgevision.engines import Engine, load_engine
from edgevision.engines.base import requests_of, usable_cores
from edgevision.errors import EdgeVisionError
from edgevision.suffixes import ONNX_SUFFIX
from edgevision.zoo import default_model, find_model
from edgevision.zoo.quickest import is_brief, quickest_file

if TYPE_CHECKING:
    from edgevision.session.request import PlanPolicy

_NO_FILE = re.compile(r"\w[\w+.-]+:|webcam|\d+$|/dev/")
"""How addresses of cameras, streams and the demo begin."""


class LoadAhead:
    """Opens engines; the one that a run will most probably ask for is loaded on a thread from now on.

    A context manager: an engine that nobody asked for is closed at its end. What goes wrong on the thread is
    not told: the engine is opened again when it is asked for, which says it in its place.

    Args:
        sources: of the run.
        models: names or paths; the detector that ships where there is none.
        engine: name of the engine; None for ``auto``.
        precision: of a model that ships; None for ``auto``.
        threads: CPU threads of the run; None for all.
        max_frames: after which the run ends; None where it has no such end.
    """

    def __init__(
        self,
        sources: Sequence[str],
        models: Sequence[str],
        engine: str | None,
        precision: str | None,
        threads: int | None,
        max_frames: int | None = None,
    ) -> None:
        self._engine: Engine | None = None
        self._key: tuple[object, ...] = ()
        self._thread: threading.Thread | None = None
        if len(sources) != 1 or len(models) > 1 or engine not in (None, "auto", "onnxruntime"):
            return
        try:
            name = models[0] if models else default_model().name
            path = find_model(name, precision or "auto")
        except EdgeVisionError:
            return
        if path.suffix.lower() != ONNX_SUFFIX or (threads is not None and threads < 1):
            return
        # Imported on this thread: two threads that import the same modules may meet half of one.
        from edgevision.engines import onnxrt  # noqa: F401

        if precision in (None, "auto"):
            path = quickest_file(
                name, engine or "auto", threads, is_brief=is_brief(sources, [max_frames])
            ).path
        is_recording = _NO_FILE.match(sources[0]) is None
        requests = requests_of(threads or usable_cores(), for_throughput=is_recording)
        self._key = (path, engine or "auto", threads, requests)
        self._thread = threading.Thread(target=self._load, args=self._key, name="load", daemon=True)
        self._thread.start()

    def _load(self, path: Path, engine: str, threads: int | None, requests: int) -> None:
        with contextlib.suppress(Exception):  # whoever asks for it opens it again, and is told
            self._engine = load_engine(path, engine, threads, requests=requests)

    def open(
        self, path: Path, engine: str, policy: PlanPolicy, threads: int | None = None, requests: int = 1
    ) -> Engine:
        """See :func:`edgevision.cli.any_model.open_engine`."""
        from edgevision.cli.any_model import open_engine

        if self._thread is not None and self._key == (path, engine, threads, requests):
            self._thread.join()
            loaded, self._engine = self._engine, None
            self._key = ()
            if loaded is not None:
                return loaded
        return open_engine(path, engine, policy, threads, requests)

    def __enter__(self) -> LoadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.join()
        if self._engine is not None:
            self._engine.close()
