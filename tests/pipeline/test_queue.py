import threading
import time

import pytest

from edgevision.pipeline.queue import BoundedQueue, Policy, QueueEmpty, QueueEnded


def in_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_waiting_keeps_everything_in_order():
    queue, taken = BoundedQueue(2), []

    def produce():
        for i in range(50):
            assert queue.put(i) is None
        queue.finish()

    thread = in_thread(produce)
    for _ in range(50):
        assert len(queue) <= 2
        taken.append(queue.get(5))
    with pytest.raises(QueueEnded):
        queue.get(5)
    thread.join(5)
    assert taken == list(range(50))


def test_keeping_the_newest_hands_back_the_oldest():
    queue = BoundedQueue(2, Policy.KEEP_NEWEST)
    assert [queue.put(i) for i in range(5)] == [None, None, 0, 1, 2]
    assert [queue.get(), queue.get()] == [3, 4]


def test_get_gives_up_after_its_time():
    with pytest.raises(QueueEmpty):
        BoundedQueue(1).get(0.01)


def test_finish_lets_out_what_is_in():
    queue = BoundedQueue(3)
    queue.put("a")
    queue.finish()
    with pytest.raises(QueueEnded):
        queue.put("b")
    assert queue.get() == "a"
    with pytest.raises(QueueEnded):
        queue.get()


@pytest.mark.parametrize("policy", list(Policy))
def test_abort_hands_back_what_is_in(policy):
    queue = BoundedQueue(3, policy)
    queue.put("a")
    queue.put("b")
    assert queue.abort() == ["a", "b"]
    assert queue.abort() == []
    with pytest.raises(QueueEnded):
        queue.get()
    with pytest.raises(QueueEnded):
        queue.put("c")


def test_abort_wakes_whoever_waits():
    full, empty, ended = BoundedQueue(1), BoundedQueue(1), []
    full.put(0)

    def wait(action):
        try:
            action()
        except QueueEnded:
            ended.append(True)

    threads = [in_thread(lambda: wait(lambda: full.put(1))), in_thread(lambda: wait(empty.get))]
    time.sleep(0.05)
    assert full.abort() == [0]
    empty.abort()
    for thread in threads:
        thread.join(5)
    assert ended == [True, True]


def test_a_queue_holds_at_least_one():
    with pytest.raises(ValueError, match="capacity"):
        BoundedQueue(0)
