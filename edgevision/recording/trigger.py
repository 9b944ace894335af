"""When to record a clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from edgevision.errors import UsageError, nearest
from edgevision.types import Classification, Detections, FrameResult

_SIGHTINGS = 3
_WITHIN_NS = 1_000_000_000


class SightTrigger:
    """True while something of given classes is seen: in at least three frames of the last second.

    An object, the whole image by its labels, or an object by what a second model says of it.

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
        if self._wanted.isdisjoint(_names(result)):
            return False
        now_ns = result.frame.timestamp_ns
        self._seen_ns.append(now_ns)
        return len(self._seen_ns) == _SIGHTINGS and now_ns - self._seen_ns[0] <= _WITHIN_NS


def _names(result: FrameResult) -> Iterator[str]:
    """The names of everything that is seen in a frame."""
    for one in result.results:
        if isinstance(one, Classification):
            yield from (label.name for label in one.labels())
        elif isinstance(one, Detections):
            yield from one.row_names
            if one.attributes is not None:
                yield from (said.name for row in one.attributes for said in row)
