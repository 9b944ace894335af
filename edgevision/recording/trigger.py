"""What is worth recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from edgevision.errors import UsageError, nearest
from edgevision.types import Detections, Frame, Result

_SIGHTINGS = 3
_WITHIN_NS = 1_000_000_000


class SightTrigger:
    """True while an object of some class is in sight: in three frames of the last second at least.

    Args:
        wanted: names of the classes.
        classes: each model's class names, in the order of the results.

    Raises:
        UsageError: no class, or one that no model has.
    """

    def __init__(self, wanted: Sequence[str], classes: Sequence[Sequence[str]]) -> None:
        known = list(dict.fromkeys(name for names in classes for name in names))
        if not wanted:
            raise UsageError(f"no class to record was named; there are: {', '.join(known)}")
        for name in wanted:
            if name not in known:
                raise UsageError(f"cannot record on '{name}': no model finds it{nearest(name, known)}")
        self._ids = [{class_id for class_id, name in enumerate(names) if name in wanted} for names in classes]
        self._seen_ns: deque[int] = deque(maxlen=_SIGHTINGS)

    def __call__(self, frame: Frame, results: Sequence[Result]) -> bool:
        """Takes one frame's results; call it for every frame in order."""
        is_seen = any(
            isinstance(result, Detections) and not ids.isdisjoint(result.class_ids.tolist())
            for result, ids in zip(results, self._ids, strict=True)
        )
        if not is_seen:
            return False
        self._seen_ns.append(frame.timestamp_ns)
        return len(self._seen_ns) == _SIGHTINGS and frame.timestamp_ns - self._seen_ns[0] <= _WITHIN_NS
