"""What the streams of a session have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgevision.pipeline import StopRequest, ThreadBudget
from edgevision.session.models import ModelPool
from edgevision.session.request import RunRequest
from edgevision.types import FrameResult, Image
from edgevision.video import Sink

if TYPE_CHECKING:  # loaded only for a page
    from edgevision.web.hub import Hub


class OnFrame:
    """A function that takes the result of each frame, never two at a time.

    Args:
        function: somebody else's, who need not know that each stream has a thread.
        stop: is set where the function asks the whole program to end (``sys.exit()``).

    Attributes:
        exit: what it raised to end the program, to be raised again where the run was called; else None.
    """

    def __init__(self, function: Callable[[FrameResult], object], stop: StopRequest) -> None:
        self._function, self._stop = function, stop
        self._lock = threading.Lock()
        self.exit: BaseException | None = None

    def __call__(self, result: FrameResult) -> None:
        with self._lock:
            if self.exit is not None:
                return
            try:
                self._function(result)
            except (SystemExit, KeyboardInterrupt) as error:  # which would only end this thread
                self.exit = error
                self._stop.reason = "exit"


class CallbackSink(Sink):
    """Hands each result to a function; what that raises ends the stream."""

    def __init__(self, on_frame: OnFrame) -> None:
        super().__init__("callback")
        self._on_frame = on_frame

    def write(self, result: FrameResult, image: Image) -> None:
        """Calls the function."""
        self._on_frame(result)


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What holds for every stream of a session.

    Attributes:
        request: as the user made it.
        models: what answers each stream.
        budget: threads.
        several: there is more than one stream, together or in turn.
        on_frame: called with each result, as the last of a stream's outputs; None for nothing.
        hub: what the page knows of the streams; None where there is no page.
    """

    request: RunRequest
    models: ModelPool
    budget: ThreadBudget
    several: bool
    on_frame: OnFrame | None = None
    hub: Hub | None = None
    _taken: set[str] = field(default_factory=set)

    @property
    def claimed(self) -> frozenset[str]:
        """The outputs that streams have taken."""
        return frozenset(self._taken)

    def claim(self, place: str) -> bool:
        """Takes an output for a stream; False where another stream has it."""
        is_free = place not in self._taken
        self._taken.add(place)
        return is_free
