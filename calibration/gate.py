"""The accuracy gate: the fewest layers in float with which the drop stays inside the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from edgevision.calibration.ranges import Method

MAX_TRIALS = 8
"""Most evaluations of a quantised model; one more for each further method of choosing ranges."""

_EQUAL = 10**0.15  # a decibel and a half: so much the noise of all cells misses of what is cut at objects


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One quantised model that was evaluated.

    Attributes:
        method: how its ranges were chosen.
        float_layers: how many layers were put back to float, the worst first.
        share: of the convolution work that is in int8.
        value: the figure.
        drop: of the figure against the float model's; negative where int8 is better.
    """

    method: Method
    float_layers: int
    share: float
    value: float
    drop: float


Found = TypeVar("Found")


class Search(Generic[Found]):
    """Where a search ended.

    Attributes:
        trials: in the order they were made.
        chosen: the one with the fewest float layers inside the budget; None where none was.
        best: what ``evaluate`` gave for it.
    """

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.chosen: Trial | None = None
        self.best: Found | None = None


def order_methods(noises: Mapping[Method, float]) -> tuple[Method, ...]:
    """In which order to try methods of choosing ranges: the least noise at the heads first.

    Methods within a decibel and a half of the best count as equal to it, and of equals the one that comes
    first in ``noises`` leads: noise is measured on a few frames, and what cuts less is safer on frames not
    yet seen. Objects are few of the cells, too: the fifth retinanet-light has 22.4 dB by ``percentile`` and
    loses 0.012 on 177 photographs, and 21.2 dB by ``peak``, which loses nothing.
    """
    ordered = sorted(noises, key=lambda method: noises[method])
    limit = noises[ordered[0]] * _EQUAL
    first = next(method for method in noises if noises[method] <= limit)
    return (first, *(method for method in ordered if method != first))


def most_trials(methods: Sequence[Method], max_trials: int = MAX_TRIALS) -> int:
    """The most evaluations that :func:`search_fewest` makes."""
    return len(methods) - 1 + max_trials


def search_fewest(
    methods: Sequence[Method],
    candidates: Callable[[Method], int],
    evaluate: Callable[[Method, int], tuple[Trial, Found]],
    max_drop: float,
    max_trials: int = MAX_TRIALS,
    *,
    must_hold: bool = True,
) -> Search[Found]:
    """Finds a method of choosing ranges, and bisects for the least number of layers in float.

    All in int8 is tried first, method by method until one is inside the budget: another range costs no
    speed, a layer in float does. Where none is, the method that lost least goes on: with as many layers in
    float as may be, and where that is inside the budget, with the numbers between. A drop need not fall with
    every layer: what is returned was evaluated, never guessed.

    Args:
        methods: to try, in this order; one or more.
        candidates: how many layers may go back to float with a method's ranges, 0 or more; asked once all in
            int8 has failed, for ranking them takes time.
        evaluate: builds and evaluates the model with a method's ranges and this many layers in float.
        max_drop: the budget.
        max_trials: calls of ``evaluate`` with the method that is chosen, two or more.
        must_hold: False where a model over the budget is taken too: no layer goes back then, and of several
            methods the one that lost least is chosen.
    """
    search: Search[Found] = Search()
    results: list[Found] = []

    def passes(method: Method, count: int) -> bool:
        trial, found = evaluate(method, count)
        search.trials.append(trial)
        results.append(found)
        if trial.drop <= max_drop:
            search.chosen, search.best = trial, found
            return True
        return False

    if any(passes(method, 0) for method in methods):
        return search
    least = min(search.trials, key=lambda trial: trial.drop)
    if not must_hold:
        search.chosen, search.best = least, results[search.trials.index(least)]
        return search
    method = least.method
    most = candidates(method)
    if most == 0 or not passes(method, most):
        return search
    failed, passed = 0, most
    while passed - failed > 1 and len(search.trials) < most_trials(methods, max_trials):
        # Few layers hold most of the noise, so the first steps look at the small numbers.
        middle = max(failed + 1, (failed + passed) // (3 if failed == 0 else 2))
        if passes(method, middle):
            passed = middle
        else:
            failed = middle
    return search
