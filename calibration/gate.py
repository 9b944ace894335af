"""The accuracy gate: the fewest layers in float with which the drop stays inside the budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

MAX_TRIALS = 8
"""Evaluations of a quantised model at the most; the float model takes one more."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One quantised model that was evaluated.

    Attributes:
        float_layers: how many layers were put back to float, the worst first.
        share: of the convolution work that is in int8.
        value: the figure.
        drop: of the figure against the float model's; negative where int8 is better.
    """

    float_layers: int
    share: float
    value: float
    drop: float


Found = TypeVar("Found")


class Search(Generic[Found]):
    """Where a search ended.

    Attributes:
        trials: in the order they were made.
        best: what ``evaluate`` gave for the fewest float layers inside the budget; None where none was.
    """

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.best: Found | None = None


def search_fewest(
    candidates: Callable[[], int],
    evaluate: Callable[[int], tuple[Trial, Found]],
    max_drop: float,
    max_trials: int = MAX_TRIALS,
) -> Search[Found]:
    """Bisects for the least number of layers in float.

    All in int8 is tried first, then as many in float as may be; where that is inside the budget, the numbers
    between. A drop need not fall with every layer: what is returned was evaluated, never guessed.

    Args:
        candidates: how many layers may go back to float, 0 or more; asked once all in int8 has failed, for
            ranking them takes time.
        evaluate: builds and evaluates the model with so many layers in float.
        max_drop: the budget.
        max_trials: calls of ``evaluate``, two or more.
    """
    search: Search[Found] = Search()

    def passes(count: int) -> bool:
        trial, found = evaluate(count)
        search.trials.append(trial)
        if trial.drop <= max_drop:
            search.best = found
            return True
        return False

    if passes(0):
        return search
    most = candidates()
    if most == 0 or not passes(most):
        return search
    failed, passed = 0, most
    while passed - failed > 1 and len(search.trials) < max_trials:
        # Few layers hold most of the noise, so the first steps look at the small numbers.
        middle = max(failed + 1, (failed + passed) // (3 if failed == 0 else 2))
        if passes(middle):
            passed = middle
        else:
            failed = middle
    return search
