import threading

import pytest

from edgevision.closeable import Closeable, UseLock, close_each
from edgevision.engines.fake import FakeEngine
from edgevision.events import EventFile
from edgevision.video.sinks.memory import ListSink
from edgevision.video.sources.arrays import ArraySource


class Door(Closeable):
    def __init__(self):
        self.closes = 0

    def close(self):
        self.closes += 1


def test_a_with_block_closes_on_every_way_out():
    with Door() as door:
        assert door.closes == 0
    assert door.closes == 1
    door = Door()
    with pytest.raises(KeyError), door:
        raise KeyError("x")
    assert door.closes == 1


def test_engines_sources_sinks_and_outlets_are_closed_the_same_way():
    kinds = (FakeEngine, ArraySource, ListSink, EventFile)
    assert [kind.__exit__ is Closeable.__exit__ for kind in kinds] == [True] * 4


def test_a_close_waits_for_a_use_and_leaves_what_does_not_end_to_its_thread():
    closed = []
    inside, resume = threading.Event(), threading.Event()
    lock = UseLock(lambda: closed.append(threading.current_thread().name), 0.05)

    def use():
        with lock.used():
            inside.set()
            resume.wait()

    user = threading.Thread(target=use, name="user", daemon=True)
    user.start()
    inside.wait()
    lock.close()
    assert (closed, lock.is_closed) == ([], True)
    resume.set()
    user.join()
    assert closed == ["user"]


def test_a_close_while_nobody_uses_it_is_made_at_once():
    closed = []
    lock = UseLock(lambda: closed.append(threading.current_thread().name), 60.0)
    with lock.used():
        pass
    assert closed == []
    lock.close()
    assert closed == [threading.current_thread().name]


@pytest.mark.parametrize("has_room", [True, False])
def test_what_fails_keeps_nothing_else_open(monkeypatch, has_room):
    closed = []

    def refuse(self):
        raise RuntimeError("can't start new thread")

    def fail():
        closed.append("a")
        raise OSError("a")

    if not has_room:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="a"):
        close_each([fail, lambda: closed.append("b"), lambda: closed.append("c")], "finish")
    assert sorted(closed) == ["a", "b", "c"]
    close_each([], "finish")


@pytest.mark.parametrize("has_room", [True, False])
def test_an_interrupt_ends_one_close_and_is_told_first(monkeypatch, has_room):
    closed = []

    def interrupted():
        raise KeyboardInterrupt

    def fail():
        raise ValueError("full")

    if not has_room:
        monkeypatch.setattr("edgevision.closeable.close_beside", lambda close, name: None)
    with pytest.raises(KeyboardInterrupt):
        close_each([interrupted, fail, lambda: closed.append("c")], "finish")
    assert closed == ["c"]


@pytest.mark.parametrize("position", [0, 1])
def test_what_takes_long_keeps_nothing_else_open(position):
    other = threading.Event()
    closes = [other.set]
    closes.insert(position, lambda: waited.append(other.wait(10)))
    waited = []
    close_each(closes, "finish")
    assert waited == [True]
