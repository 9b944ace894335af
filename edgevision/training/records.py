"""What a run leaves to look at: ``log.jsonl``, ``curves.png`` and TensorBoard events."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edgevision.errors import SinkError, UsageError
from edgevision.training.curves import plot_curves

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunRecords:
    """Appends to the records of a run, so that a resumed run continues them.

    Args:
        folder: of the run.
        seen: images trained on before.
        tensorboard: write events too.

    Raises:
        UsageError: TensorBoard is wanted and not installed.
        SinkError: the log cannot be written, also from :meth:`write` and :meth:`note`.
    """

    def __init__(self, folder: Path, seen: int, tensorboard: bool) -> None:
        self._log = folder / "log.jsonl"
        self._curves = folder / "curves.png"
        try:
            self._stream = self._log.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise self._unwritable(error) from error
        self._events = _open_events(folder, seen) if tensorboard else None

    def write(self, seen: int, **values: float) -> None:
        """Records numbers after ``seen`` images."""
        rounded = {key: round(value, 6) for key, value in values.items()}
        self._line(seen=seen, **rounded)
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(key, value, seen)

    def note(self, seen: int, text: str) -> None:
        """Records that something happened after ``seen`` images."""
        self._line(seen=seen, note=text)

    def draw(self) -> None:
        """Draws the curves of the whole run so far."""
        plot_curves(self._log, self._curves)

    def _line(self, **values: float | str) -> None:
        try:
            self._stream.write(json.dumps({"time": round(time.time(), 1), **values}) + "\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> SinkError:
        return SinkError(f"cannot write {self._log}: {error.strerror or error}")

    def __enter__(self) -> RunRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # on a full disk, the line that _line could not write
            self._stream.close()
        if self._events is not None:
            self._events.close()


def _open_events(folder: Path, seen: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "loop.tensorboard needs tensorboard; install it with: pip install 'edgevision[train]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=seen)
