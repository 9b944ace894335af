"""When to record a clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from edgevision.errors import UsageError, nearest
from edgevision.tracking.naming import names_of, problem_of
from edgevision.types import Classification, Detections, FrameResult

_SIGHTINGS = 3
_WITHIN_NS = 1_000_000_000


class SightTrigger:
    """True while something of given classes is seen: in at least three frames of the last second.

    An object, the whole image by its labels, or an object by what a second model says of it: by the name of
    that alone, or as in ``person:helmet`` (:mod:`edgevision.tracking.naming`).

    Args:
        wanted: names of the classes.
        known: class names of the models.
        attributes: those of a second model.

    Raises:
        UsageError: no class, or one that no model has.
    """

    def __init__(
        self, wanted: Sequence[str], known: Collection[str], attributes: Collection[str] = ()
    ) -> None:
        every = dict.fromkeys((*known, *attributes))
        if not wanted:
            raise UsageError(f"no class to record was given; there are: {', '.join(every)}")
        for name in wanted:
            if name in every or not problem_of(name, known, attributes):
                continue
            if ":" in name:
                raise UsageError(f"cannot record on '{name}': {problem_of(name, known, attributes)}")
            raise UsageError(f"cannot record on '{name}': no model has this class{nearest(name, every)}")
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
                for name, row in zip(one.row_names, one.attributes, strict=True):
                    said = [attribute.name for attribute in row]
                    yield from (*names_of(name, said), *said)
