"""What a file of streams that is read again changes."""

from __future__ import annotations

from edgevision.session.changes import StreamChanges, find_changes, free_name
from edgevision.session.spec import StreamSpec


def test_streams_are_told_apart_by_name_or_source_in_any_order() -> None:
    a, b, c = (StreamSpec(source=one) for one in "abc")
    named = StreamSpec(source="a", name="gate")
    changes = find_changes({"a": a, "b": b, "gate": named}, [named, c, a])
    assert [one.name for one in changes.streams] == ["gate", None, "a"]
    assert changes.removed == ["b"]
    assert [one.begins_again for one in changes.streams] == [False, False, False]
    moved = find_changes({"gate": named}, [StreamSpec(source="b", name="gate")])
    assert moved.streams[0].begins_again
    assert not find_changes({"a": a}, [StreamSpec(source="a", conf=0.5)]).streams[0].begins_again


def test_a_name_that_is_taken_gets_the_first_free_number() -> None:
    assert (free_name("a", {"b"}), free_name("a", {"a"}, {"a (2)"})) == ("a", "a (3)")


def test_changes_are_said_in_words() -> None:
    changes = StreamChanges([], ["yard"], added=["gate", "door"])
    assert str(changes) == "in force: 2 added (gate, door), 1 removed (yard)"
    assert str(StreamChanges([], [], refused=["gate"])) == "in force: 1 refused (gate)"
    assert str(StreamChanges([], [])) == "nothing has changed"
