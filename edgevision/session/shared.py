"""What the streams of a session have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgevision.pipeline import ThreadBudget
from edgevision.session.models import RunModels
from edgevision.session.request import RunRequest


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What holds for every stream of a session.

    Attributes:
        request: as the user made it. Its ``conf_threshold`` is what the user wants to see; the models run
            lower where somebody tracks.
        models: what answers.
        budget: threads.
        several: there is more than one stream, together or in turn.
    """

    request: RunRequest
    models: RunModels
    budget: ThreadBudget
    several: bool
    _taken: set[str] = field(default_factory=set)

    def claim(self, place: str) -> bool:
        """Takes an output for a stream; False where another stream has it."""
        is_free = place not in self._taken
        self._taken.add(place)
        return is_free
