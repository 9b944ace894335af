"""Archives for tests: a folder of small recordings, one run over it, and what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.archive.crew import InlineCrew
from edgevision.archive.driver import Archive
from edgevision.archive.progress import ArchiveOutcome
from edgevision.archive.request import ArchiveRequest
from edgevision.engines.fake import FakeEngine
from edgevision.session.request import PlanPolicy
from edgevision.types import Detections, Image
from edgevision.video import Source, open_source
from tests.support.manifests import SIZE, colour_manifest

KILLER = "killer"
"""A file of this name ends the process that opens it."""


def bright_box(image: Image) -> Detections:
    """One box around what is bright, of class 2; the score depends on where it is, down to 0.1."""
    rows, columns = np.nonzero(image.max(axis=2) >= 200)
    if not len(rows):
        return Detections.empty()
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    score = 0.95 if int(left) % 5 else 0.2
    box = np.array([[left, top, right, bottom]], np.float32)
    return Detections(box, np.array([score], np.float32), np.array([2], np.int32))


def open_fake(
    path: Path, engine: str, policy: PlanPolicy, threads: int | None = None, requests: int = 1
) -> Any:
    """A :class:`FakeEngine`: an engine without ONNX Runtime, quick to open in a new process."""
    return FakeEngine(bright_box, colour_manifest(SIZE))


def open_or_die(uri: str) -> Source:
    """As :func:`edgevision.video.open_source`, but a file called ``killer`` ends the process."""
    if KILLER in Path(uri).name:
        os.kill(os.getpid(), signal.SIGKILL)
    return open_source(uri)


def open_on_a_slow_disk(uri: str) -> Source:
    """As :func:`open_or_die`; what this process writes from here on takes a minute to reach the disk."""
    os.fsync = lambda fd: time.sleep(60)
    return open_or_die(uri)


def process(
    sources: Sequence[Path | str], out: Path, model: Path, *, crew: Any = InlineCrew, **settings: Any
) -> ArchiveOutcome:
    """Runs over an archive, in this process unless another crew is given."""
    names = ("open_file", "open_engine", "stop", "observer")
    seams = {"open_engine": open_fake} | {name: settings.pop(name) for name in names if name in settings}
    defaults: dict[str, Any] = {"models": [str(model)], "jobs": 2, "span_s": None}
    request = ArchiveRequest(sources=[str(one) for one in sources], out=out, **{**defaults, **settings})
    return Archive(request, crew=crew, **seams).run()


def results(out: Path, without: Iterable[str] = (".work", "index.sqlite", "report.html")) -> dict[str, bytes]:
    """The content of every file of an archive by its name, but for what changes from run to run."""
    left_out = set(without)
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in left_out
    }
