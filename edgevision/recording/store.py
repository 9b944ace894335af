"""The files of one recording: their names, and which are removed beyond a disk budget."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from edgevision.errors import SinkError
from edgevision.files import atomic_path


class SegmentStore:
    """Names segments ``STEM-20261121T155124.120Z.mp4``, and removes the oldest beyond a budget.

    Only segments that this recording made are removed: their names are listed in ``.STEM.segments`` beside
    them, one a line, from run to run. A file that was renamed does not belong to it any more and stays.

    Args:
        folder: created if it does not exist.
        stem: begins each name; two streams in one folder need two.
        keep: bytes that all segments together may take; None for no limit.
        now: wall clock, for tests.

    Attributes:
        made, removed: segments of this run.

    Raises:
        SinkError: the folder cannot be created or written.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        keep: int | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.folder, self.stem, self.keep = folder, stem, keep
        self.made = self.removed = 0
        self._now = now
        self._index = folder / f".{stem}.segments"
        try:
            folder.mkdir(exist_ok=True)
            self._index.touch()
            listed = self._index.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise SinkError(f"cannot record in {folder}: {error.strerror or error}") from error
        self._sizes = {name: size for name in listed if (size := self._size(name)) is not None}

    def new_path(self) -> Path:
        """A name for the next segment, entered in the index.

        Raises:
            OSError: the index cannot be written.
        """
        moment = self._now().strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name, number = f"{self.stem}-{moment}Z.mp4", 1
        while (self.folder / name).exists():
            number += 1
            name = f"{self.stem}-{moment}Z-{number}.mp4"
        with self._index.open("a", encoding="utf-8") as index:
            index.write(f"{name}\n")
        self._sizes[name] = 0
        self.made += 1
        return self.folder / name

    def settle(self, current: Path | None = None) -> None:
        """Removes the oldest segments until all fit the budget; never ``current``, which still grows."""
        if self.keep is None:
            return
        for name in list(self._sizes):
            # Finished files do not grow; one that was deleted by hand only makes room.
            if self._sizes[name] == 0 or (current is not None and name == current.name):
                self._sizes[name] = self._size(name) or 0
        excess = self.total - self.keep
        gone: list[str] = []
        for name, size in self._sizes.items():  # in the order in which they were made
            if excess <= 0:
                break
            if current is None or name != current.name:
                gone.append(name)
                excess -= size
        if gone:
            self._remove(gone)

    def finished(self, path: Path) -> None:
        """Notes the size of a segment that is finished; an empty one is removed."""
        self._sizes[path.name] = self._size(path.name) or 0
        if not self._sizes[path.name]:
            path.unlink(missing_ok=True)
            del self._sizes[path.name]
            self.made -= 1

    @property
    def total(self) -> int:
        """Bytes of all segments, as last seen."""
        return sum(self._sizes.values())

    def _remove(self, names: list[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            del self._sizes[name]
            self.removed += 1
        with atomic_path(self._index) as partial:
            partial.write_text("".join(f"{name}\n" for name in self._sizes), encoding="utf-8")

    def _size(self, name: str) -> int | None:
        """None for what is not, or no longer, an ordinary file of this recording."""
        path = self.folder / name
        is_own = name.startswith(f"{self.stem}-") and name.endswith(".mp4") and path.name == name
        if not is_own or path.is_symlink() or not path.is_file():
            return None
        return path.stat().st_size
