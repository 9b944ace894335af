import pytest

from edgevision.closeable import Closeable
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
