"""When to record a clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from edgevision.errors import UsageError, nearest
from edgevision.types import Detections, FrameResult

_SIGHTINGS = 3
_WITHIN_NS = 1_000_000_000


class SightTrigger:
    """True while an object of given classes is seen: in at least three frames of the last second.

    Args:
        wanted: names of the classes.
        known: class names of the models.

    Raises:
        UsageError: no class, or one that no model has.
    """

    def __init__(self, wanted: Sequence[str], known: Collection[str]) -> None:
        if not wanted:
            raise UsageError(f"no class to record was given; there are: {', '.join(dict.fromkeys(known))}")
        for name in wanted:
            if name not in known:
                raise UsageError(f"cannot record on '{name}': no model has this class{nearest(name, known)}")
        self._wanted = frozenset(wanted)
        self._seen_ns: deque[int] = deque(maxlen=_SIGHTINGS)

    def __call__(self, result: FrameResult) -> bool:
        """Takes one frame's result; call it for every frame in order."""
        is_seen = any(
            isinstance(one, Detections) and not self._wanted.isdisjoint(one.row_names)
            for one in result.results
        )
        if not is_seen:
            return False
        now_ns = result.frame.timestamp_ns
        self._seen_ns.append(now_ns)
        return len(self._seen_ns) == _SIGHTINGS and now_ns - self._seen_ns[0] <= _WITHIN_NS
