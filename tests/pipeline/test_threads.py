import cv2
import pytest

from edgevision.pipeline import ThreadBudget, threads


@pytest.mark.parametrize(
    ("cores", "streams", "expected"),
    [
        (1, 1, (1, 1, 1)),
        (2, 1, (2, 1, 1)),
        (8, 1, (8, 2, 2)),
        (8, 4, (8, 1, 1)),
        (64, 4, (64, 2, 2)),
    ],
)
def test_the_engine_gets_all_and_the_others_a_share(monkeypatch, cores, streams, expected):
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    budget = ThreadBudget.of(streams=streams)
    assert (budget.engine, budget.decode, budget.encode) == expected
    assert ThreadBudget.of(cores, streams) == budget


def test_a_budget_can_be_smaller_than_the_machine(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 32)
    assert ThreadBudget.of(4) == ThreadBudget(engine=4, requests=1, decode=1, encode=1)


@pytest.mark.parametrize(("cores", "requests"), [(1, 1), (2, 2), (3, 3), (4, 4), (32, 4)])
def test_recordings_are_worked_on_several_frames_at_a_time(monkeypatch, cores, requests):
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    assert ThreadBudget.of(for_throughput=True).requests == requests
    assert ThreadBudget.of().requests == 1


def test_opencv_starts_no_threads_of_its_own():
    before = cv2.getNumThreads()
    try:
        ThreadBudget.of(4).apply()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_opencv_is_put_back_by_the_last_run_that_ends():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        budget = ThreadBudget.of(4)
        first, second = budget.applied(), budget.applied()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
