"""Disks that take nothing for a while."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import pytest

from edgevision.video.codec.container import Mp4File


class StalledFile:
    """A file whose second ``mux`` waits until ``resume`` is set, as on a disk that does not answer.

    Attributes:
        is_inside: it waits.
        resume: set it, and it goes on.
        closers: the threads that closed it, by name.
    """

    def __init__(self, file: Mp4File) -> None:
        self._file = file
        self._calls = 0
        self.is_inside, self.resume = threading.Event(), threading.Event()
        self.closers: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def mux(self, packets: Any) -> None:
        """See above."""
        self._calls += 1
        if self._calls == 2:
            self.is_inside.set()
            self.resume.wait()
        self._file.mux(packets)

    def close(self) -> None:
        """Closes the file."""
        self.closers.append(threading.current_thread().name)
        self._file.close()


def stalled_files(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[StalledFile]:
    """Lets a module create such files in place of its MP4 files; they come into the list."""
    files: list[StalledFile] = []

    def create(*arguments: Any) -> StalledFile:
        files.append(StalledFile(Mp4File(*arguments)))
        return files[-1]

    monkeypatch.setattr(module, "Mp4File", create)
    return files
