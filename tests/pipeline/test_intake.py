import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.pipeline.intake import Intake, Slot
from edgevision.pipeline.queue import Policy, QueueEnded


def intake(*streams, capacity=2, depth=9, max_batch=8, **options):
    """An intake with the given items waiting in each stream's slot."""
    slots = [Slot(Policy.WAIT, max(capacity, len(items)), depth, **options) for items in streams]
    found = Intake(slots, max_batch)
    for stream, items in enumerate(streams):
        for item in items:
            assert found.put(stream, item) is None
    return found


def taken(found):
    return [item for _, item in found.take().items]


def test_a_batch_has_one_frame_of_each_stream_that_is_ready():
    found = intake("ab", "", "x")
    assert taken(found) == ["a", "x"]
    assert taken(found) == ["b"]


def test_streams_take_turns_where_a_batch_is_too_small_for_all():
    found = intake("aa", "bb", "cc", max_batch=2)
    assert [taken(found) for _ in range(3)] == [["a", "b"], ["c", "a"], ["b", "c"]]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 8))
def test_no_stream_is_served_twice_while_another_waits(waiting, max_batch):
    found = intake(*(range(count) for count in waiting), depth=99, max_batch=max_batch)
    served = [0] * len(waiting)
    while sum(served) < sum(waiting):
        for stream, _ in found.take().items:
            served[stream] += 1
        still = [count for count, total in zip(served, waiting, strict=True) if count < total]
        if still:
            most = max(served)
            # Who still waits has had as many turns as anybody, less the round that goes on.
            assert all(count >= min(most, total) - 1 for count, total in zip(served, waiting, strict=True))


def test_a_stream_whose_outputs_lag_is_passed_over_and_comes_back():
    found = intake("abc", "xyz", depth=1)
    assert taken(found) == ["a", "x"]
    found.done(1, depth=1)
    assert taken(found) == ["y"]
    found.done(0, depth=2)
    assert taken(found) == ["b"]
    found.done(1, depth=1)
    assert taken(found) == ["z", "c"]  # two of the first are under way now


def test_take_waits_for_a_frame():
    found, got = intake(""), []
    thread = threading.Thread(target=lambda: got.append(taken(found)), daemon=True)
    thread.start()
    found.put(0, "late")
    thread.join(5)
    assert got == [["late"]]


def test_putting_waits_for_room():
    found, done = intake("a", capacity=1), threading.Event()

    def put():
        found.put(0, "b")
        done.set()

    threading.Thread(target=put, daemon=True).start()
    assert not done.wait(0.05)
    assert taken(found) == ["a"]
    assert done.wait(5)
    assert taken(found) == ["b"]


def test_a_live_stream_keeps_the_newest():
    found = Intake([Slot(Policy.KEEP_NEWEST, 1, 3)], 8)
    assert [found.put(0, item) for item in "abc"] == [None, "a", "b"]
    assert taken(found) == ["c"]


def test_what_is_not_admitted_is_skipped_for_the_next():
    skipped = []
    found = intake([1, 2, 3, 4], admit=lambda item: item % 2 == 0, on_skip=skipped.append)
    assert [taken(found), taken(found)] == [[2], [4]]
    assert skipped == [1, 3]


def test_a_limit_ends_a_stream_and_leaves_the_rest():
    found = intake("abc", limit=2)
    assert taken(found) == ["a"]
    last = found.take()
    assert (last.items, last.ended) == ([(0, "b")], [0])
    assert found.abort(0) == ["c"]
    with pytest.raises(QueueEnded):
        found.take()


def test_every_end_is_told_once_and_after_the_last_frame():
    found = intake("a", "x")
    found.finish(0)
    first = found.take()
    assert (first.items, first.ended) == ([(0, "a"), (1, "x")], [0])
    with pytest.raises(QueueEnded):
        found.put(0, "b")
    found.finish(1)
    assert (found.take().ended, found.waiting(1)) == ([1], 0)
    with pytest.raises(QueueEnded):
        found.take()


def test_abort_hands_back_what_waits_and_wakes_whoever_puts():
    found, ended = intake("a", capacity=1), []

    def put():
        try:
            found.put(0, "b")
        except QueueEnded:
            ended.append(True)

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert found.abort(0) == ["a"]
    thread.join(5)
    assert ended == [True]


def test_a_batch_has_room_for_one():
    with pytest.raises(ValueError, match="max_batch"):
        Intake([], 0)
